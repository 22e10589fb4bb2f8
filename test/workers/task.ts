// Making tasks and reading reports, for the tests of this room.

import type { ActionPool, Report, Task } from "../../src/engine/dispatch.ts";
import { decodeValue, encodeValue } from "../../src/program/value.ts";

let made = 0;

export function task(action: string, args: readonly unknown[] = [], more: Partial<Task> = {}): Task {
  const key = `k${++made}`;
  return {
    key,
    instance: "i1",
    workflow: "orders",
    action,
    effect: 1,
    attempt: 1,
    idempotencyKey: `once-${key}`,
    args: encodeValue([...args]),
    timeoutMs: 60_000,
    ...more,
  };
}

/** Hears a pool's reports and hands each to whoever waits for its key. */
export class Desk {
  readonly pool: ActionPool;
  readonly reports = new Map<string, Report>();
  batches = 0;
  readonly #waiting = new Map<string, (report: Report) => void>();

  constructor(pool: ActionPool) {
    this.pool = pool;
    pool.onReport((reports) => {
      if (reports.length > 0) this.batches++;
      for (const report of reports) {
        if (this.reports.has(report.key)) throw new Error(`reported twice: ${report.key}`);
        this.reports.set(report.key, report);
        this.#waiting.get(report.key)?.(report);
      }
    });
  }

  perform(...tasks: Task[]): Promise<Report[]> {
    const all = tasks.map(
      (each) =>
        new Promise<Report>((resolve) => {
          this.#waiting.set(each.key, resolve);
        }),
    );
    this.pool.dispatch(tasks);
    return Promise.all(all);
  }

  async one(each: Task): Promise<Report> {
    const [report] = await this.perform(each);
    return report!;
  }
}

/** The value of a report that must be "done". */
export function resultOf(report: Report): unknown {
  if (report.kind !== "done")
    throw new Error(
      `not done: ${JSON.stringify(report)} ${report.kind === "failed" ? String(decodeValue(report.error)) : ""}`,
    );
  return decodeValue(report.value);
}

/** The error of a report that must be "failed". */
export function errorOf(report: Report): Error & Record<string, unknown> {
  if (report.kind !== "failed") throw new Error(`not failed: ${JSON.stringify(report)}`);
  return decodeValue(report.error) as Error & Record<string, unknown>;
}
