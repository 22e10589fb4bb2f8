// Actions performed in the host's own process: for tests, embedding, and I/O-bound work at full speed. No isolation:
// an action that blocks the event loop blocks the host.

import { releaseWorkerDependencies } from "../author/dependency.ts";
import { actionNamed, registeredActions } from "../author/registry.ts";
import type { Clock } from "../base/clock.ts";
import type { ActionPool, Report, Task } from "../engine/dispatch.ts";
import { type Lookup, Slots } from "./slots.ts";

export interface InlineOptions {
  clock: Clock;
  /** Where actions are found. Default: the actions declared in this process. */
  actions?: Lookup;
  /** Most attempts at once. Default 1,000. */
  concurrency?: number;
}

/** A pool that performs actions here. Reports come in batches, one a turn of the event loop. */
export function inlinePool(options: InlineOptions): ActionPool {
  const concurrency = options.concurrency ?? 1_000;
  let listener: (reports: readonly Report[]) => void = () => {};
  let reports: Report[] = [];
  let flushing = false;
  let closed = false;

  const flush = () => {
    flushing = false;
    const batch = reports;
    reports = [];
    listener(batch);
  };
  // nextTick runs once the microtasks are done: everything that settled in this turn goes into one batch.
  const announce = () => {
    if (flushing) return;
    flushing = true;
    process.nextTick(flush);
  };
  const report = (each: Report) => {
    reports.push(each);
    announce();
  };
  const slots = new Slots(options.actions ?? actionNamed, options.clock, report);

  return {
    free: () => (closed ? 0 : Math.max(0, concurrency - slots.inFlight)),
    actions: () => (options.actions === undefined ? new Set(registeredActions().keys()) : null),
    dispatch(tasks: readonly Task[]) {
      for (const task of tasks) {
        if (closed) report({ key: task.key, kind: "lost", reason: "the pool is closed" });
        else slots.start(task);
      }
    },
    cancel(keys) {
      for (const key of keys) slots.cancel(key);
      announce();
    },
    onReport(hear) {
      listener = hear;
    },
    async close(graceMs) {
      closed = true;
      let disarm = () => {};
      const grace = new Promise<void>((resolve) => {
        disarm = options.clock.after(graceMs, resolve);
      });
      await Promise.race([slots.idle(), grace]);
      disarm();
      slots.cancelAll();
      await releaseWorkerDependencies();
    },
  };
}
