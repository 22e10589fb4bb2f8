// Starts, gathered: whatever is asked for in one turn of the event loop, or while a statement is under way, goes into the
// next statement. The store sends it again where a reply was lost, and knows by the seed which rows are its own.

import { inputHash } from "../store/input.ts";
import type { Started, StartRow, Store } from "../store/store.ts";

const batchRowsMax = 1_000;
const batchBytesMax = 8 * 1024 * 1024;

interface Asked {
  row: StartRow;
  resolve: (started: Started & { mine: boolean }) => void;
  reject: (error: unknown) => void;
}

export class Starts {
  readonly #store: Store;
  readonly #queues = new Map<number, Asked[]>(); // by program; there while its loop runs
  #notifying: Promise<void> | undefined;
  #notifyAgain = false;

  constructor(store: Store) {
    this.#store = store;
  }

  /** `mine`: the instance has the input given here. */
  start(program: number, format: number, row: StartRow): Promise<Started & { mine: boolean }> {
    return new Promise((resolve, reject) => {
      const asked = { row, resolve, reject };
      const queue = this.#queues.get(program);
      if (queue !== undefined) {
        queue.push(asked);
        return;
      }
      this.#queues.set(program, [asked]);
      setImmediate(() => void this.#drain(program, format)); // drain hands every failure to its callers
    });
  }

  async #drain(program: number, format: number): Promise<void> {
    const queue = this.#queues.get(program)!;
    while (queue.length > 0) {
      const batch = takeBatch(queue);
      try {
        const rows = batch.map(({ row }) => row);
        const started = await this.#store.start(program, format, rows);
        this.#notifyWork();
        answer(batch, started);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#queues.delete(program);
  }

  /** Tell the hosts, on no one's time. A hint: where it is lost, their poll finds the work. */
  #notifyWork(): void {
    if (this.#notifying !== undefined) {
      this.#notifyAgain = true;
      return;
    }
    this.#notifying = this.#store
      .notify([{ kind: "work" }])
      .catch(() => {})
      .finally(() => {
        this.#notifying = undefined;
        if (!this.#notifyAgain) return;
        this.#notifyAgain = false;
        this.#notifyWork();
      });
  }

  /** Resolves when no notice is under way. */
  async quiet(): Promise<void> {
    while (this.#notifying !== undefined) await this.#notifying;
  }
}

/** The front of the queue, within the limits, each id once: a second start under one id must see the first. */
function takeBatch(queue: Asked[]): Asked[] {
  const ids = new Set<string>();
  let bytes = 0;
  let count = 0;
  for (const { row } of queue) {
    bytes += row.input.length;
    if (count === batchRowsMax || ids.has(row.id) || (count > 0 && bytes > batchBytesMax)) break;
    ids.add(row.id);
    count++;
  }
  return queue.splice(0, count);
}

function answer(batch: readonly Asked[], rows: readonly Started[]): void {
  const byId = new Map(rows.map((started) => [started.id, started]));
  for (const { row, resolve, reject } of batch) {
    const started = byId.get(row.id);
    if (started === undefined) reject(new Error(`The store gave no answer for instance ${row.id}.`));
    else resolve({ ...started, mine: started.created || started.inputHash === inputHash(row.input) });
  }
}
