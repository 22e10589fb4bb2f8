// The store in memory, for tests and for `run()` without a database. Same contract and same fencing as Postgres: every
// method is one atomic step, several hosts may share one store (or several handles one state), and what a host may
// no longer write it cannot. It must never be cleverer than Postgres: the same suite runs over both.

import { checkBatch } from "./batch.ts";
import { journalConflict, sameBytes, sameEvent } from "./conflict.ts";
import { inputHash } from "./input.ts";
import {
  type Claimed,
  type Commit,
  type Committed,
  eventKind,
  type InstanceStatus,
  type JournalRow,
  type Loaded,
  type MailRow,
  type Notice,
  type ProgramRow,
  type ResultRow,
  type ResultStatus,
  resultStatus,
  type Started,
  type StartRow,
  type Store,
} from "./store.ts";
import { addWaiter, checkWaiter, waitersOf, withWaiter } from "./waiter.ts";

/** What several handles share. Opaque: made by `memoryState`. */
export interface MemoryState {
  programs: ProgramRow[];
  /** Program numbers in the order they were last put. */
  recent: number[];
  instances: Map<number, Instance>;
  numbers: Map<string, number>;
  queue: Map<number, Queued>;
  results: Map<number, { status: ResultStatus; outcome: Uint8Array | null }>;
  leases: Map<bigint, Lease>;
  listeners: Set<Listener>;
  lastMail: number;
}

interface Instance {
  no: number;
  id: string;
  program: number;
  seed: Uint8Array;
  input: Uint8Array;
  hash: bigint;
  createdAt: number;
  parent: { instance: number; effect: number } | null;
  journal: JournalRow[];
  snapshots: { seq: number; format: number; body: Uint8Array }[];
  inbox: MailRow[];
}

interface Queued {
  no: number;
  /** n new, s due at `dueAt`, w waits for mail, h held, q quarantined. */
  state: "n" | "s" | "w" | "h" | "q";
  lease: bigint | null;
  dueAt: number | null;
  epoch: number;
  mail: number;
  seq: number;
  format: number;
  rank: number;
  strikes: number;
  waiter: string | null;
  reason: string | null;
}

interface Lease {
  host: bigint;
  locked: boolean;
  renewedAt: number;
  ttlMs: number;
}

interface Listener {
  who: { host?: bigint; leases?: readonly bigint[]; client?: string };
  hear: (notice: Notice) => void;
}

export function memoryState(): MemoryState {
  return {
    programs: [],
    recent: [],
    instances: new Map(),
    numbers: new Map(),
    queue: new Map(),
    results: new Map(),
    leases: new Map(),
    listeners: new Set(),
    lastMail: 0,
  };
}

/** `clock` gives milliseconds since the epoch. Handles on one `state` see the same truth, as connections to one database do. */
export function openMemory(clock: () => number = Date.now, state: MemoryState = memoryState()): Store {
  return new MemoryStore(clock, state);
}

class MemoryStore implements Store {
  readonly #clock: () => number;
  readonly #state: MemoryState;
  readonly #own = new Set<Listener>();

  constructor(clock: () => number, state: MemoryState) {
    this.#clock = clock;
    this.#state = state;
  }

  async migrate(): Promise<{ applied: string[] }> {
    return { applied: [] };
  }

