// Waits that are short enough to stay in memory: a heap by due time, and one timer of the clock for the earliest.
// Entries are never removed early; whoever takes one asks whether it still means anything.

import type { Clock } from "../base/clock.ts";

export class Timers<T> {
  readonly #clock: Clock;
  readonly #due: () => void;
  #heap: { dueAt: number; order: number; value: T }[] = [];
  #order = 0;
  #armedFor = Number.POSITIVE_INFINITY;
  #disarm: () => void = () => {};

  /** `due` is called when something is due; what is due is then asked for with `take`. */
  constructor(clock: Clock, due: () => void) {
    this.#clock = clock;
    this.#due = due;
  }

  add(dueAt: number, value: T): void {
    const entry = { dueAt, order: this.#order++, value };
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!before(entry, heap[up]!)) break;
      heap[at] = heap[up]!;
      at = up;
    }
    heap[at] = entry;
    if (dueAt < this.#armedFor) this.#arm();
  }

  /** The next value whose time has come, in order, or undefined. */
  take(): T | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.dueAt > this.#clock.now()) {
      this.#arm();
      return undefined;
    }
    this.#pop();
    return first.value;
  }

  clear(): void {
    this.#heap = [];
    this.#disarm();
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const first = this.#heap[0];
    this.#disarm();
    this.#armedFor = first?.dueAt ?? Number.POSITIVE_INFINITY;
    if (first === undefined) return;
    this.#disarm = this.#clock.after(Math.max(0, first.dueAt - this.#clock.now()), () => {
      this.#armedFor = Number.POSITIVE_INFINITY;
      this.#due();
    });
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && before(heap[down + 1]!, heap[down]!)) down++;
      if (!before(heap[down]!, last)) break;
      heap[at] = heap[down]!;
      at = down;
    }
    heap[at] = last;
  }
}

const before = (a: { dueAt: number; order: number }, b: { dueAt: number; order: number }) =>
  a.dueAt < b.dueAt || (a.dueAt === b.dueAt && a.order < b.order);
