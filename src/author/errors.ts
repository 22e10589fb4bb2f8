// Errors that people throw, catch, or meet. Plain classes, nothing clever: workflows capture and compile them. Whoever
// must recognise one goes by name along the class chain, so that two copies of waymark in one process agree.

import { type Duration, parseDuration } from "../base/duration.ts";
import { WaymarkError } from "../base/failure.ts";

/** Thrown by an action: no policy retries it. */
export class NonRetryableError extends Error {
  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "NonRetryableError";
  }
}

/** Thrown by an action: make the next try after this long, or at this time, instead of what the backoff says. */
export class RetryAfter extends Error {
  /** Milliseconds, or the time. */
  readonly after: number | Date;

  constructor(after: Duration | Date, options: { message?: string; cause?: unknown } = {}) {
    const when = after instanceof Date ? checkDate(after) : parseDuration(after);
    super(
      options.message ?? (when instanceof Date ? `try again at ${when.toISOString()}` : `try again in ${when} ms`),
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = "RetryAfter";
    this.after = when;
  }

  /** Milliseconds from now. */
  get retryAfterMs(): number {
    return retryAfterMs(this, Date.now()) ?? 0;
  }
}

/** One attempt of an action took longer than its timeout, and no further try was allowed. */
export class ActionTimeout extends Error {
  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ActionTimeout";
  }
}

/** What `run()` and `result()` reject with when the workflow threw. `cause` is what it threw, rebuilt. */
export class WorkflowFailed extends Error {
  readonly workflow: string;
  readonly instanceId: string;

  constructor(workflow: string, instanceId: string, cause: unknown) {
    super(`workflow "${workflow}" (${instanceId}) failed: ${describe(cause)}`, { cause });
    this.name = "WorkflowFailed";
    this.workflow = workflow;
    this.instanceId = instanceId;
  }
}

/** What `run()` and `result()` reject with when the instance was cancelled. */
export class WorkflowCancelled extends Error {
  readonly workflow: string;
  readonly instanceId: string;
  /** What was given to `cancel()`, if anything. */
  readonly reason: unknown;

  constructor(workflow: string, instanceId: string, reason?: unknown) {
    super(`workflow "${workflow}" (${instanceId}) was cancelled${reason === undefined ? "" : `: ${describe(reason)}`}`);
    this.name = "WorkflowCancelled";
    this.workflow = workflow;
    this.instanceId = instanceId;
    this.reason = reason;
  }
}

/** Is this a NonRetryableError, or of a class made from it, from any copy of waymark? */
export function isNonRetryable(error: unknown): boolean {
  return classNames(error).includes("NonRetryableError");
}

/** Milliseconds to wait if this is a RetryAfter, else undefined. */
export function retryAfterMs(error: unknown, nowMs: number): number | undefined {
  if (!classNames(error).includes("RetryAfter")) return undefined;
  const { after } = error as Partial<RetryAfter>;
  if (after instanceof Date) return Math.max(0, after.getTime() - nowMs);
  return typeof after === "number" ? after : undefined;
}

/** Names of an error's class and its bases, its own `name` first: what `on` and `except` are compared with. */
export function classNames(error: unknown): string[] {
  const names: string[] = [];
  if (typeof error !== "object" || error === null) return names;
  const { name } = error as { name?: unknown };
  if (typeof name === "string" && name !== "") names.push(name);
  for (let proto = Object.getPrototypeOf(error); proto !== null; proto = Object.getPrototypeOf(proto)) {
    const made: unknown = Object.hasOwn(proto, "constructor") ? proto.constructor : undefined;
    if (typeof made === "function" && made.name !== "" && !names.includes(made.name)) names.push(made.name);
  }
  return names;
}

function checkDate(date: Date): Date {
  if (Number.isNaN(date.getTime())) throw new WaymarkError("WM201", "RetryAfter was given an invalid date.");
  return date;
}

function describe(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message === "" ? thrown.name : `${thrown.name}: ${thrown.message}`;
  if (typeof thrown === "string") return thrown;
  try {
    return JSON.stringify(thrown) ?? String(thrown);
  } catch {
    return Object.prototype.toString.call(thrown); // cycles, bigints: the cause itself is attached
  }
}
