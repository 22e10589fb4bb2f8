// Policies as data: what programs and effects carry. Merged field by field, a call over a declaration. Pure, without
// anything of Node: it runs in the author's process, in the engine, and inside the VM's realm (for `runAction`).

import { type Duration, parseDuration } from "../base/duration.ts";
import { WaymarkError } from "../base/failure.ts";

/** A policy as data: what is stored in programs and effects. Delays in milliseconds, filters as names. */
export interface PolicyData {
  retry?: { attempts?: number; on?: string[]; except?: string[] };
  backoff?: {
    kind?: "exponential" | "linear" | "constant";
    baseDelayMs?: number;
    multiplier?: number;
    maxDelayMs?: number;
    jitter?: "none" | "full" | "equal";
  };
  timeoutMs?: number;
  timeouts?: { attempts?: number };
}

/**
 * What holds where a policy is silent.
 *
 * | field | default |
 * |---|---|
 * | `retry` absent | 1 try: what throws is not retried |
 * | `retry: {}` | without limit |
 * | `backoff.kind` | exponential: baseDelay x multiplier^(n-1) before try n+1 (linear: x n, constant: x 1) |
 * | `backoff.baseDelay` | 1 second |
 * | `backoff.multiplier` | 2 |
 * | `backoff.maxDelay` | 1 hour, or baseDelay if that is more |
 * | `backoff.jitter` | none (full: uniform in [0, delay]; equal: uniform in [delay / 2, delay]) |
 * | `timeout` | 5 minutes for one attempt |
 * | `timeouts.attempts` | without limit |
 */
export const policyDefaults = {
  attempts: 1,
  kind: "exponential",
  baseDelayMs: 1_000,
  multiplier: 2,
  maxDelayMs: 3_600_000,
  jitter: "none",
  timeoutMs: 300_000,
} as const;

/** Field by field: what `over` says wins, what it leaves out is kept. Lists (`on`, `except`) are replaced, not joined. */
export function mergePolicy(base: PolicyData, over: PolicyData): PolicyData {
  const merged: PolicyData = { ...base, ...over };
  if (base.retry && over.retry) merged.retry = { ...base.retry, ...over.retry };
  if (base.backoff && over.backoff) merged.backoff = { ...base.backoff, ...over.backoff };
  if (base.timeouts && over.timeouts) merged.timeouts = { ...base.timeouts, ...over.timeouts };
  return merged;
}

/** Tries in all for an error that the action threw: `Infinity` where there is no limit. */
export function triesAllowed(policy: PolicyData): number {
  return policy.retry === undefined ? policyDefaults.attempts : (policy.retry.attempts ?? Number.POSITIVE_INFINITY);
}

/** May another try follow attempt `attempt` (from 1), which threw an error with these class names (its own, then its bases)? */
export function mayRetry(policy: PolicyData, attempt: number, errorNames: readonly string[]): boolean {
  if (attempt >= triesAllowed(policy)) return false;
  const { on, except } = policy.retry ?? {};
  if (except?.some((name) => errorNames.includes(name))) return false;
  return on === undefined || on.some((name) => errorNames.includes(name));
}

/** May another try follow an attempt that timed out or whose worker was lost, `lost` such attempts in? */
export function mayRetryLost(policy: PolicyData, lost: number): boolean {
  return lost < (policy.timeouts?.attempts ?? Number.POSITIVE_INFINITY);
}

/** Milliseconds between failed attempt `attempt` (from 1) and the next. `random` gives [0, 1). */
export function backoffMs(policy: PolicyData, attempt: number, random: () => number): number {
  const {
    kind = policyDefaults.kind,
    baseDelayMs = policyDefaults.baseDelayMs,
    multiplier = policyDefaults.multiplier,
    jitter = policyDefaults.jitter,
  } = policy.backoff ?? {};
  const maxDelayMs = policy.backoff?.maxDelayMs ?? Math.max(policyDefaults.maxDelayMs, baseDelayMs);
  const factor = kind === "constant" ? 1 : kind === "linear" ? attempt : multiplier ** (attempt - 1);
  // 0 x Infinity, far out on an exponential curve, is NaN.
  const delay = baseDelayMs === 0 ? 0 : Math.min(baseDelayMs * factor, maxDelayMs);
  if (jitter === "full") return Math.round(random() * delay);
  if (jitter === "equal") return Math.round(delay / 2 + random() * (delay / 2));
  return Math.round(delay);
}

/** How a filter that is not a string gets its name; the VM, whose classes are its own objects, gives its own. */
export type NameOf = (filter: unknown) => string | undefined;

