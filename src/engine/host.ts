// A host: the shards of one process, what they hear of the world, and the sweep for hosts that died. Opened and closed
// here; everything in between happens in shard.ts.

import { type Clock, systemClock } from "../base/clock.ts";
import type { Store } from "../store/store.ts";
import type { Machine } from "../vm/machine.ts";
import { checkLease, type HostConfig, hostDefaults } from "./config.ts";
import type { ActionPool } from "./dispatch.ts";
import { type EngineEvent, type Log, silent } from "./events.ts";
import { randomNumber } from "./lease.ts";
import { createMachine } from "./realm.ts";
import { Shard } from "./shard.ts";

export interface HostOptions {
  /** Belongs to the caller: the host does not close it. */
  store: Store;
  /** Belongs to the host from here on: closing the host closes it. */
  pool: ActionPool;
  clock?: Clock;
  /** Overrides `config.shards`. */
  shards?: number;
  config?: Partial<HostConfig>;
  log?: Log;
  onEvent?: (event: EngineEvent) => void;
  /** [0, 1): the jitter of retries. */
  random?: () => number;
  /** One for each shard. */
  machine?: () => Machine;
  /** Most journal rows in one commit; tests lower it. */
  batchMax?: number;
}

export interface Host {
  readonly id: bigint;
  /** Instances in memory now. */
  readonly instances: number;
  /** Leases held now, one a shard. */
  readonly leases: readonly bigint[];
  /** Actions that instances here wait for and no worker of this host has. */
  readonly missingActions: readonly string[];
  /**
   * Claim nothing more, give running attempts `graceMs` to end, write out what remains and let go of it, so that other
   * hosts go on at once. The pool is closed too.
   */
  close(options?: { graceMs?: number }): Promise<void>;
  /** Stop at once and tell nobody, as a crash would. For tests. */
  abandon(): void;
}

/** Resolves once the host can claim. Throws what the store throws, with nothing left open. */
export async function startHost(options: HostOptions): Promise<Host> {
  const { store, pool, clock = systemClock, log = silent } = options;
  const config: HostConfig = { ...hostDefaults, ...options.config };
  if (options.shards !== undefined) config.shards = options.shards;
  checkLease(config);
  const id = randomNumber();
  const emit = listener(options.onEvent, log);
  let shards: Shard[] = [];
  let hears = true;
  // Before the leases: the connection that listens also holds the lock that says this host is alive. It is on its way
  // while the machines are made.
  const hearing = store.listen(
    { host: id },
    (notice) => {
      if (notice.kind === "work") for (const shard of shards) shard.work();
      if (notice.kind === "mail") for (const shard of shards) shard.mail(notice.leases);
    },
    () => {
      hears = !hears;
      for (const shard of shards) shard.heard(hears);
    },
  );
  const silence = () =>
    hearing
      .then((listening) => listening.close())
      .catch((error) => log.warn({ err: error }, "The connection for notices did not close."));
  hearing.catch(() => {}); // awaited below

  pool.onReport((reports) => {
    for (const report of reports) {
      // Keys carry the number of the shard. One that carries none is late everywhere, and counted by the first.
      const shard = shards.length === 1 ? shards[0] : shards[Number(report.key.split(".")[1])];
      (shard ?? shards[0])?.report(report);
    }
    for (const shard of shards) shard.changed();
  });

  const sweep = new Sweep(store, clock, config, log, emit, () => {
    for (const shard of shards) shard.work();
  });
  try {
    shards = Array.from({ length: config.shards }, (_, index) => {
      const machine = (options.machine ?? createMachine)();
      const random = options.random ?? Math.random;
      const batchMax = options.batchMax === undefined ? {} : { batchMax: options.batchMax };
      return new Shard({ index, host: id, store, pool, machine, clock, random, config, log, emit, ...batchMax });
    });
    await hearing;
    for (const shard of shards) await shard.open();
  } catch (error) {
    for (const shard of shards) shard.abandon();
    await Promise.allSettled([silence(), pool.close(0)]);
    throw error;
  }
  sweep.start();

  let closing: Promise<void> | undefined;
  const close = async (graceMs: number) => {
    sweep.stop();
    for (const shard of shards) shard.stopDispatching();
    await pool.close(graceMs);
    await turn(); // the last reports
    await Promise.all(shards.map((shard) => shard.close()));
    await silence();
  };
  return {
    id,
    get instances() {
      return shards.reduce((sum, shard) => sum + shard.instances, 0);
    },
    get leases() {
      return shards.flatMap((shard) => shard.lease ?? []);
    },
    get missingActions() {
      return [...new Set(shards.flatMap((shard) => shard.missingActions))];
    },
    close: ({ graceMs = config.graceMs } = {}) => (closing ??= close(graceMs)),
    abandon() {
      sweep.stop();
      for (const shard of shards) shard.abandon();
      void silence(); // a crash waits for nothing
    },
  };
}

/** Looks for leases whose time is over or whose host died, and lets go of what they held. */
class Sweep {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #config: HostConfig;
  readonly #log: Log;
  readonly #emit: (event: EngineEvent) => void;
  readonly #freed: () => void;
  #disarm: () => void = () => {};
  #stopped = false;

  constructor(
    store: Store,
    clock: Clock,
    config: HostConfig,
    log: Log,
    emit: (event: EngineEvent) => void,
    freed: () => void,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#config = config;
    this.#log = log;
    this.#emit = emit;
    this.#freed = freed;
  }

  start(): void {
    void this.#round(); // reports its own failures
  }

  stop(): void {
    this.#stopped = true;
    this.#disarm();
  }

  async #round(): Promise<void> {
    let again = this.#config.reclaimIntervalMs;
    try {
      const { fenced, released } = await this.#store.reclaim(this.#config.reclaimBatchSize);
      if (this.#stopped) return;
      if (released >= this.#config.reclaimBatchSize) again = 0;
      if (fenced.length > 0 || released > 0) {
        this.#log.info({ leases: fenced.length, instances: released }, "Took instances from leases that are over.");
        this.#emit({ kind: "reclaimed", leases: fenced.length, instances: released });
        this.#freed();
        await this.#store.notify([{ kind: "work" }]);
      }
    } catch (error) {
      this.#log.warn({ err: error }, "The sweep for dead hosts failed; it comes again.");
    }
    if (!this.#stopped) this.#disarm = this.#clock.after(again, () => void this.#round());
  }
}

function listener(onEvent: ((event: EngineEvent) => void) | undefined, log: Log): (event: EngineEvent) => void {
  if (onEvent === undefined) return () => {};
  return (event) => {
    try {
      onEvent(event);
    } catch (error) {
      log.error({ err: error, event: event.kind }, "A listener of engine events threw.");
    }
  };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