  /** What this handle listened with is gone, as when a connection dies; leases stay until reclaimed. */
  async close(): Promise<void> {
    for (const listener of this.#own) this.#state.listeners.delete(listener);
    this.#own.clear();
  }

  // -- programs

  async putProgram(program: Omit<ProgramRow, "no">): Promise<number> {
    const { programs, recent } = this.#state;
    let found = programs.find((row) => sameBytes(row.hash, program.hash));
    if (!found) {
      found = {
        ...program,
        no: programs.length + 1,
        hash: copy(program.hash),
        body: copy(program.body),
        debug: copy(program.debug),
      };
      programs.push(found);
    }
    const { no } = found;
    if (recent.includes(no)) recent.splice(recent.indexOf(no), 1);
    recent.push(no);
    return no;
  }

  async getProgram(no: number): Promise<ProgramRow | null> {
    const row = this.#state.programs[no - 1];
    return row ? { ...row, hash: copy(row.hash), body: copy(row.body), debug: copy(row.debug) } : null;
  }

  async latestProgram(workflow: string): Promise<{ no: number; format: number } | null> {
    const { programs, recent } = this.#state;
    const no = recent.findLast((each) => programs[each - 1]!.workflow === workflow);
    return no === undefined ? null : { no, format: programs[no - 1]!.format };
  }

  // -- from outside

  async start(program: number, format: number, rows: readonly StartRow[]): Promise<Started[]> {
    const { instances, numbers, queue } = this.#state;
    const answer = new Map<string, Started>();
    for (const row of rows) if (row.waiter !== null) checkWaiter(row.waiter);
    for (const row of rows) {
      if (answer.has(row.id)) continue;
      let instance = instances.get(numbers.get(row.id) ?? 0);
      if (!instance) {
        const no = instances.size + 1;
        const { id, parent } = row;
        const input = copy(row.input);
        instance = {
          no,
          id,
          program,
          parent,
          input,
          seed: copy(row.seed),
          hash: inputHash(input),
          createdAt: this.#clock(),
          journal: [],
          snapshots: [],
          inbox: [],
        };
        instances.set(no, instance);
        numbers.set(id, no);
        queue.set(no, {
          no,
          state: row.startAt === null ? "n" : "s",
          dueAt: row.startAt,
          lease: null,
          epoch: 0,
          mail: 0,
          seq: 0,
          format,
          rank: -row.priority || 0,
          strikes: 0,
          waiter: row.waiter,
          reason: null,
        });
      }
      answer.set(row.id, {
        id: row.id,
        no: instance.no,
        created: sameBytes(instance.seed, row.seed),
        program: instance.program,
        inputHash: instance.hash,
      });
    }
    return [...answer.values()];
  }

  async results(ids: readonly string[], waiter?: string): Promise<ResultRow[]> {
    const { instances, numbers, queue, results, programs } = this.#state;
    const rows: ResultRow[] = [];
    for (const id of new Set(ids)) {
      const instance = instances.get(numbers.get(id) ?? 0);
      if (!instance) continue;
      const { no } = instance;
      const queued = queue.get(no);
      const result = results.get(no);
      if (queued && waiter !== undefined) queued.waiter = withWaiter(queued.waiter, waiter);
      rows.push({
        id,
        no,
        status: queued ? statusOf(queued) : resultNames[result!.status],
        workflow: programs[instance.program - 1]!.workflow,
        reason: queued?.reason ?? null,
        outcome: copy(result?.outcome ?? null),
      });
    }
    return rows;
  }

  async deliver(
    rows: readonly { no: number; effect: number; kind: number; attempt: number; payload: Uint8Array | null }[],
  ): Promise<{ no: number; lease: bigint | null }[]> {
    const told = new Map<number, bigint | null>();
    for (const row of rows) {
      const queued = this.#mail(row.no, row);
      if (queued) told.set(row.no, queued.lease);
    }
    return [...told].sort(([a], [b]) => a - b).map(([no, lease]) => ({ no, lease }));
  }

  async terminate(nos: readonly number[], outcome: Uint8Array | null): Promise<number[]> {
    const { instances, queue, results } = this.#state;
    const ended: number[] = [];
    const notices: Parameters<Store["notify"]>[0][number][] = [];
    for (const no of sorted(nos)) {
      const queued = queue.get(no);
      if (!queued || queued.epoch > 0 || queued.lease !== null) continue;
      queue.delete(no);
      results.set(no, { status: resultStatus.cancelled, outcome: copy(outcome) });
      ended.push(no);
      const { id, parent } = instances.get(no)!;
      for (const waiter of waitersOf(queued.waiter)) notices.push({ kind: "result", waiter, ids: [id] });
      if (parent === null) continue;
      const told = this.#mail(parent.instance, {
        effect: parent.effect,
        kind: eventKind.failed,
        attempt: 0,
        payload: outcome,
      });
      if (told) notices.push(told.lease === null ? { kind: "work" } : { kind: "mail", leases: [told.lease] });
    }
    await this.notify(notices);
    return ended;
  }

  async history(no: number): Promise<JournalRow[]> {
    return (this.#state.instances.get(no)?.journal ?? []).map(copyPayload);
  }

  /** Put mail into the inbox of an unfinished instance and wake it: a sleeper that has run before becomes due. */
  #mail(
    no: number,
    mail: { effect: number; kind: number; attempt: number; payload: Uint8Array | null },
  ): Queued | null {
    const queued = this.#state.queue.get(no);
    if (!queued) return null;
    const now = this.#clock();
    const { effect, kind, attempt } = mail;
    this.#state.instances
      .get(no)!
      .inbox.push({ id: ++this.#state.lastMail, at: now, effect, kind, attempt, payload: copy(mail.payload) });
    queued.mail++;
    const asleep = queued.state === "w" || (queued.state === "s" && queued.epoch > 0 && queued.dueAt! > now);
    if (asleep) Object.assign(queued, { state: "s", dueAt: now });
    return queued;
  }

  // -- leases

  async openLease(lease: { id: bigint; host: bigint; ttlMs: number; info: string }): Promise<void> {
    const { id, host, ttlMs } = lease;
    this.#state.leases.set(id, { host, ttlMs, locked: this.#locked(host), renewedAt: this.#clock() });
  }

  async renew(ids: readonly bigint[]): Promise<bigint[]> {
    const alive = ids.filter((id) => this.#state.leases.has(id));
    for (const id of alive) this.#state.leases.get(id)!.renewedAt = this.#clock();
    return alive;
  }

  async closeLease(id: bigint): Promise<void> {
    this.#state.leases.delete(id);
    this.#release((lease) => lease === id, 0);
  }

  // Postgres releases in batches of `limit`; here there is no lock to keep short.
  async reclaim(_limit: number): Promise<{ fenced: bigint[]; released: number }> {
    const { leases } = this.#state;
    const now = this.#clock();
    const dead = [...leases].filter(
      ([, lease]) => lease.renewedAt + lease.ttlMs < now || (lease.locked && !this.#locked(lease.host)),
    );
    const fenced = dead.map(([id]) => id);
    for (const id of fenced) leases.delete(id);
    const struck = this.#release((lease) => fenced.includes(lease), 1);
    return { fenced, released: struck + this.#release((lease) => !leases.has(lease), 0) };
  }

  #release(of: (lease: bigint) => boolean, strike: number): number {
    let released = 0;
    for (const queued of this.#state.queue.values()) {
      if (queued.lease === null || !of(queued.lease)) continue;
      Object.assign(queued, {
        state: "s",
        dueAt: this.#clock(),
        lease: null,
        strikes: Math.min(queued.strikes + strike, 100),
      });
      released++;
    }
    return released;
  }

  /** A host holds its lock for as long as it listens. */
  #locked(host: bigint): boolean {
    return [...this.#state.listeners].some(({ who }) => who.host === host);
  }

  // -- instances

  async claim(lease: bigint, format: number, dueLimit: number, newLimit: number): Promise<Claimed[]> {
    if (!this.#state.leases.has(lease)) return [];
    const now = this.#clock();
    const rows = [...this.#state.queue.values()].filter((row) => row.format === format);
    const due = rows
      .filter((row) => row.state === "s" && row.dueAt! <= now)
      .sort((a, b) => a.dueAt! - b.dueAt! || a.no - b.no);
    const fresh = rows.filter((row) => row.state === "n").sort((a, b) => a.rank - b.rank || a.no - b.no);
    const taken = [...due.slice(0, Math.max(dueLimit, 0)), ...fresh.slice(0, Math.max(newLimit, 0))];
    for (const row of taken) Object.assign(row, { state: "h", lease, dueAt: null, epoch: row.epoch + 1 });
    return taken.map(({ no, epoch, seq, strikes, rank }) => ({ no, epoch, seq, strikes, rank }));
  }

  async held(lease: bigint): Promise<{ no: number; epoch: number }[]> {
    return [...this.#state.queue.values()].filter((row) => row.lease === lease).map(({ no, epoch }) => ({ no, epoch }));
  }

  async load(lease: bigint, nos: readonly number[]): Promise<Loaded[]> {
    return this.#held(lease, nos).map(([queued, instance]) => {
      const { no, id, program, createdAt, seed, parent, input, journal, snapshots, inbox } = instance;
      const snapshot = snapshots.at(-1) ?? null;
      return {
        no,
        id,
        program,
        createdAt,
        parent,
        epoch: queued.epoch,
        mail: queued.mail,
        waiter: queued.waiter,
        seed: copy(seed),
        input: snapshot === null ? copy(input) : null,
        snapshot: snapshot && { ...snapshot, body: copy(snapshot.body) },
        tail: journal.filter((row) => row.seq > (snapshot?.seq ?? 0)).map(copyPayload),
        inbox: inbox.map(copyPayload),
      };
    });
  }

  async mail(lease: bigint, nos: readonly number[]): Promise<{ no: number; mail: number; rows: MailRow[] }[]> {
    return this.#held(lease, nos).map(([{ no, mail }, { inbox }]) => ({ no, mail, rows: inbox.map(copyPayload) }));
  }

  #held(lease: bigint, nos: readonly number[]): [Queued, Instance][] {
    const rows = sorted(nos).map((no) => this.#state.queue.get(no));
    return rows.filter((row) => row?.lease === lease).map((row) => [row!, this.#state.instances.get(row!.no)!]);
  }

  async commit(lease: bigint, given: Commit): Promise<Committed> {
    const { instances, leases, queue } = this.#state;
    const batch = checkBatch(given);
    if (!leases.has(lease)) return { kind: "fenced" };
    const ours = (no: number, epoch: number) => {
      const row = queue.get(no);
      return row !== undefined && row.lease === lease && row.epoch === epoch;
    };
    if (batch.journal.some((row) => instances.get(row.no)?.journal.some((old) => old.seq === row.seq)))
      return this.#landed(batch, ours);

    const lost = new Set(
      [...batch.journal, ...batch.leave].filter((row) => !ours(row.no, row.epoch)).map((row) => row.no),
    );
    for (const { sender, epoch } of batch.mail) if (!ours(sender, epoch)) lost.add(sender);
    for (const { no, epoch, seq, at, effect, kind, attempt, payload } of batch.journal.toSorted(
      (a, b) => a.seq - b.seq,
    )) {
      if (ours(no, epoch)) instances.get(no)!.journal.push({ seq, at, effect, kind, attempt, payload: copy(payload) });
    }
    for (const { no, seq, format, body } of batch.snapshots) {
      const instance = instances.get(no);
      if (!instance || instance.snapshots.some((old) => old.seq === seq)) continue;
      const rest = instance.snapshots.filter((old) => old.seq > seq);
      instance.snapshots = [{ seq, format, body: copy(body) }, ...rest];
    }
    for (const { no, id } of batch.read) {
      const instance = instances.get(no);
      if (instance) instance.inbox = instance.inbox.filter((mail) => mail.id !== id);
    }
    const told = batch.mail
      .map((mail) => (ours(mail.sender, mail.epoch) ? this.#mail(mail.no, mail) : null))
      .filter((row) => row !== null);

    const left: number[] = [];
    const ended: { waiter: string; ids: string[] }[] = [];
    for (const leaver of batch.leave) {
      const row = queue.get(leaver.no);
      if (!row || !ours(leaver.no, leaver.epoch) || row.mail !== leaver.mail) continue;
      left.push(leaver.no);
      if (leaver.what === "finish") {
        queue.delete(leaver.no);
        this.#state.results.set(leaver.no, { status: leaver.status, outcome: copy(leaver.outcome) });
      } else if (leaver.what === "evict") {
        Object.assign(row, {
          state: leaver.due === null ? "w" : "s",
          lease: null,
          dueAt: leaver.due,
          seq: leaver.seq,
          strikes: 0,
        });
      } else {
        Object.assign(row, { state: "q", lease: null, dueAt: null, seq: leaver.seq, reason: leaver.reason });
      }
      if (leaver.what !== "evict")
        for (const waiter of waitersOf(row.waiter)) addWaiter(ended, waiter, instances.get(leaver.no)!.id);
    }
    const poke = [...new Set(told.flatMap((row) => row.lease ?? []))];
    return {
      kind: "committed",
      lost: sorted([...lost]),
      left: sorted(left),
      poke,
      woke: told.some((row) => row.state === "s"),
      ended,
    };
  }

  /** A batch sent again after it had landed: say what became of it, change nothing. */
  #landed(batch: Commit, ours: (no: number, epoch: number) => boolean): Committed {
    for (const row of batch.journal) {
      const old = this.#state.instances.get(row.no)!.journal.find(({ seq }) => seq === row.seq);
      if (!old || !sameEvent(old, row)) throw journalConflict(row.no, row.seq);
    }
    const leavers = new Set(batch.leave.map(({ no }) => no));
    const left = batch.leave.filter((row) => !ours(row.no, row.epoch)).map(({ no }) => no);
    const lost = batch.journal.filter((row) => !leavers.has(row.no) && !ours(row.no, row.epoch)).map(({ no }) => no);
    const targets = batch.mail
      .map(({ no }) => this.#state.queue.get(no)?.lease ?? null)
      .filter((lease) => lease !== null);
    return {
      kind: "committed",
      lost: sorted([...new Set(lost)]),
      left: sorted(left),
      poke: [...new Set(targets)],
      woke: batch.mail.length > 0,
      ended: [],
    };
  }

  async nextDue(format: number): Promise<number | null> {
    let next: number | null = null;
    for (const row of this.#state.queue.values()) {
      if (row.state === "s" && row.format === format && (next === null || row.dueAt! < next)) next = row.dueAt;
    }
    return next;
  }

  // -- notices

  async notify(notices: Parameters<Store["notify"]>[0]): Promise<void> {
    for (const notice of notices) {
      for (const listener of this.#state.listeners) {
        const heard = this.#heard(listener.who, notice);
        if (!heard) continue;
        queueMicrotask(() => {
          if (this.#state.listeners.has(listener)) listener.hear(heard);
        });
      }
    }
  }

  #heard(who: Listener["who"], notice: Parameters<Store["notify"]>[0][number]): Notice | null {
    switch (notice.kind) {
      case "work":
        return who.host === undefined ? null : { kind: "work" };
      case "mail": {
        const leases = notice.leases.filter(
          (id) => who.leases?.includes(id) || (who.host !== undefined && this.#state.leases.get(id)?.host === who.host),
        );
        return leases.length === 0 ? null : { kind: "mail", leases };
      }
      case "result":
        return waitersOf(notice.waiter).some((waiter) => waiter === who.client)
          ? { kind: "result", ids: [...notice.ids] }
          : null;
    }
  }

  async listen(who: Listener["who"], hear: Listener["hear"], _lost?: () => void): Promise<{ close(): Promise<void> }> {
    const listener: Listener = { who, hear };
    this.#state.listeners.add(listener);
    this.#own.add(listener);
    if (who.host !== undefined)
      for (const lease of this.#state.leases.values()) if (lease.host === who.host) lease.locked = true;
    return {
      close: async () => {
        this.#state.listeners.delete(listener);
        this.#own.delete(listener);
      },
    };
  }
}

const resultNames = { 1: "completed", 2: "failed", 3: "cancelled" } as const satisfies Record<
  ResultStatus,
  InstanceStatus
>;

/** A delayed start is still queued; who ran once and sleeps is waiting. */
function statusOf(row: Queued): InstanceStatus {
  if (row.state === "h") return "running";
  if (row.state === "q") return "quarantined";
  return row.epoch === 0 ? "queued" : "waiting";
}

// Bytes are copied on the way in and out: a caller that reuses its buffer must not change the past.
function copy<Bytes extends Uint8Array | null>(bytes: Bytes): Bytes {
  return (bytes === null ? null : new Uint8Array(bytes)) as Bytes;
}

function copyPayload<Row extends { payload: Uint8Array | null }>(row: Row): Row {
  return { ...row, payload: copy(row.payload) };
}

function sorted(nos: readonly number[]): number[] {
  return [...new Set(nos)].sort((a, b) => a - b);
}
