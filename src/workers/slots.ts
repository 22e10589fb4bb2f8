// The attempts running in one process, inline or worker: starts them, holds them to their deadlines, and reports each
// exactly once. A late result, after a timeout or a cancellation, is dropped; its slot was freed when that happened.

import { type ActionContext, withContext } from "../author/context.ts";
import type { ActionDefinition } from "../author/definition.ts";
import type { Clock } from "../base/clock.ts";
import type { Report, Task } from "../engine/dispatch.ts";
import { contextOf, type Outcome, perform, type Signalled } from "./perform.ts";

/** Definitions by name. */
export type Lookup = (action: string) => ActionDefinition | undefined;

export class Slots {
  readonly #running = new Map<string, Attempt>();
  readonly #lookup: Lookup;
  readonly #clock: Clock;
  readonly #report: (report: Report) => void;
  #idle: (() => void) | undefined;

  constructor(lookup: Lookup, clock: Clock, report: (report: Report) => void) {
    this.#lookup = lookup;
    this.#clock = clock;
    this.#report = report;
  }

  get inFlight(): number {
    return this.#running.size;
  }

  start(task: Task): void {
    const definition = this.#lookup(task.action);
    if (definition === undefined) {
      this.#report({ key: task.key, kind: "missing", action: task.action });
      return;
    }
    const attempt = new Attempt(task);
    this.#running.set(task.key, attempt);
    attempt.disarm = this.#clock.after(task.timeoutMs, () => this.#expire(task));
    void perform(task, definition, attempt.context, this.#clock).then((outcome) =>
      this.#settle(task, attempt, outcome),
    ); // never rejects
  }

  /** Abort an attempt and drop its result. False if it had ended. */
  cancel(key: string): boolean {
    return this.#end(key, new DOMException("The attempt was cancelled.", "AbortError"));
  }

  cancelAll(): void {
    for (const key of [...this.#running.keys()]) this.cancel(key);
  }

  /** Resolves when nothing runs. One waiter. */
  idle(): Promise<void> {
    if (this.#running.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  #settle(task: Task, attempt: Attempt, outcome: Outcome): void {
    if (this.#running.get(task.key) !== attempt) return;
    attempt.disarm();
    this.#free(task.key);
    this.#report({ key: task.key, ...outcome });
  }

  #expire(task: Task): void {
    const why = `Action "${task.action}" did not finish within ${task.timeoutMs} ms.`;
    if (this.#end(task.key, new DOMException(why, "TimeoutError"))) this.#report({ key: task.key, kind: "timeout" });
  }

  #end(key: string, reason: DOMException): boolean {
    const attempt = this.#running.get(key);
    if (attempt === undefined) return false;
    attempt.disarm();
    this.#free(key);
    attempt.abort(reason);
    return true;
  }

  #free(key: string): void {
    this.#running.delete(key);
    if (this.#running.size === 0) this.#idle?.();
  }
}

/** The signal is made when code asks for it: most actions never do, and a controller costs more than the call. */
class Attempt implements Signalled {
  readonly context: ActionContext;
  disarm: () => void = () => {};
  #controller: AbortController | undefined;
  #reason: DOMException | undefined;

  constructor(task: Task) {
    this.context = contextOf(task, this);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  abort(reason: DOMException): void {
    this.#reason = reason;
    // Listeners run in the context of the attempt they belong to, not in that of a timer.
    if (this.#controller !== undefined) withContext(this.context, () => this.#controller?.abort(reason));
  }
}
