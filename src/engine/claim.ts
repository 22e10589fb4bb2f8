// How instances come to a shard: claim, then load (two statements, always: one that did both could see the journal as
// it was before the claim), with their programs. One round at a time. After any error the store is asked what the lease
// holds, and what nobody here knows is adopted.

import { createHash } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { WaymarkError } from "../base/failure.ts";
import { programFormat } from "../program/program.ts";
import type { Claimed, Loaded, ProgramRow, Store } from "../store/store.ts";
import type { Machine } from "../vm/machine.ts";
import type { Log } from "./events.ts";

/** Most instances in one statement. */
const loadMax = 500;
/** A sleeper that is due but could not be claimed is locked by somebody: look again then. */
const dueAgainMs = 20;
const yieldingMs = 500;
const errorPauseMs = 250;

export interface LoadedProgram {
  handle: number;
  workflow: string;
}

/** What came: with its program, or with the reason why it can go no further. */
export interface Arrival {
  loaded: Loaded;
  rank: number;
  strikes: number;
  program: LoadedProgram | WaymarkError;
  /** `announced` of the shard when the load began. */
  announced: number;
}

export interface Claiming {
  store: Store;
  clock: Clock;
  machine: Machine;
  log: Log;
  /** Id of the lease to claim with, or null when there is none or nothing may be claimed. */
  lease(): bigint | null;
  /** Whether other hosts should get the first look at what comes due: they may have actions that this one lacks. */
  yields(): boolean;
  /** How many more instances the shard takes, and whether it has nothing else to do. */
  room(): number;
  idle(): boolean;
  capacity: number;
  /** Counts the notices of mail heard so far. */
  announced(): number;
  known(no: number): boolean;
  arrived(lease: bigint, arrivals: Arrival[]): void;
}

export class Claims {
  readonly #to: Claiming;
  readonly #programs = new Map<number, LoadedProgram | WaymarkError>();
  #hungry = true;
  #adopt = false;
  #lookForDue = true;
  #running = false;
  #pausing: (() => void) | null = null;
  #dueAt = Number.POSITIVE_INFINITY;
  #disarm: () => void = () => {};
  #stopped = false;

  constructor(to: Claiming) {
    this.#to = to;
  }

  /** There may be something to claim. */
  want(): void {
    this.#hungry = true;
    this.kick();
  }

  /** A sleeper will be due then. */
  dueBy(dueAt: number): void {
    if (dueAt >= this.#dueAt || this.#stopped) return;
    this.#dueAt = dueAt;
    this.#disarm();
    const yieldMs = this.#to.yields() ? yieldingMs : 0;
    this.#disarm = this.#to.clock.after(Math.max(0, dueAt - this.#to.clock.now()) + yieldMs, () => {
      this.#dueAt = Number.POSITIVE_INFINITY;
      this.#lookForDue = true;
      this.want();
    });
  }

  /** The lease may hold what nobody here knows of. */
  adopt(): void {
    this.#adopt = true;
    this.want();
  }

  /** Begin a round if there is a reason and room for one. */
  kick(): void {
    const { lease, room, idle, capacity } = this.#to;
    if (this.#stopped || this.#running || this.#pausing !== null || !(this.#hungry || this.#adopt) || lease() === null)
      return;
    const free = room();
    // Two statements for one instance are dear: while there is other work, wait until a handful fits.
    if (!this.#adopt && (free <= 0 || (free < capacity / 8 && !idle()))) return;
    this.#running = true;
    void this.#round(lease()!).then(() => {
      // never rejects
      this.#running = false;
      this.kick();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#disarm();
    this.#pausing?.();
  }

  async #round(lease: bigint): Promise<void> {
    const { store, clock, log } = this.#to;
    try {
      if (this.#adopt) {
        this.#adopt = false;
        const held = await store.held(lease);
        const unknown = held.filter(({ no }) => !this.#to.known(no));
        await this.#load(
          lease,
          unknown.map(({ no, epoch }) => ({ no, epoch, seq: 0, strikes: 0, rank: 0 })),
        );
      }
      const room = this.#to.room();
      if (room <= 0 || this.#stopped) return;
      this.#hungry = false;
      // Where others go first, what is due is left to the timer, which is late on purpose.
      const dueLimit = this.#to.yields() && !this.#lookForDue ? 0 : room;
      const claimed = await store.claim(lease, programFormat, dueLimit, room);
      if (claimed.length >= room) this.#hungry = true;
      await this.#load(lease, claimed);
      if (claimed.length === 0 || this.#lookForDue) {
        this.#lookForDue = false;
        const next = await store.nextDue(programFormat);
        if (next !== null) this.dueBy(Math.max(next, clock.now() + (next <= clock.now() ? dueAgainMs : 0)));
      }
    } catch (error) {
      log.warn({ err: error }, "Claiming failed; asking what this lease holds, then trying again.");
      this.#adopt = true;
      const cancel = clock.after(errorPauseMs, () => {
        this.#pausing = null;
        this.kick();
      });
      this.#pausing = () => {
        cancel();
        this.#pausing = null;
      };
    }
  }

  async #load(lease: bigint, claimed: Claimed[]): Promise<void> {
    for (let from = 0; from < claimed.length; from += loadMax) {
      const chunk = claimed.slice(from, from + loadMax);
      const claims = new Map(chunk.map((each) => [each.no, each]));
      const announced = this.#to.announced();
      const rows = await this.#to.store.load(lease, [...claims.keys()]);
      const arrivals: Arrival[] = [];
      for (const loaded of rows) {
        const { rank = 0, strikes = 0 } = claims.get(loaded.no) ?? {};
        arrivals.push({ loaded, rank, strikes, announced, program: await this.#program(loaded.program) });
      }
      this.#to.arrived(lease, arrivals);
    }
  }

  /** Loaded once; programs never change. A program that is refused stays refused. Throws what the store throws. */
  async #program(no: number): Promise<LoadedProgram | WaymarkError> {
    const known = this.#programs.get(no);
    if (known !== undefined) return known;
    const row = await this.#to.store.getProgram(no);
    const program = row === null ? gone(no) : this.#verified(row);
    this.#programs.set(no, program);
    return program;
  }

  #verified({ no, workflow, hash, body, debug }: ProgramRow): LoadedProgram | WaymarkError {
    if (!createHash("sha256").update(body).digest().equals(hash)) {
      return new WaymarkError(
        "WM423",
        `Program ${no} of workflow "${workflow}" is not what was stored: its hash does not match.`,
        {
          hint: "The row was changed or damaged. Restore it from a backup.",
        },
      );
    }
    try {
      return { handle: this.#to.machine.load(body, debug), workflow };
    } catch (error) {
      if (error instanceof WaymarkError) return error;
      return new WaymarkError("WM423", `The program of workflow "${workflow}" cannot be loaded: ${String(error)}`, {
        cause: error,
      });
    }
  }
}

function gone(no: number): WaymarkError {
  return new WaymarkError("WM423", `Program ${no} is not in the store, but an instance needs it.`, {
    hint: "Programs are never deleted by waymark. Restore the row from a backup.",
  });
}
