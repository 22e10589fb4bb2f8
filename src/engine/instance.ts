// One instance while a shard holds it: where its journal stands, what it waits for, and whether it may leave memory.
// The VM's state is the truth about pending effects; this keeps, beside each, how far the world has got with it.

import type { Loaded } from "../store/store.ts";
import type { Activation, Effect } from "../vm/machine.ts";

/**
 * held      the event that caused it is not durable yet: nobody outside may hear of it
 * ready     an attempt may start, and waits for a slot
 * running   an attempt is with the pool, under `key`
 * parked    no worker of this host has the action
 * waiting   until `dueAt`: a timer, or the pause before another attempt
 * starting  a child whose instance is being made
 * child     a child that is under way
 */
export type Stage = "held" | "ready" | "running" | "parked" | "waiting" | "starting" | "child";

export interface Pending {
  effect: Effect;
  stage: Stage;
  /** Of the attempt that comes or runs, from 1; 0 where there are none. */
  attempt: number;
  dueAt: number | null;
  key: string | null;
  child: number | null;
}

/** Stages that need this process: an instance with one of them stays. */
const active: Readonly<Record<Stage, boolean>> = {
  held: true,
  ready: true,
  running: true,
  parked: false,
  waiting: false,
  starting: true,
  child: false,
};

export class Instance {
  readonly no: number;
  readonly id: string;
  readonly epoch: number;
  readonly rank: number;
  readonly program: number;
  readonly workflow: string;
  readonly seed: Uint8Array;
  readonly parent: { instance: number; effect: number } | null;
  /** Handle of the VM's state. */
  readonly state: number;
  readonly effects = new Map<number, Pending>();
  /** Number of the last event staged for the journal. */
  seq: number;
  mail: number;
  /** Inbox rows taken, and the reading in which they cannot appear any more. */
  readonly taken = new Map<number, number>();
  lastAt: number;
  snapshotSeq: number;
  snapshotBytes: number;
  tailEvents = 0;
  tailBytes = 0;
  outcome: Activation["outcome"] = null;
  /** Why it cannot go on, once that is so. */
  fault: string | null = null;
  leaving: "evict" | "finish" | "quarantine" | null = null;
  /** Nothing of it may be used any more: it left, or was never ours. */
  gone = false;
  /** Since when it only waits, or null. */
  restingSince: number | null = null;
  #active = 0;
  #soon: Pending | null = null;

  constructor(loaded: Loaded, rank: number, workflow: string, program: number, state: number) {
    this.no = loaded.no;
    this.id = loaded.id;
    this.epoch = loaded.epoch;
    this.rank = rank;
    this.program = program;
    this.workflow = workflow;
    this.seed = loaded.seed;
    this.parent = loaded.parent;
    this.state = state;
    this.mail = loaded.mail;
    this.seq = this.snapshotSeq = loaded.snapshot?.seq ?? 0;
    this.snapshotBytes = loaded.snapshot?.body.length ?? 0;
    this.lastAt = 0;
  }

  add(effect: Effect): Pending {
    const attempt = effect.kind === "action" ? Math.max(1, effect.attempt) : 0;
    const dueAt = effect.kind === "child" ? null : effect.dueAt;
    // A timer needs nobody: it may be counted as waiting before it is armed, so that a long one can leave at once.
    const stage = effect.kind === "timer" ? "waiting" : "held";
    const pending: Pending = { effect, stage, attempt, dueAt, key: null, child: null };
    this.effects.set(effect.no, pending);
    if (active[stage]) this.#active++;
    return pending;
  }

  move(pending: Pending, stage: Stage): void {
    this.#active += Number(active[stage]) - Number(active[pending.stage]);
    pending.stage = stage;
  }

  remove(no: number): Pending | undefined {
    const pending = this.effects.get(no);
    if (pending === undefined) return undefined;
    this.effects.delete(no);
    if (active[pending.stage]) this.#active--;
    return pending;
  }

  current(pending: Pending): boolean {
    return !this.gone && this.effects.get(pending.effect.no) === pending;
  }

  get busy(): boolean {
    return this.#active > 0;
  }

  /**
   * What it waits for, if nothing else than waiting is left: when the earliest wait is over (null: only mail can wake it),
   * and whether mail may come soon. Null while it is busy or something is due within `thresholdMs`.
   */
  resting(
    nowMs: number,
    thresholdMs: number,
    missingRetryMs: number,
  ): { due: number | null; expectsMail: boolean } | null {
    if (this.#active > 0) return null;
    const soon = this.#soon;
    // Looked at first, so that a thousand short sleeps are not walked through at each event.
    if (soon !== null && this.current(soon) && soon.stage === "waiting" && soon.dueAt! - nowMs <= thresholdMs)
      return null;
    let due: number | null = null;
    let expectsMail = true;
    for (const pending of this.effects.values()) {
      if (pending.stage === "child") continue;
      const at = pending.stage === "parked" ? nowMs + missingRetryMs : pending.dueAt!;
      if (pending.stage === "waiting" && at - nowMs <= thresholdMs) {
        this.#soon = pending;
        return null;
      }
      if (due === null || at < due) due = at;
    }
    if (due !== null)
      expectsMail = [...this.effects.values()].some(({ stage }) => stage === "child" || stage === "parked");
    return { due, expectsMail };
  }
}
