// biome-ignore-all lint/correctness/noVoidTypeReturn: `return this.step(...)` ends a case where it is decided.
// A shard: one event loop that owns instances under one lease. Events come in, the VM moves, and what that puts into the
// journal gathers in one batch while the previous batch is on its way: the next commit takes whatever became ready
// meanwhile, over all instances. No timer and no sleep decides when to commit.
//
// The order that everything rests on: nothing an event caused (an attempt, a timer, a child, mail) leaves this process
// before the commit with that event has answered, and nothing of an instance that the answer calls lost ever does.
// Nothing is shared between shards, so that one can move to a thread of its own.

import { unreachable } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { WaymarkError } from "../base/failure.ts";
import { programFormat } from "../program/program.ts";
import { eventKind, type MailRow, resultStatus, type Store } from "../store/store.ts";
import type { Activation, Machine, VmEvent } from "../vm/machine.ts";
import { Attempts, named } from "./attempts.ts";
import { type Began, Children, startedValue } from "./children.ts";
import { type Arrival, Claims } from "./claim.ts";
import { type Answer, commit, emptyCommit } from "./commit.ts";
import type { HostConfig } from "./config.ts";
import type { ActionPool, Report } from "./dispatch.ts";
import type { EngineEvent, Log } from "./events.ts";
import { Instance, type Pending } from "./instance.ts";
import { decodeEvent, encodeEvent } from "./journal.ts";
import { Lease } from "./lease.ts";
import { judge, policyOf } from "./retry.ts";
import { Timers } from "./timers.ts";

/** Most journal rows and bytes in one commit; what is over waits in the queue of events for the next. */
const batchRowsMax = 1_000;
/** With this many rows and nobody to wait for, the store may begin while the VM goes on with the rest of the turn. */
const earlyRows = 128;
const batchBytesMax = 8 * 1024 * 1024;
/**
 * A snapshot is due when the tail that a recovery would deliver again has grown past these: enough events and, so that
 * a large state is not written out every thousand steps, a fair part of the last snapshot's size; or many times that size.
 * Either way the bytes of snapshots stay in proportion to the bytes of the journal, however long an instance lives.
 * 4,096 events are delivered again in some 50 ms. At 1,024 a fan-out of 2,000 wrote one snapshot of all its open branches
 * in the middle, which cost more than its journal.
 */
const tailEventsMax = 4_096;
const tailBytesMax = 256 * 1024;
const tailPerSnapshot = 4;
/** What a journal row weighs besides its payload. */
const rowBytes = 64;
/** An instance whose action no worker here has is offered to other hosts after the eviction threshold, and looked at again then. */
const missingRetryMs = 10_000;
/** Hosts that died one after another while holding an instance that never came to rest in between. */
const strikesMax = 25;
const openRetryMs = 1_000;
/** A queue read that nothing announced, where notices are heard; `pollIntervalMs` where they are not. */
const quietPollMs = 1_000;

export interface ShardOptions {
  index: number;
  host: bigint;
  store: Store;
  pool: ActionPool;
  machine: Machine;
  clock: Clock;
  random: () => number;
  config: HostConfig;
  log: Log;
  emit: (event: EngineEvent) => void;
  /** Most journal rows in one commit. Tests that crash after every event set 1. */
  batchMax?: number;
}

type ShardEvent =
  | { kind: "arrived"; lease: bigint; arrival: Arrival }
  | { kind: "reported"; report: Report }
  | { kind: "due" }
  | { kind: "mailed"; lease: bigint; reading: number; no: number; mail: number; rows: MailRow[] }
  | { kind: "began"; began: Began }
  | { kind: "answered"; lease: bigint; batch: Batch; answer: Answer | null; ms: number }
  | { kind: "lost"; lease: bigint; reason: string };

/** What gathers for the next commit, and what may happen once it is durable. */
class Batch {
  readonly commit = emptyCommit();
  readonly touched = new Set<Instance>();
  /** Caused by events of this batch: let go when it is durable, never before. */
  readonly effects: { instance: Instance; pending: Pending }[] = [];
  readonly cancelled: string[] = [];
  readonly notes: EngineEvent[] = [];
  readonly leavers: Instance[] = [];
  bytes = 0;

  get empty(): boolean {
    const { journal, snapshots, read, mail, leave } = this.commit;
    return journal.length + snapshots.length + read.length + mail.length + leave.length === 0;
  }
}

