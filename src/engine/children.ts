// Children: instances that a workflow starts. Their id and their seed follow from the parent's seed and the effect's
// number, so that starting one twice (a lost reply, a parent that moved) is starting it once.

import { createHash } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { noStartOptions, type StartData } from "../program/start.ts";
import { decodeValue, encodeValue } from "../program/value.ts";
import type { StartRow, Store } from "../store/store.ts";
import type { Instance, Pending } from "./instance.ts";
import { errorBytes } from "./retry.ts";

const retryMs = 500;

export interface Child {
  instance: Instance;
  pending: Pending;
}

export type Began =
  | { kind: "began"; child: Child; id: string; no: number }
  | { kind: "refused"; child: Child; error: Uint8Array };

export class Children {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #began: (results: Began[]) => void;
  #waiting: Child[] = [];
  #busy = false;
  #stopped = false;

  constructor(store: Store, clock: Clock, began: (results: Began[]) => void) {
    this.#store = store;
    this.#clock = clock;
    this.#began = began;
  }

  add(instance: Instance, pending: Pending): void {
    instance.move(pending, "starting");
    this.#waiting.push({ instance, pending });
  }

  /** Start what was added: one statement a program, one round at a time. */
  flush(): void {
    if (this.#busy || this.#stopped || this.#waiting.length === 0) return;
    this.#busy = true;
    void this.#round().then(() => {
      // never rejects
      this.#busy = false;
      this.flush();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#waiting = [];
  }

  async #round(): Promise<void> {
    const children = this.#waiting.filter(({ instance, pending }) => instance.current(pending));
    this.#waiting = [];
    try {
      for (const [workflow, group] of byName(children)) {
        this.#began(await this.#start(workflow, group));
      }
    } catch {
      // The store is in trouble. What began will be found to have begun.
      this.#waiting.push(...children.filter(({ pending }) => pending.stage === "starting"));
      await new Promise<void>((resolve) => void this.#clock.after(retryMs, resolve));
    }
  }

  async #start(workflow: string, group: Child[]): Promise<Began[]> {
    const program = await this.#store.latestProgram(workflow);
    if (program === null) {
      const message = `There is no workflow "${workflow}" in the store, so it cannot be started as a child.`;
      const error = errorBytes(
        "WaymarkError",
        `${message} Start it once, or run \`waymark compile\` on its module.`,
        "WM421",
      );
      return group.map((child) => ({ kind: "refused", child, error }));
    }
    const results: Began[] = [];
    // The same id twice in one statement is one row: the second would look like the first.
    const rows = new Map<string, { child: Child; row: StartRow }>();
    for (const child of group) {
      const row = startRow(child, this.#clock.now());
      if (rows.has(row.id)) results.push(taken(child, row.id));
      else rows.set(row.id, { child, row });
    }
    const started = await this.#store.start(
      program.no,
      program.format,
      [...rows.values()].map(({ row }) => row),
    );
    for (const { id, no, created } of started) {
      const { child } = rows.get(id)!;
      results.push(created ? { kind: "began", child, id, no } : taken(child, id));
    }
    return results;
  }
}

function byName(children: readonly Child[]): Map<string, Child[]> {
  const groups = new Map<string, Child[]>();
  for (const child of children) {
    const name = nameOf(child.pending);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [child]);
    else group.push(child);
  }
  return groups;
}

function startRow({ instance, pending }: Child, nowMs: number): StartRow {
  const { effect } = pending;
  if (effect.kind !== "child") throw new Error(`effect ${effect.no} is a ${effect.kind}, not a child`);
  const options = effect.options === null ? noStartOptions : (decodeValue(effect.options) as StartData);
  const seed = createHash("sha256").update(instance.seed).update(`/child/${effect.no}`).digest().subarray(0, 16);
  return {
    id: options.id ?? uuidOf(seed),
    input: effect.args,
    seed,
    priority: options.priority,
    startAt: options.startAt ?? (options.delayMs === null ? null : nowMs + options.delayMs),
    // Nobody waits for a child that was only started: its end must not wake the parent.
    parent: effect.wait ? { instance: instance.no, effect: effect.no } : null,
    waiter: null,
  };
}

function taken(child: Child, id: string): Began {
  const message = `An instance with the id ${JSON.stringify(id)} exists already, and another has started it.`;
  return {
    kind: "refused",
    child,
    error: errorBytes("WaymarkError", `${message} Give the child another id, or none.`, "WM422"),
  };
}

/** What a child that is not waited for gives its parent. */
export function startedValue(id: string): Uint8Array {
  return encodeValue(id);
}

function nameOf({ effect }: Pending): string {
  if (effect.kind !== "child") throw new Error(`effect ${effect.no} is a ${effect.kind}, not a child`);
  return effect.name;
}

function uuidOf(seed: Uint8Array): string {
  const bytes = Buffer.from(seed);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80; // version 8: made by a rule of our own
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const text = bytes.toString("hex");
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join("-");
}
