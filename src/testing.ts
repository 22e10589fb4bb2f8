// Door: `waymark/testing`. The same VM and the same engine as anywhere else, over the memory store and a virtual clock,
// actions performed in this process: a night's sleep takes no time, and a crash after every event changes nothing.

import { workflowBrand } from "./author/definition.ts";
import type { WorkflowFunction } from "./author/registry.ts";
import type { Runtime } from "./author/runtime.ts";
import type { Workflow } from "./author/workflow.ts";
import { VirtualClock } from "./base/clock.ts";
import { type Duration, parseDuration } from "./base/duration.ts";
import { WaymarkError } from "./base/failure.ts";
import { type Client, openClient } from "./client/client.ts";
import { compile } from "./client/direct.ts";
import { unwrap } from "./client/outcome.ts";
import { compileScript } from "./compile/compile.ts";
import type { HostConfig } from "./engine/config.ts";
import type { EngineEvent, Log } from "./engine/events.ts";
import { type Host, startHost } from "./engine/host.ts";
import { createMachine } from "./engine/realm.ts";
import { stillStore } from "./engine/still.ts";
import { type Call, Watched } from "./engine/watched.ts";
import { noStartOptions } from "./program/start.ts";
import { decodeValue, encodeValue } from "./program/value.ts";
import { openMemory } from "./store/memory.ts";
import type { Store } from "./store/store.ts";
import type { Activation } from "./vm/machine.ts";
import { inlinePool } from "./workers/inline.ts";

export type { Call } from "./engine/watched.ts";

export interface LogLine {
  level: "debug" | "info" | "warn" | "error";
  text: string;
}

export interface TestOptions {
  /** Drop all memory and recover from the store after each event. */
  crashAt?: "every-event";
}

export interface TestResult<Result> {
  result: Result;
  /** Every attempt, in the order they began. */
  calls: Call[];
  /** What the workflow wrote with `console`. */
  logs: LogLine[];
}

export interface ManualRun<Result> {
  clock: {
    /** Move time forward, letting everything that comes due happen on the way. */
    advance(duration: Duration): Promise<void>;
    /** Milliseconds since the epoch, as the workflow sees them. */
    now(): number;
  };
  /** Settles as `run()` would. */
  result: Promise<Result>;
  calls: Call[];
  logs: LogLine[];
}

/**
 * Run a workflow in memory.
 *
 *     const { result, calls } = await testRun(welcome, [["u1"]], { clock: "skip" });
 *
 * `skip` (the default): time jumps over every wait. Rejects as `run()` would: WorkflowFailed, WorkflowCancelled.
 * `manual`: resolves at once; time moves by `clock.advance("24h")`.
 */
export function testRun<Args extends readonly unknown[], Result>(
  workflow: Workflow<Args, Result>,
  args: Args,
  options: TestOptions & { clock: "manual" },
): Promise<ManualRun<Result>>;
export function testRun<Args extends readonly unknown[], Result>(
  workflow: Workflow<Args, Result>,
  args: Args,
  options?: TestOptions & { clock?: "skip" },
): Promise<TestResult<Result>>;
export async function testRun(
  workflow: Workflow<readonly unknown[], unknown>,
  args: readonly unknown[],
  options: TestOptions & { clock?: "skip" | "manual" } = {},
): Promise<TestResult<unknown> | ManualRun<unknown>> {
  const bench = new Bench(options.clock ?? "skip", options.crashAt === "every-event");
  const result = bench.run(declared(workflow), args);
  if (options.clock !== "manual") {
    const value = await result;
    return { result: value, calls: bench.calls, logs: bench.logs };
  }
  result.catch(() => {}); // whoever awaits it hears of it
  const advance = (duration: Duration) => bench.clock.advance(parseDuration(duration));
  return { clock: { advance, now: () => bench.clock.now() }, result, calls: bench.calls, logs: bench.logs };
}

/** A runtime for `.run()` and `.start()` where no database is configured, in a test runner: in memory, waits skipped. */
export function memoryRuntime(): Runtime {
  const clock = new VirtualClock({ mode: "skip" });
  const store = stillStore(
    openMemory(() => clock.now()),
    clock,
  );
  const pool = new Watched(inlinePool({ clock }), clock);
  const client = openClient({ store, compile });
  let host: Promise<Host> | undefined;
  const open = (): Promise<Host> => {
    host ??= startHost({ store, pool, clock, config: still, log: complain });
    return host;
  };
  return {
    async start(request) {
      await open();
      return client.start(request);
    },
    async run(request) {
      await open();
      return client.run(request);
    },
    async close() {
      await (await host)?.close({ graceMs: 0 });
      await client.close();
      clock.close();
    },
  };
}

/**
 * Run a script in the VM, with top-level await, and give the value of its last expression. Throws what it throws.
 * `roundtrip`: encode and decode the state before it is looked at, as a host does that moves an instance.
 */
export function evaluate(
  source: string,
  options: { roundtrip?: boolean; globals?: readonly string[] } = {},
): { value: unknown; logs: LogLine[] } {
  const { body, debug } = compileScript(source, options.globals === undefined ? {} : { globals: options.globals });
  const machine = createMachine();
  const program = machine.load(body, debug);
  let state = machine.create(program);
  if (options.roundtrip) state = machine.restore(program, machine.snapshot(state));
  const seed = new Uint8Array(16);
  const activation = machine.deliver(state, { kind: "start", at: 0, seed, input: encodeValue([]) });
  machine.drop(state);
  return { value: outcomeOf(activation), logs: activation.logs };
}