/** A policy as an author writes it (`Policy`), checked to the last field and made data. Throws WM201 or WM202. */
export function toPolicyData(policy: unknown, nameOf: NameOf = classNameOf): PolicyData {
  const given = fields(policy, "the policy", ["retry", "backoff", "timeout", "timeouts"]);
  const data: PolicyData = {};
  if (given.retry !== undefined) data.retry = toRetry(given.retry, nameOf);
  if (given.backoff !== undefined) data.backoff = toBackoff(given.backoff);
  if (given.timeout !== undefined) {
    data.timeoutMs = delay(given.timeout, "timeout");
    if (data.timeoutMs === 0) throw bad("timeout", given.timeout, "an attempt needs more than no time");
  }
  if (given.timeouts !== undefined) {
    const timeouts = fields(given.timeouts, "timeouts", ["attempts"]);
    data.timeouts =
      timeouts.attempts === undefined ? {} : { attempts: attempts(timeouts.attempts, "timeouts.attempts") };
  }
  return data;
}

function toRetry(given: unknown, nameOf: NameOf): NonNullable<PolicyData["retry"]> {
  const retry = fields(given, "retry", ["attempts", "on", "except"]);
  const data: NonNullable<PolicyData["retry"]> = {};
  if (retry.attempts !== undefined) data.attempts = attempts(retry.attempts, "retry.attempts");
  if (retry.on !== undefined) data.on = names(retry.on, "retry.on", nameOf);
  if (retry.except !== undefined) data.except = names(retry.except, "retry.except", nameOf);
  return data;
}

function toBackoff(given: unknown): NonNullable<PolicyData["backoff"]> {
  const backoff = fields(given, "backoff", ["kind", "baseDelay", "multiplier", "maxDelay", "jitter"]);
  const data: NonNullable<PolicyData["backoff"]> = {};
  if (backoff.kind !== undefined)
    data.kind = oneOf(backoff.kind, "backoff.kind", ["exponential", "linear", "constant"]);
  if (backoff.baseDelay !== undefined) data.baseDelayMs = delay(backoff.baseDelay, "backoff.baseDelay");
  if (backoff.multiplier !== undefined) {
    const { multiplier } = backoff;
    if (typeof multiplier !== "number" || !(multiplier >= 1) || multiplier === Number.POSITIVE_INFINITY) {
      throw bad("backoff.multiplier", multiplier, "it is a number from 1 up");
    }
    data.multiplier = multiplier;
  }
  if (backoff.maxDelay !== undefined) data.maxDelayMs = delay(backoff.maxDelay, "backoff.maxDelay");
  if (backoff.jitter !== undefined) data.jitter = oneOf(backoff.jitter, "backoff.jitter", ["none", "full", "equal"]);
  if (data.maxDelayMs !== undefined && data.baseDelayMs !== undefined && data.maxDelayMs < data.baseDelayMs) {
    throw bad("backoff.maxDelay", backoff.maxDelay, `it is less than baseDelay (${data.baseDelayMs} ms)`);
  }
  return data;
}

function fields(value: unknown, path: string, known: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw bad(path, value, `it is an object with ${known.join(", ")}`);
  for (const key of Object.keys(value)) {
    if (!known.includes(key))
      throw bad(path, value, `${JSON.stringify(key)} is not one of its fields (${known.join(", ")})`);
  }
  return value as Record<string, unknown>;
}

function attempts(value: unknown, path: string): number {
  if (value === Number.POSITIVE_INFINITY) throw bad(path, value, "leave it out to try without limit");
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1) {
    throw bad(path, value, "it counts the tries in all, so it is a whole number from 1 up");
  }
  return value;
}

function delay(value: unknown, path: string): number {
  try {
    return parseDuration(value as Duration);
  } catch (error) {
    if (!(error instanceof WaymarkError)) throw error;
    throw new WaymarkError(
      error.code,
      `${path}: ${error.message}`,
      error.hint === undefined ? {} : { hint: error.hint },
    );
  }
}

function oneOf<const Choice extends string>(value: unknown, path: string, choices: readonly Choice[]): Choice {
  const found = choices.find((choice) => choice === value);
  if (found === undefined)
    throw bad(path, value, `it is one of ${choices.map((choice) => JSON.stringify(choice)).join(", ")}`);
  return found;
}

function names(value: unknown, path: string, nameOf: NameOf): string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.map((filter) => {
    const name = typeof filter === "string" ? filter : nameOf(filter);
    if (name === undefined || name === "")
      throw bad(path, filter, "it is an error class, the name of one, or a list of these");
    return name;
  });
}

function classNameOf(filter: unknown): string | undefined {
  return typeof filter === "function" ? filter.name : undefined;
}

function bad(path: string, value: unknown, why: string): WaymarkError {
  return new WaymarkError("WM202", `${path} cannot be ${show(value)}: ${why}.`, {
    hint: "A policy is { retry: { attempts, on, except }, backoff: { kind, baseDelay, multiplier, maxDelay, jitter }, timeout, timeouts: { attempts } }.",
  });
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value)) return "an array";
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return `{ ${Object.keys(value).join(", ")} }`;
  return String(value);
}
