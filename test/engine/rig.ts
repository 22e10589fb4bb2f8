// What the tests of the engine stand on: a memory store under a virtual clock, a pool whose attempts end when the test
// says so, and hosts with scripted machines over both. `settle` waits until nothing moves any more; nothing sleeps.
import { createHash } from "node:crypto";
import { VirtualClock } from "../../src/base/clock.ts";
import type { HostConfig } from "../../src/engine/config.ts";
import type { ActionPool, Report, Task } from "../../src/engine/dispatch.ts";
import type { EngineEvent, Log } from "../../src/engine/events.ts";
import { type Host, type HostOptions, startHost } from "../../src/engine/host.ts";
import { stillStore } from "../../src/engine/still.ts";
import { decodeValue, encodeValue } from "../../src/program/value.ts";
import { type MemoryState, memoryState, openMemory } from "../../src/store/memory.ts";
import type { ResultRow, Store } from "../../src/store/store.ts";
import { type Calls, type Script, scriptMachine } from "./script.ts";

export class HandPool implements ActionPool {
  slots = 1_000;
  names: Set<string> | null = null;
  readonly running = new Map<string, Task>();
  readonly seen: Task[] = [];
  readonly cancelled: string[] = [];
  #listener: (reports: readonly Report[]) => void = () => {};
  /** Performs at once, in place of the test. */
  perform: ((task: Task) => unknown) | null = null;

  free(): number {
    return this.slots - this.running.size;
  }
  actions(): Set<string> | null {
    return this.names;
  }
  dispatch(tasks: readonly Task[]): void {
    for (const task of tasks) {
      this.running.set(task.key, task);
      this.seen.push(task);
    }
    const { perform } = this;
    if (perform === null) return;
    queueMicrotask(() => {
      const reports: Report[] = tasks.map((task) => {
        try {
          return { key: task.key, kind: "done", value: encodeValue(perform(task)) };
        } catch (error) {
          return { key: task.key, kind: "failed", error: encodeValue(error), retryable: true };
        }
      });
      this.report(...reports);
    });
  }
  cancel(keys: readonly string[]): void {
    this.cancelled.push(...keys);
    for (const key of keys) this.running.delete(key);
  }
  onReport(listener: (reports: readonly Report[]) => void): void {
    this.#listener = listener;
  }
  async close(): Promise<void> {}

  report(...reports: Report[]): void {
    for (const { key } of reports) this.running.delete(key);
    this.#listener(reports);
  }
  done(task: Task, value?: unknown): void {
    this.report({ key: task.key, kind: "done", value: encodeValue(value) });
  }
  fail(task: Task, error: Error, more: { retryable?: boolean; retryAfterMs?: number } = {}): void {
    this.report({ key: task.key, kind: "failed", error: encodeValue(error), retryable: true, ...more });
  }
  /** The only attempt that runs. */
  get only(): Task {
    if (this.running.size !== 1) throw new Error(`${this.running.size} attempts run, not one`);
    return [...this.running.values()][0]!;
  }
}

export interface RigOptions {
  scripts: Record<string, Script>;
  config?: Partial<HostConfig>;
  startMs?: number;
  /** Put between the hosts and the store. */
  wrap?: (store: Store) => Store;
}

export class Rig implements AsyncDisposable {
  readonly clock: VirtualClock;
  readonly state: MemoryState = memoryState();
  readonly store: Store;
  readonly events: EngineEvent[] = [];
  readonly logged: string[] = [];
  readonly calls: Calls = { deliver: 0, snapshot: 0, snapshotBytes: 0 };
  readonly #hosts: Host[] = [];
  readonly #options: RigOptions;

  constructor(options: RigOptions) {
    this.#options = options;
    this.clock = new VirtualClock({ mode: "manual", startMs: options.startMs ?? 1_000_000 });
    this.store = openMemory(() => this.clock.now(), this.state);
  }

  async host(pool: ActionPool, more: Partial<HostOptions> = {}): Promise<Host> {
    const store = stillStore(
      openMemory(() => this.clock.now(), this.state),
      this.clock,
    );
    const note = (fields: object, message: string) =>
      this.logged.push(`${message} ${"err" in fields ? String(fields.err) : ""}`);
    const log: Log = { debug: note, info: note, warn: note, error: note };
    const host = await startHost({
      store: this.#options.wrap?.(store) ?? store,
      pool,
      clock: this.clock,
      config: this.#options.config ?? {},
      log,
      random: () => 0.5,
      machine: () => scriptMachine(this.#options.scripts, this.calls),
      onEvent: (event) => void this.events.push(event),
      ...more,
    });
    this.#hosts.push(host);
    return host;
  }

  async start(script: string, args: unknown[] = [], ids: string[] = [script]): Promise<void> {
    const program = await this.program(script);
    const rows = ids.map((id) => ({
      id,
      input: encodeValue(args),
      seed: Buffer.alloc(16, id),
      priority: 0,
      startAt: null,
      parent: null,
      waiter: null,
    }));
    await this.store.start(program, 1, rows);
    await this.store.notify([{ kind: "work" }]);
  }

  program(script: string): Promise<number> {
    const body = Buffer.from(script);
    const hash = createHash("sha256").update(body).digest();
    return this.store.putProgram({ hash, workflow: script, format: 1, body, debug: null });
  }

  /** Until nothing happens by itself any more. */
  settle(): Promise<void> {
    return this.clock.advance(0);
  }

  async result(id: string): Promise<{ status: ResultRow["status"]; value: unknown; reason: string | null }> {
    const [row] = await this.store.results([id]);
    if (row === undefined) throw new Error(`no instance ${id}`);
    return {
      status: row.status,
      value: row.outcome === null ? undefined : decodeValue(row.outcome),
      reason: row.reason,
    };
  }

  async journal(id: string) {
    const [row] = await this.store.results([id]);
    return this.store.history(row!.no);
  }

  of<K extends EngineEvent["kind"]>(kind: K): Extract<EngineEvent, { kind: K }>[] {
    return this.events.filter((event): event is Extract<EngineEvent, { kind: K }> => event.kind === kind);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.#hosts) host.abandon();
    await this.settle();
    this.clock.close();
  }
}

/** The store with some methods of the test's own in front. */
export function over(store: Store, methods: Partial<Store>): Store {
  return new Proxy(store, {
    get(target, key) {
      const own = methods[key as keyof Store];
      if (own !== undefined) return own;
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
