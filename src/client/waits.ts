// Waiting for instances to end. Hosts push a notice, notices are hints, and the store is read: one query for all that
// was heard of while the last one was under way. A slow poll finds what a lost notice would have said. While somebody
// waits, a timer keeps the process alive; soon after nobody does, nothing of ours does.

import { WaymarkError } from "../base/failure.ts";
import type { ResultRow, Store } from "../store/store.ts";

const readMax = 1_000; // ids in one query
const pollMs = 2_000;
const pollShare = 10; // a poll over many waits may take a tenth of the time
const retryMs = 250; // after a failed read
// The listening connection keeps the process alive, so it goes when nobody has waited for this long: a script ends by
// itself, and one `run()` after another shares it.
const idleMs = 250;
const lostMaxMs = 60_000; // without an answer from the store

interface Wait {
  callers: number;
  promise: Promise<ResultRow>;
  resolve: (row: ResultRow) => void;
  reject: (error: unknown) => void;
}

export class Waits {
  readonly #store: Store;
  readonly #client: string;
  readonly #waiting = new Map<string, Wait>();
  readonly #due = new Set<string>();
  #reading = false;
  #listening: Promise<{ close(): Promise<void> }> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #idle: NodeJS.Timeout | undefined;
  #failingSince: number | undefined;
  #closed = false;

  constructor(store: Store, client: string) {
    this.#store = store;
    this.#client = client;
  }

  /** Begin to hear notices. Before a start that names this client, or the end could be missed. */
  async listen(): Promise<void> {
    this.#listening ??= this.#store.listen(
      { client: this.#client },
      (notice) => {
        if (notice.kind === "result") this.read(notice.ids);
      },
      () => this.read([...this.#waiting.keys()]), // what was said while nobody heard is in the store
    );
    const listening = this.#listening;
    try {
      await listening;
    } catch (error) {
      if (this.#listening === listening) this.#listening = undefined;
      throw error;
    }
  }

  /** The row of an instance that has ended, or stopped in quarantine. Reads nothing yet: a notice will come, or `read` is called. */
  wait(id: string): Promise<ResultRow> {
    if (this.#closed) return Promise.reject(closed(id));
    const known = this.#waiting.get(id);
    if (known !== undefined) {
      known.callers++;
      return known.promise;
    }
    const { promise, resolve, reject } = withResolvers<ResultRow>();
    promise.catch(() => {}); // those who wait hear of it; one may have left for an error of its own
    clearTimeout(this.#idle);
    this.#waiting.set(id, { callers: 1, promise, resolve, reject });
    this.#timer ??= setTimeout(() => this.#poll(), pollMs);
    return promise;
  }

  /** Read these if somebody waits for them, and have their end notified to this client. */
  read(ids: readonly string[]): void {
    for (const id of ids) if (this.#waiting.has(id)) this.#due.add(id);
    if (!this.#reading && this.#due.size > 0) {
      this.#reading = true;
      queueMicrotask(() => void this.#drain()); // drain reports every failure to those who wait
    }
  }

  /** One caller of `wait` waits no longer: its start failed. */
  leave(id: string): void {
    const wait = this.#waiting.get(id);
    if (wait !== undefined && --wait.callers === 0) this.#settle(id, () => {});
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const id of [...this.#waiting.keys()]) this.#settle(id, (wait) => wait.reject(closed(id)));
    clearTimeout(this.#idle);
    await this.#unlisten();
  }

  async #unlisten(): Promise<void> {
    const listening = this.#listening;
    this.#listening = undefined;
    try {
      await (await listening)?.close();
    } catch {
      // Never opened, or broken already: either way it is gone.
    }
  }

  async #drain(): Promise<void> {
    while (this.#due.size > 0) {
      const ids = [...this.#due].slice(0, readMax);
      for (const id of ids) this.#due.delete(id);
      try {
        this.#take(ids, await this.#store.results(ids, this.#client));
        this.#failingSince = undefined;
      } catch (error) {
        this.#failed(ids, error);
        break;
      }
    }
    this.#reading = false;
  }

  #take(ids: readonly string[], rows: readonly ResultRow[]): void {
    const missing = new Set(ids);
    for (const row of rows) {
      missing.delete(row.id);
      if (ended.has(row.status)) this.#settle(row.id, (wait) => wait.resolve(row));
    }
    for (const id of missing) this.#settle(id, (wait) => wait.reject(unknownInstance(id)));
  }

  #failed(ids: readonly string[], error: unknown): void {
    this.#failingSince ??= performance.now();
    if (performance.now() - this.#failingSince > lostMaxMs) {
      for (const id of [...this.#waiting.keys()]) this.#settle(id, (wait) => wait.reject(lostStore(id, error)));
      return;
    }
    for (const id of ids) if (this.#waiting.has(id)) this.#due.add(id);
    setTimeout(() => this.read([]), retryMs);
  }

  #poll(): void {
    const began = performance.now();
    this.read([...this.#waiting.keys()]);
    const again = () => {
      if (this.#reading) {
        this.#timer = setTimeout(again, pollMs / 10);
        return;
      }
      this.#timer = setTimeout(() => this.#poll(), Math.max(pollMs, (performance.now() - began) * pollShare));
    };
    this.#timer = setTimeout(again, 0);
  }

  #settle(id: string, how: (wait: Wait) => void): void {
    const wait = this.#waiting.get(id);
    if (wait === undefined) return;
    this.#waiting.delete(id);
    this.#due.delete(id);
    how(wait);
    if (this.#waiting.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.#unlisten(), idleMs); // unlisten has no failure of its own
  }
}

const ended: ReadonlySet<string> = new Set(["completed", "failed", "cancelled", "quarantined"]);

export function unknownInstance(id: string): WaymarkError {
  return new WaymarkError("WM304", `There is no instance ${JSON.stringify(id)}.`, {
    hint: "It was never started in this database, or it ended so long ago that it has been removed.",
  });
}

function lostStore(id: string, cause: unknown): WaymarkError {
  return new WaymarkError(
    "WM305",
    `The database has not answered for ${lostMaxMs / 1000} seconds while waiting for instance ${JSON.stringify(id)}.`,
    {
      hint: "The instance is safe and goes on by itself. Start again with the same id to wait for it.",
      cause,
    },
  );
}

function closed(id: string): WaymarkError {
  return new WaymarkError(
    "WM307",
    `waymark was shut down in this process while waiting for instance ${JSON.stringify(id)}.`,
    {
      hint: "The instance is safe and goes on by itself.",
    },
  );
}

function withResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
