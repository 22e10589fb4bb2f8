// What becomes of an attempt that did not succeed: another one, when, or the end. Pure: the clock and the random
// source are handed in, and the answer is journaled before anybody acts on it.

import { backoffMs, mayRetry, mayRetryLost, type PolicyData, policyDefaults } from "../program/policy.ts";
import { decodeValue, describeError, encodeValue } from "../program/value.ts";
import type { Report } from "./dispatch.ts";

export type Verdict = { kind: "retry"; dueAt: number; error: Uint8Array } | { kind: "failed"; error: Uint8Array };

export type Failure = Exclude<Report, { kind: "done" } | { kind: "missing" }>;

/** Infrastructure trouble is waited out, but never for long: the next worker may be there in a second. */
const lostBackoff: PolicyData = {
  backoff: { kind: "exponential", baseDelayMs: 1_000, multiplier: 2, maxDelayMs: 60_000 },
};

/** `attempt` counts from 1 and is the one that failed. Total tries bound both kinds of trouble. */
export function judge(
  report: Failure,
  action: string,
  attempt: number,
  policy: PolicyData,
  nowMs: number,
  random: () => number,
): Verdict {
  if (report.kind === "failed") {
    const again = report.retryable && mayRetry(policy, attempt, describeError(report.error).names);
    if (!again) return { kind: "failed", error: report.error };
    const delayMs = report.retryAfterMs ?? backoffMs(policy, attempt, random);
    return { kind: "retry", dueAt: nowMs + whole(delayMs), error: report.error };
  }
  const error =
    report.kind === "timeout" ? timedOut(action, attempt, timeoutMs(policy)) : lost(action, attempt, report.reason);
  if (!mayRetryLost(policy, attempt)) return { kind: "failed", error };
  const delayMs = backoffMs(policy.backoff ? policy : lostBackoff, attempt, random);
  return { kind: "retry", dueAt: nowMs + whole(delayMs), error };
}

export function timeoutMs(policy: PolicyData): number {
  return policy.timeoutMs ?? policyDefaults.timeoutMs;
}

const policiesMax = 1_000;
const policies = new Map<string, PolicyData>();
const none: PolicyData = {};

/** Decoded once per distinct policy: every call of an action carries the same bytes. */
export function policyOf(bytes: Uint8Array | null): PolicyData {
  if (bytes === null) return none;
  const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  let policy = policies.get(key);
  if (policy === undefined) {
    policy = decodeValue(bytes) as PolicyData;
    if (policies.size >= policiesMax) policies.clear();
    policies.set(key, policy);
  }
  return policy;
}

/** Milliseconds are whole in the store, and nothing is scheduled past what a Date can say. */
function whole(ms: number): number {
  return Math.min(Math.max(0, Math.ceil(ms)), 1e14);
}

function timedOut(action: string, attempt: number, ms: number): Uint8Array {
  return errorBytes("ActionTimeout", `Action "${action}" did not finish within ${ms} ms (attempt ${attempt}).`);
}

function lost(action: string, attempt: number, reason: string): Uint8Array {
  return errorBytes("WorkerLost", `The worker performing "${action}" was lost (attempt ${attempt}): ${reason}`);
}

/** An error of the engine's, as workflows catch it. It has no stack: ours would say nothing to them. */
export function errorBytes(name: string, message: string, code?: string): Uint8Array {
  const error = new Error(message);
  Object.defineProperty(error, "name", { value: name, writable: true, configurable: true, enumerable: false });
  Object.defineProperty(error, "stack", {
    value: `${name}: ${message}`,
    writable: true,
    configurable: true,
    enumerable: false,
  });
  return encodeValue(code === undefined ? error : Object.assign(error, { code }));
}
