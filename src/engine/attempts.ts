// Attempts between the shard and the pool: what waits for a slot, what runs, and what no worker here can do. Only what
// is durable gets here. Each key is dispatched once and answered at most once; everything else is late.

import type { ActionPool, Report, Task } from "./dispatch.ts";
import type { AttemptNamed, EngineEvent, Log } from "./events.ts";
import type { Instance, Pending } from "./instance.ts";
import { Ready } from "./ready.ts";
import { policyOf, timeoutMs } from "./retry.ts";

interface Attempt {
  instance: Instance;
  pending: Pending;
}

export class Attempts {
  readonly #pool: ActionPool;
  readonly #prefix: string;
  readonly #emit: (event: EngineEvent) => void;
  readonly #log: Log;
  readonly #ready = new Ready<Instance, Attempt>();
  readonly #running = new Map<string, Attempt>();
  /** By action, with the names the pool knew when it could not. */
  readonly #parked = new Map<string, { known: string; attempts: Set<Attempt> }>();
  /** Missing actions that were told of, and what the pool knew then. */
  readonly #told = new Set<string>();
  #toldKnown = "";
  readonly #onParked: (instance: Instance) => void;
  #serial = 0;
  #stopped = false;

  /** `prefix` makes the keys of this shard its own among all that share the pool. */
  constructor(
    pool: ActionPool,
    prefix: string,
    emit: (event: EngineEvent) => void,
    log: Log,
    parked: (instance: Instance) => void,
  ) {
    this.#onParked = parked;
    this.#pool = pool;
    this.#prefix = prefix;
    this.#emit = emit;
    this.#log = log;
  }

  get running(): number {
    return this.#running.size;
  }

  add(instance: Instance, pending: Pending): void {
    instance.move(pending, "ready");
    this.#ready.add(instance.rank, instance, { instance, pending });
  }

  /** Dispatch what there are slots for. */
  pump(): void {
    if (this.#stopped || this.#ready.size === 0) return;
    const names = this.#pool.actions();
    const tasks: Task[] = [];
    for (let free = this.#pool.free(); free > 0; ) {
      const next = this.#ready.take();
      if (next === undefined) break;
      if (!next.instance.current(next.pending) || next.pending.stage !== "ready") continue;
      const task = this.#task(next);
      if (names !== null && !names.has(task.action)) {
        this.#park(next, task.action);
        continue;
      }
      next.instance.move(next.pending, "running");
      next.pending.key = task.key;
      this.#running.set(task.key, next);
      tasks.push(task);
      free--;
      this.#emit({ kind: "attempt-started", args: task.args, ...named(next) });
    }
    if (tasks.length > 0) this.#pool.dispatch(tasks);
  }

  /** The attempt that a report is about, which is thereby over; null if it is late. */
  settle(report: Report): Attempt | null {
    const attempt = this.#running.get(report.key);
    if (attempt === undefined) return null;
    this.#running.delete(report.key);
    attempt.pending.key = null;
    return attempt.instance.current(attempt.pending) ? attempt : null;
  }

  /** No worker has the action after all. Not an attempt. */
  missing(attempt: Attempt, action: string): void {
    this.#park(attempt, action);
  }

  /** Slots or actions changed. */
  changed(): void {
    if (this.#parked.size > 0 || this.#told.size > 0) {
      const known = this.#known();
      if (known !== this.#toldKnown) this.#told.clear();
      for (const [action, parked] of this.#parked) {
        if (parked.known === known) continue;
        this.#parked.delete(action);
        for (const { instance, pending } of parked.attempts) if (instance.current(pending)) this.add(instance, pending);
      }
    }
    this.pump();
  }

  cancel(keys: readonly string[]): void {
    if (keys.length === 0) return;
    for (const key of keys) this.#running.delete(key);
    this.#pool.cancel(keys);
  }

  /** The instance left: none of its attempts matters to us any more. */
  forget(instance: Instance): void {
    this.#ready.remove(instance.rank, instance);
    const keys: string[] = [];
    for (const { key } of instance.effects.values()) if (key !== null) keys.push(key);
    this.cancel(keys);
    if (this.#parked.size === 0) return;
    for (const [action, { attempts }] of this.#parked) {
      for (const attempt of attempts) if (attempt.instance === instance) attempts.delete(attempt);
      if (attempts.size === 0) this.#parked.delete(action);
    }
  }

  clear(): void {
    this.#ready.clear();
    this.#parked.clear();
    this.cancel([...this.#running.keys()]);
  }

  /** Dispatch nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  /** Actions that instances wait for and no worker here has. */
  get missingActions(): string[] {
    return [...this.#parked.keys()];
  }

  /** Whether instances came here lately that others may be able to help. */
  get lacking(): boolean {
    return this.#told.size > 0;
  }

  #task({ instance, pending }: Attempt): Task {
    const { effect, attempt } = pending;
    if (effect.kind !== "action") throw new Error(`effect ${effect.no} is a ${effect.kind}, not an action`);
    return {
      key: `${this.#prefix}${++this.#serial}`,
      instance: instance.id,
      workflow: instance.workflow,
      action: effect.name,
      effect: effect.no,
      attempt,
      idempotencyKey: `${hex(instance.seed)}-${effect.no}`,
      args: effect.args,
      timeoutMs: timeoutMs(policyOf(effect.policy)),
    };
  }

  #park(attempt: Attempt, action: string): void {
    attempt.instance.move(attempt.pending, "parked");
    const parked = this.#parked.get(action);
    if (parked === undefined) this.#parked.set(action, { known: this.#known(), attempts: new Set([attempt]) });
    else parked.attempts.add(attempt);
    this.#emit({ kind: "action-missing", ...named(attempt) });
    this.#onParked(attempt.instance);
    if (this.#told.has(action)) return;
    this.#told.add(action);
    this.#toldKnown = this.#known();
    this.#log.warn(
      { action, instance: attempt.instance.id },
      `No worker of this host has the action "${action}": its instances are kept safe until one does. Is its module in WAYMARK_USER_MODULE?`,
    );
  }

  #known(): string {
    const names = this.#pool.actions();
    return names === null ? "?" : [...names].sort().join("\n");
  }
}

export function named({ instance, pending }: Attempt): AttemptNamed {
  const { effect, attempt } = pending;
  const action = effect.kind === "action" ? effect.name : "";
  return { instance: instance.id, workflow: instance.workflow, action, effect: effect.no, attempt };
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