function outcomeOf({ fatal, outcome }: Activation): unknown {
  if (fatal !== null) throw new WaymarkError(fatal.code, fatal.message);
  if (outcome === null)
    throw new WaymarkError("WM432", "The script waits for something outside, and there is nothing outside.");
  const value = decodeValue(outcome.payload);
  if (outcome.kind !== "completed") throw value;
  return value;
}

/** In memory nobody else can take an instance, and nothing is missed: no period of a host has a purpose. */
const still: Partial<HostConfig> = {
  lockTtlMs: Number.POSITIVE_INFINITY,
  lockHeartbeatMs: Number.POSITIVE_INFINITY,
  pollIntervalMs: Number.POSITIVE_INFINITY,
  reclaimIntervalMs: Number.POSITIVE_INFINITY,
};

const complain: Log = {
  debug() {},
  info() {},
  warn: (fields, message) => console.warn(`waymark: ${message}`, fields),
  error: (fields, message) => console.error(`waymark: ${message}`, fields),
};

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** One run: a store, a clock, a pool that outlives crashes, and the host of the moment. */
class Bench {
  readonly clock: VirtualClock;
  readonly logs: LogLine[] = [];
  readonly #store: Store;
  readonly #pool: Watched;
  readonly #client: Client;
  readonly #crashing: boolean;
  readonly #end: Promise<unknown>;
  #resolve!: (value: unknown) => void;
  #reject!: (error: unknown) => void;
  #host: Host | null = null;
  #over = false;
  #check: (() => void) | null = null;

  constructor(mode: "skip" | "manual", crashing: boolean) {
    this.clock = new VirtualClock({ mode, stuck: () => this.#stuck() });
    this.#crashing = crashing;
    this.#end = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#end.catch(() => {}); // run() awaits it, perhaps later
    this.#store = stillStore(
      openMemory(() => this.clock.now()),
      this.clock,
    );
    this.#pool = new Watched(inlinePool({ clock: this.clock }), this.clock);
    this.#client = openClient({ store: this.#store, compile });
  }

  get calls(): Call[] {
    return this.#pool.calls;
  }

  async run(workflow: WorkflowFunction, args: readonly unknown[]): Promise<unknown> {
    const go = this.clock.hold();
    try {
      const definition = workflow[workflowBrand];
      const { errorClasses } = compile(workflow);
      const input = encodeValue(args, { what: `An argument of workflow "${definition.name}"` });
      const handle = await this.#client.start({ workflow, definition, input, options: noStartOptions });
      this.#check = () => {
        void this.#store.results([handle.id]).then(([row]) => {
          if (row === undefined || !ended.has(row.status)) return;
          try {
            this.#resolve(unwrap(row, errorClasses));
          } catch (error) {
            this.#reject(error);
          }
        });
      };
      await this.#open();
    } catch (error) {
      this.#reject(error);
    } finally {
      go();
    }
    try {
      return await this.#end;
    } finally {
      await this.#close();
    }
  }

  async #open(): Promise<void> {
    const one = this.#crashing ? { batchMax: 1 } : {};
    const onEvent = (event: EngineEvent) => this.#hear(event);
    this.#host = await startHost({
      store: this.#store,
      pool: this.#pool,
      clock: this.clock,
      config: still,
      log: quiet,
      onEvent,
      ...one,
    });
  }

  #hear(event: EngineEvent): void {
    switch (event.kind) {
      case "log":
        this.logs.push({ level: event.level, text: event.text });
        return;
      case "action-missing":
        this.#reject(
          new WaymarkError("WM430", `The action "${event.action}" is not declared in this process.`, {
            hint: "Import the module that declares it.",
          }),
        );
        return;
      case "committed":
        this.#check?.();
        if (this.#crashing && event.rows > 0) this.#crash();
        return;
      default:
        return;
    }
  }

  /** Everything in memory is gone; the pool stands for other processes, which do not notice. */
  #crash(): void {
    const host = this.#host;
    if (host === null || this.#over) return;
    const go = this.clock.hold();
    const leases = host.leases;
    this.#host = null;
    this.#pool.unheard(() => host.abandon());
    const again = async () => {
      for (const lease of leases) await this.#store.closeLease(lease);
      if (!this.#over) await this.#open();
    };
    again()
      .catch((error) => this.#reject(error))
      .finally(go);
  }

  #stuck(): void {
    this.#reject(
      new WaymarkError("WM431", "The workflow waits for something that nothing here will bring about.", {
        hint: "No action is running and no timer is set. Is it waiting for a promise of its own that nobody settles?",
      }),
    );
  }

  async #close(): Promise<void> {
    this.#over = true;
    this.#host?.abandon();
    this.clock.close();
    await this.#client.close();
  }
}

const ended: ReadonlySet<string> = new Set(["completed", "failed", "cancelled", "quarantined"]);

function declared(workflow: unknown): WorkflowFunction {
  if (typeof workflow === "function" && workflowBrand in workflow) return workflow as WorkflowFunction;
  throw new WaymarkError("WM433", "testRun() takes what workflow() returned.", {
    hint: 'Declare it: const wf = workflow("name", async () => { ... }).',
  });
}
