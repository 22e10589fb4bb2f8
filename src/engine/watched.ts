// A pool looked at: every attempt is written down, a virtual clock knows that somebody's code is running, and attempts
// outlive the host that asked for them, as they do when workers are processes of their own. A host that comes back and
// asks for an attempt that was made already joins it.

import type { VirtualClock } from "../base/clock.ts";
import { decodeValue } from "../program/value.ts";
import type { ActionPool, Report, Task } from "./dispatch.ts";

export type CallOutcome =
  | { kind: "done"; value: unknown }
  | { kind: "failed"; error: unknown }
  | { kind: "timeout" }
  | { kind: "lost"; reason: string }
  | { kind: "cancelled" }
  | { kind: "running" };

/** One attempt of one action. */
export interface Call {
  action: string;
  args: unknown[];
  /** From 1. */
  attempt: number;
  outcome: CallOutcome;
}

interface Attempt {
  call: Call;
  /** The key under which whoever asks now knows it. */
  key: string;
  innerKey: string;
  report: Report | null;
  rest: () => void;
}

export class Watched implements ActionPool {
  readonly calls: Call[] = [];
  readonly #pool: ActionPool;
  readonly #clock: VirtualClock;
  /** By the call's idempotency key and number. */
  readonly #attempts = new Map<string, Attempt>();
  readonly #byInner = new Map<string, Attempt>();
  readonly #byKey = new Map<string, Attempt>();
  #listener: (reports: readonly Report[]) => void = () => {};
  #deaf = false;

  constructor(pool: ActionPool, clock: VirtualClock) {
    this.#pool = pool;
    this.#clock = clock;
    pool.onReport((reports) => this.#hear(reports));
  }

  free(): number {
    return this.#pool.free();
  }

  actions(): ReadonlySet<string> | null {
    return this.#pool.actions();
  }

  onReport(listener: (reports: readonly Report[]) => void): void {
    this.#listener = listener;
  }

  dispatch(tasks: readonly Task[]): void {
    const fresh: Task[] = [];
    const known: Report[] = [];
    for (const task of tasks) {
      const name = `${task.idempotencyKey} ${task.attempt}`;
      const before = this.#attempts.get(name);
      if (before === undefined) {
        this.#begin(name, task);
        fresh.push(task);
        continue;
      }
      this.#byKey.delete(before.key);
      before.key = task.key;
      this.#byKey.set(task.key, before);
      if (before.report !== null) known.push({ ...before.report, key: task.key });
    }
    if (fresh.length > 0) this.#pool.dispatch(fresh);
    if (known.length > 0) {
      const release = this.#clock.hold();
      setImmediate(() => {
        this.#listener(known);
        release();
      });
    }
  }

  cancel(keys: readonly string[]): void {
    if (this.#deaf) return;
    const inner: string[] = [];
    for (const key of keys) {
      const attempt = this.#byKey.get(key);
      if (attempt === undefined || attempt.report !== null) continue;
      this.#end(attempt, { kind: "cancelled" });
      inner.push(attempt.innerKey);
    }
    this.#pool.cancel(inner);
  }

  close(graceMs: number): Promise<void> {
    return this.#pool.close(graceMs);
  }

  /** What is done in `fn` does not reach the pool: a host that crashes cannot cancel anything. */
  unheard(fn: () => void): void {
    this.#deaf = true;
    try {
      fn();
    } finally {
      this.#deaf = false;
    }
  }

  #begin(name: string, task: Task): void {
    const { action, attempt, key } = task;
    const call: Call = { action, args: decodeValue(task.args) as unknown[], attempt, outcome: { kind: "running" } };
    const begun: Attempt = { call, key, innerKey: key, report: null, rest: this.#clock.work() };
    this.calls.push(call);
    this.#attempts.set(name, begun);
    this.#byInner.set(key, begun);
    this.#byKey.set(key, begun);
  }

  #hear(reports: readonly Report[]): void {
    const told: Report[] = [];
    for (const report of reports) {
      const attempt = this.#byInner.get(report.key);
      if (attempt === undefined) continue;
      attempt.report = report;
      told.push({ ...report, key: attempt.key });
      if (report.kind === "missing") {
        this.calls.splice(this.calls.indexOf(attempt.call), 1); // not an attempt
        attempt.rest();
      } else {
        this.#end(attempt, outcomeOf(report));
      }
    }
    this.#listener(told);
  }

  #end(attempt: Attempt, outcome: CallOutcome): void {
    attempt.call.outcome = outcome;
    this.#byInner.delete(attempt.innerKey);
    attempt.rest();
  }
}

function outcomeOf(report: Exclude<Report, { kind: "missing" }>): CallOutcome {
  switch (report.kind) {
    case "done":
      return { kind: "done", value: decodeValue(report.value) };
    case "failed":
      return { kind: "failed", error: decodeValue(report.error) };
    case "timeout":
      return { kind: "timeout" };
    case "lost":
      return { kind: "lost", reason: report.reason };
  }
}
