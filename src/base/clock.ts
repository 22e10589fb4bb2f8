// Time as something that is handed in. The engine never reads the machine's clock or sets a timer itself: it asks one
// of these, so that a test can hold time still, jump over a night's sleep, or step through it by hand.

export interface Clock {
  /** Milliseconds since the epoch, whole. */
  now(): number;
  /** Milliseconds from an arbitrary point, never running backwards. */
  monotonic(): number;
  /** Calls `fn` once, `ms` from now at the earliest; the answer cancels it. `Infinity` is never. */
  after(ms: number, fn: () => void): () => void;
}

/** Node's timers wrap at 2^31 ms and then fire at once; longer waits are made of several. */
const longestTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fn) {
    if (ms === Number.POSITIVE_INFINITY) return () => {};
    let handle: NodeJS.Timeout;
    const end = performance.now() + ms;
    const arm = () => {
      const left = end - performance.now();
      handle = left > longestTimerMs ? setTimeout(arm, longestTimerMs) : setTimeout(fn, Math.max(0, left));
    };
    arm();
    return () => clearTimeout(handle);
  },
};

interface Timer {
  dueMs: number;
  order: number;
  cancelled: boolean;
  fn: () => void;
}

/** How long `advance` lets somebody's own code run before it takes it to be waiting for this very advance. */
const patienceMs = 100;
const patienceStepMs = 2;

/** Turns of Node's own loop without anything held, after which nothing more is coming by itself. */
const quietTurns = 3;

/**
 * A clock for tests and for execution in memory.
 *
 * `skip`: time stands still while anything happens and jumps to the next timer when all is quiet. While somebody's
 * own code is running (`work`), waiting timers are let go at the machine's pace instead: an action that takes 100 ms
 * loses a race against a sleep of 20 ms, as it would anywhere, and wins against one of an hour.
 *
 * `manual`: time moves only by `advance`.
 */
export class VirtualClock implements Clock {
  readonly mode: "skip" | "manual";
  #ms: number;
  readonly #startMs: number;
  #timers: Timer[] = []; // a heap by due time, then by order of arming
  #order = 0;
  #held = 0;
  #working = 0;
  #watching = false;
  #changes = 0;
  #closed = false;
  #pace: (() => void) | null = null;
  readonly #stuck: () => void;

  /** `stuck` is called in `skip` mode when all is quiet and no timer is left: nothing can happen any more. */
  constructor(options: { mode?: "skip" | "manual"; startMs?: number; stuck?: () => void } = {}) {
    this.mode = options.mode ?? "skip";
    this.#startMs = this.#ms = options.startMs ?? systemClock.now();
    this.#stuck = options.stuck ?? (() => {});
  }

  now(): number {
    return Math.floor(this.#ms);
  }

  monotonic(): number {
    return this.#ms - this.#startMs;
  }

  after(ms: number, fn: () => void): () => void {
    if (ms === Number.POSITIVE_INFINITY || this.#closed) return () => {};
    const timer = { dueMs: this.#ms + Math.max(0, ms), order: this.#order++, cancelled: false, fn };
    push(this.#timers, timer);
    this.#touch();
    return () => {
      timer.cancelled = true;
      this.#touch();
    };
  }

  /** Something of ours is under way (a call to the store): time stands until the answer, called once, ends it. */
  hold(): () => void {
    this.#held++;
    return this.#release(() => this.#held--);
  }

  /** Somebody's own code is running: see the class. */
  work(): () => void {
    this.#working++;
    return this.#release(() => this.#working--);
  }

  /** Moves time forward, timer by timer, letting what each of them sets off come to rest before the next. */
  async advance(ms: number): Promise<void> {
    await this.#rested();
    const endMs = this.#ms + ms;
    while (!this.#closed) {
      const next = this.#next();
      if (next === undefined || next.dueMs > endMs) break;
      this.#fire();
      await this.#rested();
    }
    this.#ms = Math.max(this.#ms, endMs);
  }

  /** No timer fires any more. */
  close(): void {
    this.#closed = true;
    this.#timers = [];
    this.#pace?.();
    this.#pace = null;
  }

  #release(end: () => void): () => void {
    this.#touch();
    let done = false;
    return () => {
      if (done) return;
      done = true;
      end();
      this.#touch();
    };
  }

  #touch(): void {
    this.#changes++;
    if (this.mode === "manual" || this.#watching || this.#closed) return;
    this.#watching = true;
    void this.#watch(); // ends by itself when there is nothing to wait for
  }

  async #watch(): Promise<void> {
    while (!this.#closed) {
      this.#pace?.();
      this.#pace = null;
      await this.#settled();
      if (this.#closed) break;
      const next = this.#next();
      if (this.#working === 0) {
        if (next === undefined) {
          this.#watching = false;
          this.#stuck();
          return;
        }
        this.#fire();
        continue;
      }
      this.#watching = false;
      if (next !== undefined) this.#pace = systemClock.after(next.dueMs - this.#ms, () => this.#paced(next));
      return;
    }
    this.#watching = false;
  }

  #paced(timer: Timer): void {
    this.#pace = null;
    if (this.#next() === timer) this.#fire();
    this.#touch();
  }

  async #settled(): Promise<void> {
    let seen = -1;
    for (let quiet = 0; quiet < quietTurns && !this.#closed; ) {
      await turn();
      quiet = this.#held === 0 && seen === this.#changes ? quiet + 1 : 0;
      seen = this.#changes;
    }
  }

  /** Settled, and nobody's own code is running, or it has been for so long that it must be waiting for time to pass. */
  async #rested(): Promise<void> {
    await this.#settled();
    let since = systemClock.monotonic();
    while (this.#working > 0 && !this.#closed && systemClock.monotonic() - since < patienceMs) {
      const seen = this.#changes;
      await new Promise<void>((resolve) => void systemClock.after(patienceStepMs, resolve));
      if (this.#changes === seen) continue;
      await this.#settled();
      since = systemClock.monotonic();
    }
  }

  #next(): Timer | undefined {
    while (this.#timers[0]?.cancelled) pop(this.#timers);
    return this.#timers[0];
  }

  #fire(): void {
    const timer = pop(this.#timers);
    this.#ms = Math.max(this.#ms, timer.dueMs);
    this.#changes++;
    timer.fn();
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

const before = (a: Timer, b: Timer) => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);

function push(heap: Timer[], timer: Timer): void {
  let at = heap.push(timer) - 1;
  while (at > 0) {
    const up = (at - 1) >> 1;
    if (!before(timer, heap[up]!)) break;
    heap[at] = heap[up]!;
    at = up;
  }
  heap[at] = timer;
}

function pop(heap: Timer[]): Timer {
  const first = heap[0]!;
  const last = heap.pop()!;
  if (heap.length === 0) return first;
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
  return first;
}
