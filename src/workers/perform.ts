// One attempt of one action, from the arguments' bytes to the outcome's bytes. Never throws and never rejects:
// whatever the user's code does, dependencies and values that cannot be stored included, becomes an outcome.

import type { ActionContext } from "../author/context.ts";
import type { ActionDefinition } from "../author/definition.ts";
import { invoke } from "../author/dependency.ts";
import { isNonRetryable, retryAfterMs } from "../author/errors.ts";
import type { Clock } from "../base/clock.ts";
import { WaymarkError } from "../base/failure.ts";
import type { Task } from "../engine/dispatch.ts";
import { decodeValue, encodeError, encodeValue } from "../program/value.ts";

/** Bytes of one value: arguments, result or error. A message of the worker protocol has room for it and its fields. */
export const valueMax = 63 * 1024 * 1024;

export type Outcome =
  | { kind: "done"; value: Uint8Array }
  | { kind: "failed"; error: Uint8Array; retryable: boolean; retryAfterMs?: number };

/** Where the attempt's signal is made, if its code ever asks for one. */
export interface Signalled {
  readonly signal: AbortSignal;
}

/** Perform `task` with the function of `definition`. */
export async function perform(
  task: Task,
  definition: ActionDefinition,
  context: ActionContext,
  clock: Clock,
): Promise<Outcome> {
  try {
    const result = await invoke(definition, argumentsOf(task), context);
    return { kind: "done", value: encodeResult(task, result) };
  } catch (thrown) {
    return failed(task, thrown, clock);
  }
}

/** The outcome of an attempt that something of ours forbids before the user's code could run. */
export function refused(task: Task, error: WaymarkError, clock: Clock): Outcome {
  return failed(task, error, clock);
}

/** What the action can know of its attempt. */
export function contextOf(task: Task, abort: Signalled): ActionContext {
  return {
    instanceId: task.instance,
    workflow: task.workflow,
    action: task.action,
    attempt: task.attempt,
    idempotencyKey: task.idempotencyKey,
    get signal() {
      return abort.signal;
    },
  };
}

function argumentsOf(task: Task): unknown[] {
  const args = decodeValue(task.args);
  if (Array.isArray(args)) return args;
  throw new WaymarkError("WM710", `The arguments of action "${task.action}" are not an array.`, {
    hint: "They were written by something that is not waymark, or by a version this worker cannot read.",
  });
}

function encodeResult(task: Task, result: unknown): Uint8Array {
  return encodeValue(result, { what: `The result of action "${task.action}"`, limitBytes: valueMax });
}

function failed(task: Task, thrown: unknown, clock: Clock): Outcome {
  const error = encodeError(thrown, { what: `The error of action "${task.action}"`, limitBytes: valueMax });
  const outcome = { kind: "failed" as const, error, retryable: isRetryable(thrown) };
  const waitMs = retryAfterMs(thrown, clock.now());
  return waitMs === undefined ? outcome : { ...outcome, retryAfterMs: waitMs };
}

// Trying again cannot help a value of the wrong shape; everything else is for the policy to decide.
function isRetryable(thrown: unknown): boolean {
  if (isNonRetryable(thrown)) return false;
  return !(thrown instanceof WaymarkError && unretryable.has(thrown.code));
}

const unretryable = new Set(["WM401", "WM402", "WM403", "WM702", "WM703", "WM710"]);
