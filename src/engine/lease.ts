// One lease of one shard: opened under a random number that never comes back, renewed, and given up by ourselves a
// second before anybody else may take it. The deadline is anchored to before each request was sent: a slow answer must
// not lengthen the lease.

import { randomBytes } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import type { Store } from "../store/store.ts";
import { leaseMarginMs } from "./config.ts";

/** Between tries of a renewal that got no answer. */
const renewRetryMs = 500;

export class Lease {
  readonly id: bigint;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #heartbeatMs: number;
  readonly #lost: (reason: string) => void;
  #deadline: number;
  #over = false;
  #disarmRenewal: () => void = () => {};
  #disarmDeadline: () => void = () => {};

  /** `lost` is called once, when the lease may no longer be acted on. Throws what the store throws. */
  static async open(options: {
    store: Store;
    clock: Clock;
    host: bigint;
    info: string;
    ttlMs: number;
    heartbeatMs: number;
    lost: (reason: string) => void;
  }): Promise<Lease> {
    const { store, clock, host, info, ttlMs } = options;
    const id = randomNumber();
    const anchor = clock.monotonic();
    await store.openLease({ id, host, ttlMs, info });
    return new Lease(id, anchor, options);
  }

  private constructor(
    id: bigint,
    anchor: number,
    options: { store: Store; clock: Clock; ttlMs: number; heartbeatMs: number; lost: (reason: string) => void },
  ) {
    this.id = id;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#ttlMs = options.ttlMs;
    this.#heartbeatMs = options.heartbeatMs;
    this.#lost = options.lost;
    this.#deadline = anchor + this.#ttlMs - leaseMarginMs;
    this.#arm(this.#heartbeatMs);
  }

  /** Also true of a process that was stopped past its deadline and whose timers have not run yet. */
  get alive(): boolean {
    return !this.#over && this.#clock.monotonic() < this.#deadline;
  }

  /** No more renewals; `lost` will not be called. */
  end(): void {
    this.#over = true;
    this.#disarmRenewal();
    this.#disarmDeadline();
  }

  #arm(renewInMs: number): void {
    this.#disarmRenewal();
    this.#disarmDeadline();
    this.#disarmRenewal = this.#clock.after(renewInMs, () => void this.#renew()); // reports through `lost`
    this.#disarmDeadline = this.#clock.after(this.#deadline - this.#clock.monotonic(), () =>
      this.#lose("it could not be renewed in time"),
    );
  }

  async #renew(): Promise<void> {
    const anchor = this.#clock.monotonic();
    let renewed: bigint[];
    try {
      renewed = await this.#store.renew([this.id]);
    } catch {
      if (!this.#over) this.#arm(Math.min(renewRetryMs, this.#heartbeatMs)); // the deadline bounds this
      return;
    }
    if (this.#over) return;
    if (!renewed.includes(this.id)) return this.#lose("somebody fenced it");
    this.#deadline = anchor + this.#ttlMs - leaseMarginMs;
    this.#arm(this.#heartbeatMs);
  }

  #lose(reason: string): void {
    if (this.#over) return;
    this.end();
    this.#lost(reason);
  }
}

/** 63 random bits, never 0. A sequence of an unlogged table would begin again after a crash of the server. */
export function randomNumber(): bigint {
  return (randomBytes(8).readBigUInt64LE() & 0x7fff_ffff_ffff_ffffn) | 1n;
}