export class Shard {
  readonly #options: ShardOptions;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #machine: Machine;
  readonly #log: Log;
  readonly #emit: (event: EngineEvent) => void;
  readonly #capacity: number;
  readonly #batchMax: number;
  readonly #attempts: Attempts;
  readonly #children: Children;
  readonly #claims: Claims;
  readonly #timers: Timers<{ instance: Instance; pending: Pending | null }>;
  readonly #instances = new Map<number, Instance>();
  /** Instances that wait for mail and stay a while in case it comes, longest first. */
  readonly #resting = new Set<Instance>();
  #events: ShardEvent[] = [];
  #next = 0;
  readonly #urgent: ShardEvent[] = [];
  #scheduled = false;
  #lease: Lease | null = null;
  #batch = new Batch();
  #committing = false;
  #reading = 0;
  #readingMail = false;
  readonly #mailWanted = new Set<number>();
  /** Mail announced while instances were on their way here. */
  #announced = 0;
  #state: "running" | "closing" | "stopped" = "running";
  #pushed = true;
  #disarmPoll: () => void = () => {};
  #emptied: (() => void) | null = null;

  constructor(options: ShardOptions) {
    const { store, clock, config, index, host, pool, machine, log } = options;
    this.#options = options;
    this.#store = store;
    this.#clock = clock;
    this.#machine = machine;
    this.#log = log;
    this.#emit = options.emit;
    this.#capacity = Math.max(1, Math.ceil(config.maxConcurrentInstances / config.shards));
    this.#batchMax = options.batchMax ?? batchRowsMax;
    this.#attempts = new Attempts(pool, `${host.toString(36)}.${index}.`, options.emit, log, (instance) => {
      this.#batch.touched.add(instance); // it may only wait now
      this.#schedule();
    });
    this.#children = new Children(store, clock, (results) => {
      for (const began of results) this.#post({ kind: "began", began });
    });
    this.#timers = new Timers(clock, () => this.#post({ kind: "due" }));
    this.#claims = new Claims({
      store,
      clock,
      machine,
      log,
      capacity: this.#capacity,
      lease: () => (this.#state === "running" && this.#lease?.alive ? this.#lease.id : null),
      yields: () => this.#attempts.lacking,
      room: () => this.#capacity - (this.#instances.size - this.#resting.size),
      idle: () => !this.#committing && this.#next === this.#events.length,
      announced: () => this.#announced,
      known: (no) => this.#instances.has(no),
      arrived: (lease, arrivals) => {
        for (const arrival of arrivals) this.#post({ kind: "arrived", lease, arrival });
      },
    });
  }

  get instances(): number {
    return this.#instances.size;
  }

  get lease(): bigint | null {
    return this.#lease?.id ?? null;
  }

  get missingActions(): string[] {
    return this.#attempts.missingActions;
  }

  async open(): Promise<void> {
    await this.#open();
    this.#poll();
    this.#claims.want();
  }

  /** Something can be claimed. */
  work(): void {
    this.#claims.want();
  }

  /** Notices: heard again, or not heard for now. Either way something may have been missed. */
  heard(pushed: boolean): void {
    this.#pushed = pushed;
    this.#poll();
    this.#wantMail(this.#instances.keys());
    this.#claims.want();
  }

  /** Instances of these leases got mail. */
  mail(leases: readonly bigint[]): void {
    if (this.#lease === null || !leases.includes(this.#lease.id)) return;
    this.#announced++;
    this.#wantMail(this.#instances.keys());
  }

  report(report: Report): void {
    this.#post({ kind: "reported", report });
  }

  /** Slots or actions of the pool changed. */
  changed(): void {
    if (this.#lease?.alive) this.#attempts.changed();
  }

  /** Claim and dispatch nothing more. Attempts that run may still report. */
  stopDispatching(): void {
    if (this.#state !== "running") return;
    this.#state = "closing";
    this.#claims.stop();
    this.#attempts.stop();
    this.#disarmPoll();
  }

  /** Write out what remains, let go of it so that others can go on at once, and end the lease. */
  async close(): Promise<void> {
    this.stopDispatching();
    const lease = this.#lease;
    if (lease !== null && this.#instances.size > 0) {
      const emptied = new Promise<void>((resolve) => {
        this.#emptied = resolve;
      });
      for (const instance of this.#instances.values()) {
        this.#attempts.forget(instance);
        this.#batch.touched.add(instance);
      }
      this.#schedule();
      await emptied;
    }
    this.#stop();
    if (lease === null) return;
    try {
      await this.#store.closeLease(lease.id);
    } catch (error) {
      this.#log.warn({ err: error }, "The lease could not be closed; others take over when it ends.");
    }
  }

  /** Forget everything without a word to anybody, as a crash would. */
  abandon(): void {
    this.#stop();
  }

  #stop(): void {
    this.#state = "stopped";
    this.#claims.stop();
    this.#attempts.stop();
    this.#disarmPoll();
    this.#forget();
  }

  // -- the loop

  #post(event: ShardEvent): void {
    if (this.#state === "stopped") return;
    // Answers overtake: they are what makes room in a full batch.
    if (event.kind === "answered" || event.kind === "lost") this.#urgent.push(event);
    else this.#events.push(event);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // A turn of Node's loop: everything that arrived by the same poll is one batch.
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#stopped) this.#turn();
    });
  }

  #turn(): void {
    // A process that was stopped may wake past its deadline, before its timers have run.
    if (this.#lease !== null && !this.#lease.alive) this.#lose(this.#lease.id, "it could not be renewed in time");
    for (;;) {
      for (let event = this.#take(); event !== undefined; event = this.#take()) {
        this.#handle(event);
        if (this.#stopped) return;
        if (!this.#committing && this.#batch.commit.journal.length >= earlyRows) this.#send();
      }
      if (this.#next === this.#events.length) {
        this.#events = [];
        this.#next = 0;
      }
      if (this.#committing || !this.#send()) break;
    }
    this.#attempts.pump();
    this.#children.flush();
    this.#claims.kick();
    this.#readMail();
    if (this.#instances.size === 0 && !this.#committing) this.#emptied?.();
  }

  /** The next event that may be handled now. */
  #take(): ShardEvent | undefined {
    const urgent = this.#urgent.shift();
    if (urgent !== undefined) return urgent;
    const full = this.#batch.commit.journal.length >= this.#batchMax || this.#batch.bytes >= batchBytesMax;
    return full || this.#next === this.#events.length ? undefined : this.#events[this.#next++];
  }

  /** A listener of ours may abandon us at any of its calls. */
  get #stopped(): boolean {
    return this.#state === "stopped";
  }

  #handle(event: ShardEvent): void {
    switch (event.kind) {
      case "arrived":
        if (event.lease === this.#lease?.id) this.#arrive(event.arrival);
        return;
      case "reported":
        return this.#report(event.report);
      case "due":
        return this.#due();
      case "mailed":
        if (event.lease === this.#lease?.id) this.#mailed(event.no, event.mail, event.rows, event.reading);
        return;
      case "began":
        return this.#began(event.began);
      case "answered":
        if (event.lease !== this.#lease?.id) return; // of a lease long gone
        this.#committing = false;
        if (event.answer === null)
          return this.#lose(event.lease, this.#lease.alive ? "somebody fenced it" : "it could not be renewed in time");
        return this.#durable(event.batch, event.answer, event.ms);
      case "lost":
        return this.#lose(event.lease, event.reason);
      default:
        return unreachable(event);
    }
  }

  // -- an instance arrives

  #arrive({ loaded, rank, strikes, program, announced }: Arrival): void {
    if (this.#instances.has(loaded.no)) return;
    // Mail announced since the load began was for an instance nobody here knew yet.
    if (announced !== this.#announced) this.#mailWanted.add(loaded.no);
    if (program instanceof WaymarkError) {
      return this.#fault(this.#hold(new Instance(loaded, rank, "", -1, -1)), `${program.code} ${program.message}`);
    }
    let state: number;
    const { snapshot } = loaded;
    try {
      state =
        snapshot === null ? this.#machine.create(program.handle) : this.#machine.restore(program.handle, snapshot.body);
    } catch (error) {
      return this.#fault(this.#hold(new Instance(loaded, rank, program.workflow, -1, -1)), reasonOf(error));
    }
    const instance = this.#hold(new Instance(loaded, rank, program.workflow, program.handle, state));
    if (strikes >= strikesMax) {
      return this.#fault(
        instance,
        `${strikes} hosts in a row ended while they held it, and it never came to rest in between`,
      );
    }
    this.#guarded(instance, () => {
      const start = { seed: loaded.seed, input: loaded.input };
      for (const row of loaded.tail) this.#again(instance, decodeEvent(row, start), row.seq, row.payload?.length ?? 0);
      if (instance.seq === 0) {
        if (loaded.input === null) throw new WaymarkError("WM424", "its input is gone and there is no snapshot");
        this.#batch.notes.push({ kind: "instance-started", instance: instance.id, workflow: instance.workflow });
        this.#advance(instance, { kind: "start", at: this.#at(instance), seed: loaded.seed, input: loaded.input });
      } else {
        this.#emit({
          kind: "instance-recovered",
          instance: instance.id,
          workflow: instance.workflow,
          fromSnapshot: snapshot !== null,
          events: loaded.tail.length,
        });
        const pending = this.#machine.pending(state).map((effect) => instance.add(effect));
        this.#receiveAll(instance, loaded.inbox);
        // Their causes are in the journal already: they need no commit of ours.
        for (const each of pending) if (instance.current(each)) this.#let(instance, each);
        return;
      }
      this.#receiveAll(instance, loaded.inbox);
    });
  }

  #hold(instance: Instance): Instance {
    this.#instances.set(instance.no, instance);
    this.#batch.touched.add(instance);
    return instance;
  }

  /** Deliver what is in the journal already: the VM gets to where it was, and the world hears nothing. */
  #again(instance: Instance, event: VmEvent, seq: number, payloadBytes: number): void {
    instance.seq = seq;
    instance.lastAt = Math.max(instance.lastAt, event.at);
    instance.tailEvents++;
    instance.tailBytes += rowBytes + payloadBytes;
    if (instance.outcome !== null) return;
    const { outcome, fatal } = this.#machine.deliver(instance.state, event);
    instance.outcome = outcome;
    if (fatal !== null) throw new WaymarkError(fatal.code, fatal.message);
  }

  // -- the world answers

  #report(report: Report): void {
    const attempt = this.#attempts.settle(report);
    if (attempt === null)
      return this.#emit({ kind: "dropped", instance: null, effect: null, why: "the attempt was over" });
    const { instance, pending } = attempt;
    const { effect } = pending;
    if (effect.kind !== "action") return;
    if (report.kind === "missing") return this.#attempts.missing(attempt, report.action);
    this.#guarded(instance, () => {
      const at = this.#at(instance);
      const name = named(attempt);
      if (report.kind === "done") {
        this.#batch.notes.push({ kind: "attempt-done", value: report.value, ...name });
        instance.remove(effect.no);
        return this.#advance(instance, {
          kind: "done",
          at,
          effect: effect.no,
          attempt: pending.attempt,
          value: report.value,
        });
      }
      const verdict = judge(report, effect.name, pending.attempt, policyOf(effect.policy), at, this.#options.random);
      const { error } = verdict;
      const retryAt = verdict.kind === "retry" ? verdict.dueAt : null;
      this.#batch.notes.push({ kind: "attempt-failed", why: report.kind, error, retryAt, ...name });
      if (verdict.kind === "failed") {
        instance.remove(effect.no);
        return this.#advance(instance, { kind: "failed", at, effect: effect.no, attempt: pending.attempt, error });
      }
      const failed = pending.attempt;
      instance.move(pending, "waiting");
      pending.attempt = failed + 1;
      pending.dueAt = verdict.dueAt;
      this.#batch.effects.push({ instance, pending });
      this.#advance(instance, { kind: "retry", at, effect: effect.no, attempt: failed, dueAt: verdict.dueAt, error });
    });
  }

  #due(): void {
    for (let entry = this.#timers.take(); entry !== undefined; entry = this.#timers.take()) {
      const { instance, pending } = entry;
      if (instance.gone) continue;
      if (pending === null) {
        this.#rested(instance);
        continue;
      }
      if (!instance.current(pending) || pending.stage !== "waiting" || instance.leaving !== null) continue;
      if (pending.effect.kind === "action") {
        this.#attempts.add(instance, pending);
        continue;
      }
      const { no } = pending.effect;
      this.#guarded(instance, () => {
        instance.remove(no);
        this.#batch.notes.push({ kind: "timer-fired", instance: instance.id, workflow: instance.workflow, effect: no });
        this.#advance(instance, { kind: "fired", at: this.#at(instance), effect: no });
      });
    }
  }

  #began(began: Began): void {
    const { instance, pending } = began.child;
    if (!instance.current(pending)) return;
    const { effect } = pending;
    if (began.kind === "began") {
      this.#emit({
        kind: "child-started",
        instance: instance.id,
        workflow: instance.workflow,
        effect: effect.no,
        child: began.id,
      });
      this.#claims.want();
      this.#tell([{ kind: "work" }]);
    }
    this.#guarded(instance, () => {
      const at = this.#at(instance);
      if (began.kind === "refused") {
        instance.remove(effect.no);
        return this.#advance(instance, { kind: "failed", at, effect: effect.no, attempt: 1, error: began.error });
      }
      pending.child = began.no;
      if (effect.kind === "child" && effect.wait) {
        instance.move(pending, "child");
        this.#batch.touched.add(instance);
        return;
      }
      instance.remove(effect.no);
      this.#advance(instance, { kind: "done", at, effect: effect.no, attempt: 1, value: startedValue(began.id) });
    });
  }

  #mailed(no: number, mail: number, rows: MailRow[], reading: number): void {
    const instance = this.#instances.get(no);
    if (instance === undefined) return;
    for (const [id, over] of instance.taken) if (over < reading) instance.taken.delete(id);
    // While it is leaving nothing may move; if it comes back because of this mail, the mail is read again.
    if (instance.leaving !== null) return;
    this.#guarded(instance, () => {
      instance.mail = mail;
      this.#receiveAll(instance, rows);
      this.#batch.touched.add(instance);
    });
  }

  /** Inbox rows become events. What settles nothing any more is read and dropped. */
  #receiveAll(instance: Instance, rows: readonly MailRow[]): void {
    for (const row of rows) {
      if (instance.taken.has(row.id)) continue;
      instance.taken.set(row.id, Number.POSITIVE_INFINITY);
      this.#batch.commit.read.push({ no: instance.no, id: row.id });
      this.#batch.touched.add(instance);
      const why = this.#receive(instance, row);
      if (why !== null)
        this.#batch.notes.push({ kind: "dropped", instance: instance.id, effect: row.effect || null, why });
    }
  }

  /** Null, or why the mail means nothing. */
  #receive(instance: Instance, row: MailRow): string | null {
    const at = this.#at(instance);
    const { effect, attempt, payload } = row;
    switch (row.kind) {
      case eventKind.done:
      case eventKind.failed: {
        const pending = instance.effects.get(effect);
        if (pending?.effect.kind !== "child") return "the effect is settled, or was never pending";
        if (payload === null) return "an outcome without a value";
        instance.remove(effect);
        const event: VmEvent =
          row.kind === eventKind.done
            ? { kind: "done", at, effect, attempt, value: payload }
            : { kind: "failed", at, effect, attempt, error: payload };
        this.#advance(instance, event);
        return null;
      }
      case eventKind.cancel:
        this.#advance(instance, { kind: "cancel", at, reason: payload });
        return null;
      default:
        this.#log.warn(
          { instance: instance.id, kind: row.kind },
          "Mail of a kind that this host does not know was dropped.",
        );
        return `mail of the unknown kind ${row.kind}`;
    }
  }

  // -- the VM moves

  #advance(instance: Instance, event: VmEvent): void {
    const batch = this.#batch;
    const row = encodeEvent(event, ++instance.seq);
    const weight = rowBytes + (row.payload?.length ?? 0);
    batch.commit.journal.push({ ...row, no: instance.no, epoch: instance.epoch });
    batch.touched.add(instance);
    batch.bytes += weight;
    instance.tailEvents++;
    instance.tailBytes += weight;
    instance.lastAt = event.at;
    this.#wake(instance);
    // What comes after the end is recorded and changes nothing.
    if (instance.outcome !== null || instance.fault !== null) return;
    this.#apply(instance, this.#machine.deliver(instance.state, event), event.kind === "cancel");
  }

  #apply(instance: Instance, activation: Activation, cancelled: boolean): void {
    const batch = this.#batch;
    for (const { level, text } of activation.logs) {
      batch.notes.push({ kind: "log", instance: instance.id, workflow: instance.workflow, level, text });
    }
    for (const effect of activation.effects) batch.effects.push({ instance, pending: instance.add(effect) });
    for (const no of activation.dropped) {
      const pending = instance.remove(no);
      if (pending === undefined) continue;
      if (pending.key !== null) batch.cancelled.push(pending.key);
      if (pending.child !== null && cancelled) {
        const { no: sender, epoch } = instance;
        batch.commit.mail.push({
          sender,
          epoch,
          no: pending.child,
          effect: 0,
          kind: eventKind.cancel,
          attempt: 0,
          payload: null,
        });
      }
    }
    instance.outcome = activation.outcome;
    if (activation.fatal !== null) this.#fault(instance, `${activation.fatal.code} ${activation.fatal.message}`);
  }

  #fault(instance: Instance, reason: string): void {
    instance.fault ??= reason;
    this.#batch.touched.add(instance);
  }

  /** Nothing that goes wrong with one instance may reach the others. */
  #guarded(instance: Instance, step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#log.error({ err: error, instance: instance.id, workflow: instance.workflow }, "An instance cannot go on.");
      this.#fault(instance, reasonOf(error));
    }
  }

  #at(instance: Instance): number {
    return Math.max(instance.lastAt, this.#clock.now());
  }

  // -- commit

  /** Send the batch. False if there is nothing to send, or nobody to send it for. */
  #send(): boolean {
    const batch = this.#batch;
    const lease = this.#lease;
    if (lease === null || (batch.touched.size === 0 && batch.empty)) return false;
    for (const instance of batch.touched) this.#decide(instance, batch);
    this.#press(batch);
    this.#batch = new Batch();
    if (batch.empty) return false;
    this.#committing = true;
    const startedAt = this.#clock.monotonic();
    const failed = (error: unknown) => this.#log.warn({ err: error }, "A commit got no answer; sending it again.");
    void commit(this.#store, lease.id, batch.commit, this.#clock, () => lease.alive, failed).then((answer) =>
      this.#post({ kind: "answered", lease: lease.id, batch, answer, ms: this.#clock.monotonic() - startedAt }),
    ); // never rejects
    return true;
  }

  /** What becomes of a touched instance with this commit. */
  #decide(instance: Instance, batch: Batch): void {
    if (instance.gone || instance.leaving !== null) return;
    if (instance.fault !== null) return this.#quarantine(instance, batch, instance.fault);
    try {
      if (instance.outcome !== null) return this.#finish(instance, batch);
      if (this.#state === "closing" && this.#emptied !== null)
        return this.#evict(instance, batch, dueNow(instance, this.#clock.now()));
      const rest = this.#rest(instance);
      if (rest !== null) return this.#evict(instance, batch, rest.due);
      if (outgrown(instance)) this.#snapshot(instance, batch);
    } catch (error) {
      this.#log.error({ err: error, instance: instance.id }, "An instance cannot be written out.");
      this.#quarantine(instance, batch, reasonOf(error));
    }
  }

  /** Whether to leave memory now; what only waits for mail stays for as long as a short sleep would. */
  #rest(instance: Instance): { due: number | null } | null {
    const now = this.#clock.now();
    const thresholdMs = this.#options.config.evictSleepThresholdMs;
    const rest = instance.resting(now, thresholdMs, missingRetryMs);
    if (rest === null) return null;
    if (!rest.expectsMail) return rest;
    if (instance.restingSince === null) {
      instance.restingSince = now;
      this.#resting.add(instance);
      if (thresholdMs > 0) this.#timers.add(now + thresholdMs, { instance, pending: null });
    }
    return now - instance.restingSince >= thresholdMs ? rest : null;
  }

  #rested(instance: Instance): void {
    if (instance.restingSince === null || instance.leaving !== null) return;
    if (this.#clock.now() - instance.restingSince >= this.#options.config.evictSleepThresholdMs)
      this.#batch.touched.add(instance);
  }

  #wake(instance: Instance): void {
    if (instance.restingSince === null) return;
    instance.restingSince = null;
    this.#resting.delete(instance);
  }

  /** More instances than there is room for: those that only wait go first, the longest waiting before the others. */
  #press(batch: Batch): void {
    for (const instance of this.#resting) {
      if (this.#instances.size - batch.leavers.length <= this.#capacity) return;
      if (instance.leaving !== null || instance.fault !== null) continue;
      const rest = instance.resting(this.#clock.now(), this.#options.config.evictSleepThresholdMs, missingRetryMs);
      if (rest !== null) this.#evict(instance, batch, rest.due);
    }
  }

  #finish(instance: Instance, batch: Batch): void {
    const { no, epoch, mail, parent } = instance;
    const { kind, payload } = instance.outcome!;
    this.#leave(instance, batch, "finish");
    batch.commit.leave.push({ no, epoch, mail, what: "finish", status: resultStatus[kind], outcome: payload });
    if (parent === null) return;
    const told = kind === "completed" ? eventKind.done : eventKind.failed;
    batch.commit.mail.push({
      sender: no,
      epoch,
      no: parent.instance,
      effect: parent.effect,
      kind: told,
      attempt: 1,
      payload,
    });
  }

  #evict(instance: Instance, batch: Batch, due: number | null): void {
    const { no, epoch, mail } = instance;
    if (instance.snapshotSeq !== instance.seq) this.#snapshot(instance, batch);
    this.#leave(instance, batch, "evict");
    batch.commit.leave.push({ no, epoch, mail, what: "evict", due, seq: instance.seq });
  }

  #quarantine(instance: Instance, batch: Batch, reason: string): void {
    const { no, epoch, mail, snapshotSeq } = instance;
    instance.fault = reason;
    this.#leave(instance, batch, "quarantine");
    batch.commit.leave.push({ no, epoch, mail, what: "quarantine", reason, seq: snapshotSeq });
  }

  #leave(instance: Instance, batch: Batch, what: "evict" | "finish" | "quarantine"): void {
    instance.leaving = what;
    batch.leavers.push(instance);
  }

  #snapshot(instance: Instance, batch: Batch): void {
    const body = this.#machine.snapshot(instance.state);
    batch.commit.snapshots.push({ no: instance.no, seq: instance.seq, format: programFormat, body });
    batch.bytes += body.length;
    instance.snapshotSeq = instance.seq;
    instance.snapshotBytes = body.length;
    instance.tailEvents = 0;
    instance.tailBytes = 0;
  }

  // -- durable

  #durable(batch: Batch, { committed, refused }: Answer, ms: number): void {
    for (const no of committed.lost) this.#drop(no);
    for (const [no, error] of refused) this.#refuse(no, error);
    this.#confirm(batch);
    for (const note of batch.notes) this.#emit(note);
    this.#emit({
      kind: "committed",
      shard: this.#options.index,
      rows: batch.commit.journal.length,
      instances: batch.touched.size,
      snapshots: batch.commit.snapshots.length,
      bytes: batch.bytes,
      ms,
    });
    if (this.#stopped) return; // whoever listened has abandoned us
    const left = new Set(committed.left);
    for (const instance of batch.leavers) {
      if (left.has(instance.no)) this.#left(instance, batch);
      else if (!instance.gone) this.#stay(instance);
    }
    this.#attempts.cancel(batch.cancelled);
    for (const { instance, pending } of batch.effects) {
      if (instance.current(pending)) this.#let(instance, pending);
    }
    this.#inform(batch, committed);
  }

  /** Let an effect out into the world: what caused it is durable. */
  #let(instance: Instance, pending: Pending): void {
    const { effect, dueAt } = pending;
    if (effect.kind === "child") return this.#children.add(instance, pending);
    if (effect.kind === "action" && (dueAt === null || dueAt <= this.#clock.now()))
      return this.#attempts.add(instance, pending);
    if (pending.stage === "held") instance.move(pending, "waiting");
    this.#timers.add(dueAt!, { instance, pending });
  }

  #confirm(batch: Batch): void {
    for (const { no, id } of batch.commit.read) {
      const taken = this.#instances.get(no)?.taken;
      // A reading that is under way may still show it; the next cannot.
      if (taken?.has(id)) taken.set(id, this.#reading);
    }
  }

  #left(instance: Instance, batch: Batch): void {
    const { id, workflow, leaving, outcome, fault, no } = instance;
    const leave = batch.commit.leave.find((each) => each.no === no);
    this.#drop(no);
    if (leaving === "evict") {
      const due = leave?.what === "evict" ? leave.due : null;
      if (due !== null && this.#state === "running") this.#claims.dueBy(due);
      this.#emit({ kind: "instance-evicted", instance: id, workflow, due });
    } else if (leaving === "finish") {
      this.#emit({
        kind: "instance-finished",
        instance: id,
        workflow,
        status: outcome!.kind,
        outcome: outcome!.payload,
      });
    } else {
      this.#log.error({ instance: id, workflow, reason: fault }, "An instance was set aside: it cannot go on.");
      this.#emit({ kind: "instance-quarantined", instance: id, workflow, reason: fault ?? "" });
    }
  }

  /** Mail came while it was leaving: read it and go on. */
  #stay(instance: Instance): void {
    instance.leaving = null;
    this.#wantMail([instance.no]);
  }

  #refuse(no: number, error: unknown): void {
    const instance = this.#instances.get(no);
    if (instance === undefined) return;
    const { id, workflow, epoch, mail, rank, seed, parent } = instance;
    this.#drop(no);
    if (error instanceof WaymarkError && error.code === "WM571") return this.#claims.adopt();
    // The state here is ahead of the journal for good, so it is of no use; only the refusal itself is written.
    const loaded = {
      no,
      id,
      epoch,
      mail,
      program: 0,
      createdAt: 0,
      seed,
      parent,
      waiter: null,
      input: null,
      snapshot: null,
      tail: [],
      inbox: [],
    };
    const stub = this.#hold(new Instance(loaded, rank, workflow, -1, -1));
    stub.snapshotSeq = instance.snapshotSeq;
    this.#fault(stub, `the store refuses what it would write: ${reasonOf(error)}`);
  }

  #inform(batch: Batch, committed: Answer["committed"]): void {
    const notices: Parameters<Store["notify"]>[0][number][] = [];
    if (committed.woke) {
      notices.push({ kind: "work" });
      this.#claims.want();
    }
    const others = committed.poke.filter((lease) => lease !== this.#lease?.id);
    if (others.length > 0) notices.push({ kind: "mail", leases: others });
    if (others.length < committed.poke.length) {
      this.#announced++;
      this.#wantMail(batch.commit.mail.map(({ no }) => no).filter((no) => this.#instances.has(no)));
    }
    for (const { waiter, ids } of committed.ended) notices.push({ kind: "result", waiter, ids });
    if (notices.length > 0) this.#tell(notices);
  }

  #tell(notices: Parameters<Store["notify"]>[0]): void {
    this.#store.notify(notices).catch((error) => {
      this.#log.warn({ err: error }, "Notices were not sent; whoever waits for them will look by itself.");
    });
  }

  // -- mail

  #wantMail(nos: Iterable<number>): void {
    for (const no of nos) this.#mailWanted.add(no);
    if (this.#mailWanted.size > 0) this.#schedule();
  }

  #readMail(): void {
    if (this.#readingMail || this.#mailWanted.size === 0 || !this.#lease?.alive) return;
    const lease = this.#lease.id;
    const nos = [...this.#mailWanted].filter((no) => {
      const instance = this.#instances.get(no);
      return instance !== undefined && instance.leaving === null;
    });
    this.#mailWanted.clear();
    if (nos.length === 0) return;
    this.#readingMail = true;
    const reading = ++this.#reading;
    this.#store
      .mail(lease, nos)
      .then(
        (answers) => {
          for (const { no, mail, rows } of answers) this.#post({ kind: "mailed", lease, reading, no, mail, rows });
        },
        (error) => {
          this.#log.warn({ err: error }, "Mail could not be read; trying again.");
          this.#clock.after(openRetryMs, () => this.#wantMail(nos));
        },
      )
      .finally(() => {
        this.#readingMail = false;
        this.#schedule();
      });
  }

  // -- the lease

  async #open(): Promise<void> {
    const { host, config, index } = this.#options;
    const lease: Lease = await Lease.open({
      store: this.#store,
      clock: this.#clock,
      host,
      info: `shard ${index} of process ${process.pid}`,
      ttlMs: config.lockTtlMs,
      heartbeatMs: config.lockHeartbeatMs,
      lost: (reason) => this.#post({ kind: "lost", lease: lease.id, reason }),
    });
    if (this.#state === "stopped") return lease.end();
    this.#lease = lease;
    this.#emit({ kind: "lease-opened", shard: index, lease: lease.id });
  }

  #lose(id: bigint, reason: string): void {
    if (this.#lease?.id !== id) return;
    const instances = this.#instances.size;
    this.#log.warn(
      { lease: String(id), reason, instances },
      "The lease is lost: everything it held is dropped and left to whoever claims it.",
    );
    this.#forget();
    this.#emit({ kind: "lease-lost", shard: this.#options.index, lease: id, reason, instances });
    if (this.#state === "running") void this.#reopen(); // ends by itself
  }

  async #reopen(): Promise<void> {
    while (this.#state === "running" && this.#lease === null) {
      try {
        await this.#open();
        this.#claims.want();
      } catch (error) {
        this.#log.warn({ err: error }, "No new lease yet; trying again.");
        await new Promise<void>((resolve) => void this.#clock.after(openRetryMs, resolve));
      }
    }
  }

  #forget(): void {
    this.#lease?.end();
    this.#lease = null;
    this.#committing = false;
    for (const no of [...this.#instances.keys()]) this.#drop(no, false);
    this.#attempts.clear();
    this.#timers.clear();
    this.#mailWanted.clear();
    this.#batch = new Batch();
    this.#emptied?.();
  }

  #drop(no: number, cancel = true): void {
    const instance = this.#instances.get(no);
    if (instance === undefined) return;
    instance.gone = true;
    this.#instances.delete(no);
    this.#resting.delete(instance);
    if (cancel) this.#attempts.forget(instance);
    if (instance.state >= 0) this.#machine.drop(instance.state);
  }

  #poll(): void {
    this.#disarmPoll();
    const { pollIntervalMs } = this.#options.config;
    this.#disarmPoll = this.#clock.after(this.#pushed ? Math.max(pollIntervalMs, quietPollMs) : pollIntervalMs, () => {
      if (!this.#pushed) this.#wantMail(this.#instances.keys());
      this.#claims.want();
      this.#poll();
    });
  }
}

function outgrown({ tailEvents, tailBytes, snapshotBytes }: Instance): boolean {
  if (tailBytes >= Math.max(tailBytesMax, tailPerSnapshot * snapshotBytes)) return true;
  return tailEvents >= tailEventsMax && tailBytes * tailPerSnapshot >= snapshotBytes;
}

/** When somebody else should go on with it: at once if anything is to be done, else at its earliest wait. */
function dueNow(instance: Instance, nowMs: number): number | null {
  if (instance.busy) return nowMs;
  return instance.resting(nowMs, Number.NEGATIVE_INFINITY, missingRetryMs)?.due ?? null;
}

function reasonOf(error: unknown): string {
  if (error instanceof WaymarkError) return `${error.code} ${error.message}`;
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
