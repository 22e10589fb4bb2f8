// The store in Postgres. Methods turn our data into arrays and rows into our data; what is true is in the statements
// (statements.ts, commit.ts). Nothing here keeps a transaction open between two round trips, ever: a process that is
// stopped in the middle must hold no lock.

import { WaymarkError } from "../../base/failure.ts";
import { checkBatch } from "../batch.ts";
import { journalConflict, sameEvent } from "../conflict.ts";
import { inputHash } from "../input.ts";
import {
  type Claimed,
  type Commit,
  type Committed,
  eventKind,
  type InstanceStatus,
  type JournalRow,
  type Loaded,
  type MailRow,
  type ProgramRow,
  type ResultRow,
  resultStatus,
  type Started,
  type StartRow,
  type Store,
} from "../store.ts";
import { addWaiter, checkWaiter, waitersOf } from "../waiter.ts";
import { commitStatement } from "./commit.ts";
import {
  backoff,
  Connections,
  explain,
  isAway,
  type PostgresOptions,
  parseTarget,
  type Row,
  type Statement,
  type Target,
} from "./connect.ts";
import { checkVersion, migrate, readVersion, schemaVersion } from "./migrate.ts";
import { Listener, Notifier } from "./notices.ts";
import { statements } from "./statements.ts";

export type { PostgresOptions } from "./connect.ts";
export { migrationSql } from "./migrate.ts";

/** A URL, or a URL with options. Connects at the first use; a URL that is none is refused at once (WM500). */
export async function openPostgres(options: string | PostgresOptions): Promise<Store> {
  return new PostgresStore(parseTarget(options));
}

const releaseMax = 1_000;

class PostgresStore implements Store {
  readonly #target: Target;
  readonly #sql: ReturnType<typeof statements>;
  /** Starts, mail, reads and commits. */
  readonly #main: Connections;
  /** Claims and leases: lost in a crash they are fenced like any other, so they need no flush. */
  readonly #quick: Connections;
  readonly #notices: Connections;
  readonly #notifier: Notifier;
  readonly #listeners = new Set<Listener>();
  readonly #locked = new Set<bigint>();
  readonly #cursors = new Map<number, Cursor>();
  #checked: Promise<void> | undefined;
  #closed = false;

  constructor(target: Target) {
    this.#target = target;
    this.#sql = statements(target.schema);
    this.#main = new Connections(target, target.connections, true);
    this.#quick = new Connections(target, 2, false);
    this.#notices = new Connections(target, 1, false);
    this.#notifier = new Notifier(this.#notices, target.schema);
  }

  async migrate(): Promise<{ applied: string[] }> {
    const applied = await this.#main.session((client) => migrate(client, this.#target.schema));
    return { applied };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#listeners].map((listener) => listener.close()));
    await Promise.all([this.#main.close(), this.#quick.close(), this.#notices.close()]);
  }

  /** Once, before the first statement: are the tables ones we know? A failure is not remembered. */
  #ready(): Promise<void> {
    this.#checked ??= this.#check().catch((error) => {
      this.#checked = undefined;
      throw error;
    });
    return this.#checked;
  }

  async #check(): Promise<void> {
    const { schema, where, pooler } = this.#target;
    const { version, isolation } = await this.#main.session(async (client) => ({
      version: await readVersion(client, schema),
      isolation: (await client.query("show default_transaction_isolation")).rows[0].default_transaction_isolation,
    }));
    if (pooler && isolation !== "read committed") {
      throw new WaymarkError(
        "WM512",
        `Postgres at ${where} runs transactions as ${isolation} by default; waymark needs read committed.`,
        {
          hint: "`alter role ... set default_transaction_isolation = 'read committed'`: through a pooler a session cannot say so.",
        },
      );
    }
    if (version !== null && checkVersion(version, schema) === schemaVersion) return;
    const found =
      version === null
        ? `has no waymark tables (schema ${schema})`
        : `has waymark tables of version ${version}; this waymark needs ${schemaVersion}`;
    throw new WaymarkError("WM504", `Postgres at ${where} ${found}.`, { hint: "Run `waymark migrate`." });
  }

  async #run(connections: Connections, statement: Statement, values: unknown[], again: boolean): Promise<Row[]> {
    await this.#ready();
    return connections.run(statement, values, again);
  }

  // -- programs

  async putProgram(program: Omit<ProgramRow, "no">): Promise<number> {
    const { hash, workflow, format, body, debug } = program;
    const [row] = await this.#run(this.#main, this.#sql.putProgram, [hash, workflow, format, body, debug], true);
    return row.no;
  }

  async getProgram(no: number): Promise<ProgramRow | null> {
    const [row] = await this.#run(this.#main, this.#sql.getProgram, [no], true);
    return row
      ? { no: row.no, hash: row.hash, workflow: row.workflow, format: row.format, body: row.body, debug: row.debug }
      : null;
  }

  async latestProgram(workflow: string): Promise<{ no: number; format: number } | null> {
    const [row] = await this.#run(this.#main, this.#sql.latestProgram, [workflow], true);
    return row ? { no: row.no, format: row.format } : null;
  }

  // -- from outside

  async start(program: number, format: number, given: readonly StartRow[]): Promise<Started[]> {
    for (const { waiter } of given) if (waiter !== null) checkWaiter(waiter);
    const ids = new Set<string>();
    const rows = given.filter(({ id }) => !ids.has(id) && ids.add(id));
    const hashes = new Map(rows.map((row) => [row.id, inputHash(row.input)]));
    const started = new Map<string, Started>();
    // One waiter a statement: a client starts its own, so there is one or none.
    for (const waiter of new Set(rows.map((row) => row.waiter))) {
      const some = rows.filter((row) => row.waiter === waiter);
      const of = <Value>(read: (row: StartRow) => Value) => some.map(read);
      const values = [
        program,
        format,
        waiter,
        of((row) => row.id),
        of((row) => uuidOf(row.seed)),
        of((row) => row.priority),
        of((row) => row.parent?.instance ?? null),
        of((row) => row.parent?.effect ?? null),
        of((row) => hashes.get(row.id)!),
        of((row) => row.input),
        of((row) => row.startAt),
      ];
      for (const row of await this.#run(this.#main, this.#sql.start, values, true)) {
        started.set(row.id, { id: row.id, no: Number(row.no), created: true, program, inputHash: hashes.get(row.id)! });
      }
    }
    const seeds = new Map(rows.map((row) => [row.id, row.seed]));
    const there = rows.filter((row) => !started.has(row.id)).map((row) => row.id);
    if (there.length > 0) {
      for (const row of await this.#run(this.#main, this.#sql.find, [there], true)) {
        // The same seed: it is ours, and the reply was lost.
        const created = uuidOf(seeds.get(row.id)!) === row.seed;
        started.set(row.id, {
          id: row.id,
          no: Number(row.no),
          created,
          program: row.program,
          inputHash: BigInt(row.input_hash),
        });
      }
    }
    return rows.map((row) => started.get(row.id)!);
  }

  async results(ids: readonly string[], waiter?: string): Promise<ResultRow[]> {
    if (ids.length === 0) return [];
    const unique = [...new Set(ids)];
    if (waiter !== undefined) {
      checkWaiter(waiter);
      await this.#run(this.#main, this.#sql.wait, [unique, waiter], true);
    }
    const rows = await this.#run(this.#main, this.#sql.result, [unique], true);
    return rows.map((row) => ({
      id: row.id,
      no: Number(row.no),
      status: statusOf(row),
      workflow: row.workflow,
      reason: row.reason,
      outcome: row.outcome,
    }));
  }

  async deliver(
    given: readonly { no: number; effect: number; kind: number; attempt: number; payload: Uint8Array | null }[],
  ): Promise<{ no: number; lease: bigint | null }[]> {
    if (given.length === 0) return [];
    const of = <Key extends keyof (typeof given)[number]>(key: Key) => given.map((row) => row[key]);
    const values = [of("no"), of("effect"), of("kind"), of("attempt"), of("payload")];
    const rows = await this.#run(this.#main, this.#sql.deliver, values, false);
    return rows.map((row) => ({ no: Number(row.no), lease: row.lease === null ? null : BigInt(row.lease) }));
  }

  async terminate(nos: readonly number[], outcome: Uint8Array | null): Promise<number[]> {
    if (nos.length === 0) return [];
    const rows = await this.#run(this.#main, this.#sql.terminate, [sorted(nos), outcome, eventKind.failed], true);
    const notices: Parameters<Store["notify"]>[0][number][] = [];
    for (const row of rows) {
      for (const waiter of waitersOf(row.waiter)) notices.push({ kind: "result", waiter, ids: [row.id] });
      if (row.told) notices.push(row.lease === null ? { kind: "work" } : { kind: "mail", leases: [BigInt(row.lease)] });
    }
    await this.notify(notices);
    return rows.map((row) => Number(row.no));
  }

  async history(no: number): Promise<JournalRow[]> {
    return (await this.#run(this.#main, this.#sql.history, [no], true)).map(journalRow);
  }

  // -- leases

  async openLease(lease: { id: bigint; host: bigint; ttlMs: number; info: string }): Promise<void> {
    const { id, host, ttlMs, info } = lease;
    await this.#run(this.#quick, this.#sql.openLease, [id, host, ttlMs, info, this.#locked.has(host)], true);
  }

  async renew(ids: readonly bigint[]): Promise<bigint[]> {
    const rows = await this.#run(this.#quick, this.#sql.renew, [ids.toSorted(compare)], true);
    const alive = new Set(rows.map((row) => BigInt(row.id)));
    return ids.filter((id) => alive.has(id));
  }

  async closeLease(id: bigint): Promise<void> {
    await this.#run(this.#quick, this.#sql.closeLease, [id], true);
    await this.#release(id, releaseMax, 0);
  }

  async reclaim(limit: number): Promise<{ fenced: bigint[]; released: number }> {
    // Not repeated when the reply is lost: the next call finds the rows of whoever was fenced by this one.
    const rows = await this.#run(this.#quick, this.#sql.fence, [this.#target.lockGraceMs], false);
    const fenced: bigint[] = [];
    let released = 0;
    for (const row of rows) {
      const lease = BigInt(row.lease);
      if (row.fenced) fenced.push(lease);
      // A strike only for those whose host died over them.
      released += await this.#release(lease, limit, row.fenced ? 1 : 0);
    }
    return { fenced, released };
  }

  async #release(lease: bigint, limit: number, strike: number): Promise<number> {
    for (let released = 0; ; ) {
      const rows = await this.#run(this.#quick, this.#sql.release, [lease, limit, strike], true);
      released += rows.length;
      if (rows.length < limit) return released;
    }
  }

  // -- instances

  async claim(lease: bigint, format: number, dueLimit: number, newLimit: number): Promise<Claimed[]> {
    const cursor = this.#cursors.get(format) ?? origin;
    const first = await this.#claimFrom(cursor, lease, format, dueLimit, newLimit);
    const short = first.due < dueLimit || first.fresh < newLimit;
    if (!short || cursor === origin) return first.claimed;
    // Past the last row claimed there is no more; before it there may be: higher priorities, late commits.
    const second = await this.#claimFrom(origin, lease, format, dueLimit - first.due, newLimit - first.fresh);
    return [...first.claimed, ...second.claimed];
  }

  /** The next claim goes on where this one ended, if it got all it asked for. */
  async #claimFrom(cursor: Cursor, lease: bigint, format: number, dueLimit: number, newLimit: number) {
    const values = [lease, format, dueLimit, newLimit, cursor.due, cursor.rank, cursor.no];
    const rows = await this.#run(this.#quick, this.#sql.claim, values, false);
    const due = rows.filter((row) => row.due !== null).sort((a, b) => compare(Date.parse(a.due), Date.parse(b.due)));
    const fresh = rows.filter((row) => row.due === null).sort((a, b) => a.rank - b.rank || Number(a.no) - Number(b.no));
    const next = { ...origin };
    if (due.length > 0 && due.length >= dueLimit) next.due = due.at(-1).due;
    if (fresh.length > 0 && fresh.length >= newLimit)
      Object.assign(next, { rank: fresh.at(-1).rank, no: fresh.at(-1).no });
    const moved = next.due !== origin.due || next.rank !== origin.rank;
    if (moved) this.#cursors.set(format, next);
    else this.#cursors.delete(format);
    const claimed = [...due, ...fresh].map((row) => ({
      no: Number(row.no),
      epoch: row.epoch,
      seq: row.seq,
      strikes: row.strikes,
      rank: row.rank,
    }));
    return { claimed, due: due.length, fresh: fresh.length };
  }

  async held(lease: bigint): Promise<{ no: number; epoch: number }[]> {
    const rows = await this.#run(this.#quick, this.#sql.held, [lease], true);
    return rows.map((row) => ({ no: Number(row.no), epoch: row.epoch }));
  }

  async load(lease: bigint, nos: readonly number[]): Promise<Loaded[]> {
    if (nos.length === 0) return [];
    const rows = await this.#run(this.#main, this.#sql.load, [lease, sorted(nos)], true);
    const loaded = new Map<string, Loaded>();
    for (const row of rows) if (row.what === "q") loaded.set(row.no, loadedRow(row));
    for (const row of rows) {
      const instance = loaded.get(row.no)!;
      if (row.what === "s") instance.snapshot = { seq: Number(row.seq), format: row.kind, body: row.payload };
      else if (row.what === "j") instance.tail.push(journalRow(row));
      else if (row.what === "m") instance.inbox.push(mailRow({ ...row, id: row.seq }));
    }
    return [...loaded.values()];
  }

  async mail(lease: bigint, nos: readonly number[]): Promise<{ no: number; mail: number; rows: MailRow[] }[]> {
    if (nos.length === 0) return [];
    const rows = await this.#run(this.#main, this.#sql.mail, [lease, sorted(nos)], true);
    type Box = { no: number; mail: number; rows: MailRow[] };
    const boxes = new Map<number, Box>();
    for (const row of rows) {
      const no = Number(row.no);
      const box: Box = boxes.get(no) ?? { no, mail: row.mail, rows: [] };
      boxes.set(no, box);
      if (row.id !== null) box.rows.push(mailRow(row));
    }
    return [...boxes.values()];
  }

  async nextDue(format: number): Promise<number | null> {
    const [row] = await this.#run(this.#quick, this.#sql.nextDue, [format], true);
    return row ? row.due : null;
  }

  // -- commit

  async commit(lease: bigint, given: Commit): Promise<Committed> {
    await this.#ready();
    const batch = checkBatch(given);
    const { values, ...statement } = commitStatement(this.#target.schema, lease, batch);
    let resent = false;
    for (let tries = 0; ; tries++) {
      const sent = { yet: false };
      try {
        const [row] = await this.#main.once(statement, values, sent);
        return await this.#committed(lease, batch, row, resent);
      } catch (error) {
        const { code, constraint } = error as { code?: string; constraint?: string };
        if (code === "23505" && constraint === "journal_pkey") return this.#landed(lease, batch);
        // Whether it landed is not known until the identical statement answers. A deadlock or a lost race did not land.
        const repeat = isAway(error) || code === "40P01" || code === "40001";
        if (!repeat || this.#closed) throw explain(error, this.#target, "commit");
        if (sent.yet) resent = true;
        await backoff(tries);
      }
    }
  }

  async #committed(lease: bigint, batch: Commit, row: Row, resent: boolean): Promise<Committed> {
    if (row.held === 0) return { kind: "fenced" };
    const left: number[] = (row.left ?? []).map(Number).sort(compare);
    const poke: bigint[] = (row.poke ?? []).filter((id: string | null) => id !== null).map(BigInt);
    const ended: { waiter: string; ids: string[] }[] = [];
    for (const [list, id] of row.ended ?? []) for (const waiter of waitersOf(list)) addWaiter(ended, waiter, id);
    const answer = { kind: "committed" as const, lost: [] as number[], left, poke, woke: row.woke ?? false, ended };
    const all = left.length === batch.leave.length && (row.journaled ?? 0) === batch.journal.length;
    if (all) return answer;

    const ours = await this.#mine(lease, batch);
    if (ours === "fenced") return { kind: "fenced" };
    const gone = [...writersOf(batch).keys()].filter((no) => !ours.has(no) && !left.includes(no)).sort(compare);
    // Of those that are not ours any more, some may have left by this very batch: it was sent before, and landed.
    const rows = batch.journal.filter(({ no }) => gone.includes(no));
    const written = await this.#written(rows);
    const landed = new Set(rows.filter((row) => sameAs(written, row)).map(({ no }) => no));
    const leavers = new Set(batch.leave.map(({ no }) => no));
    const before = gone.filter((no) => leavers.has(no) && (resent || landed.has(no)));
    answer.left = [...left, ...before].sort(compare);
    answer.lost = gone.filter((no) => !before.includes(no));
    if (before.length > 0) Object.assign(answer, { poke: await this.#targets(batch), woke: batch.mail.length > 0 });
    return answer;
  }

  /** The journal has these numbers already: the batch had landed, and only its reply was lost. */
  async #landed(lease: bigint, batch: Commit): Promise<Committed> {
    const ours = await this.#mine(lease, batch);
    if (ours === "fenced") return { kind: "fenced" };
    const written = await this.#written(batch.journal);
    for (const row of batch.journal) if (!sameAs(written, row)) throw journalConflict(row.no, row.seq);
    const leavers = new Set(batch.leave.map(({ no }) => no));
    const gone = [...writersOf(batch).keys()].filter((no) => !ours.has(no)).sort(compare);
    return {
      kind: "committed",
      lost: gone.filter((no) => !leavers.has(no)),
      left: gone.filter((no) => leavers.has(no)),
      poke: await this.#targets(batch),
      woke: batch.mail.length > 0,
      ended: [], // their queue rows are gone, and with them who waits: clients find out at their next poll
    };
  }

  /** What the journal has under the numbers of these rows. */
  async #written(rows: Commit["journal"]): Promise<Map<string, JournalRow>> {
    if (rows.length === 0) return new Map();
    const found = await this.#main.run(this.#sql.written, [rows.map(({ no }) => no), rows.map(({ seq }) => seq)], true);
    return new Map(found.map((row) => [`${row.no}/${row.seq}`, journalRow(row)]));
  }

  async #targets(batch: Commit): Promise<bigint[]> {
    if (batch.mail.length === 0) return [];
    const rows = await this.#main.run(this.#sql.targets, [batch.mail.map(({ no }) => no)], true);
    return rows.map((row) => BigInt(row.lease));
  }

  async #mine(lease: bigint, batch: Commit): Promise<Set<number> | "fenced"> {
    const writers = writersOf(batch);
    const rows = await this.#main.run(this.#sql.mine, [lease, [...writers.keys()], [...writers.values()]], true);
    const nos = new Set(rows.map((row) => Number(row.no)));
    return nos.delete(-1) ? nos : "fenced";
  }

  // -- notices

  async notify(notices: Parameters<Store["notify"]>[0]): Promise<void> {
    await this.#notifier.notify(notices);
  }

  async listen(...[who, hear, lost]: Parameters<Store["listen"]>): Promise<{ close(): Promise<void> }> {
    await this.#ready();
    if (this.#target.pooler) return { close: async () => {} }; // LISTEN needs a session: the callers poll
    const onLock = async (held: boolean) => {
      const host = who.host!;
      if (held) this.#locked.add(host);
      else this.#locked.delete(host);
      await this.#quick.run(this.#sql.lockLeases, [host, held], true);
    };
    const listener = new Listener(this.#target, who, hear, lost ?? (() => {}), onLock);
    this.#listeners.add(listener);
    try {
      await listener.open();
    } catch (error) {
      this.#listeners.delete(listener);
      throw explain(error, this.#target, "listen");
    }
    return {
      close: async () => {
        this.#listeners.delete(listener);
        await listener.close();
      },
    };
  }
}

/** The last row claimed: what lies before it is taken, or a dead index entry that a long transaction keeps. */
interface Cursor {
  due: string;
  rank: number;
  no: string;
}

const origin: Cursor = { due: "-infinity", rank: -32_768, no: "0" };

/** Everyone who writes in a batch, with the epoch they write under. */
function writersOf(batch: Commit): Map<number, number> {
  return new Map([...batch.journal, ...batch.leave].map(({ no, epoch }) => [no, epoch]));
}

function sameAs(written: Map<string, JournalRow>, row: Commit["journal"][number]): boolean {
  const old = written.get(`${row.no}/${row.seq}`);
  return old !== undefined && sameEvent(old, row);
}

function statusOf(row: Row): InstanceStatus {
  if (row.status === resultStatus.completed) return "completed";
  if (row.status === resultStatus.failed) return "failed";
  if (row.status === resultStatus.cancelled) return "cancelled";
  if (row.state === "h") return "running";
  if (row.state === "q") return "quarantined";
  return row.epoch === 0 ? "queued" : "waiting"; // a delayed start is still queued
}

function journalRow({ seq, at, effect, kind, attempt, payload }: Row): JournalRow {
  return { seq: Number(seq), at, effect, kind, attempt, payload };
}

function mailRow({ id, at, effect, kind, attempt, payload }: Row): MailRow {
  return { id: Number(id), at, effect, kind, attempt, payload };
}

function loadedRow(row: Row): Loaded {
  const [id, seed, parent, parentEffect, waiter] = row.more;
  return {
    no: Number(row.no),
    id,
    epoch: row.kind,
    mail: Number(row.seq),
    program: row.effect,
    createdAt: row.at,
    seed: Buffer.from(seed.replaceAll("-", ""), "hex"),
    parent: parent === null ? null : { instance: parent, effect: parentEffect },
    waiter,
    input: row.payload,
    snapshot: null,
    tail: [],
    inbox: [],
  };
}

function uuidOf(seed: Uint8Array): string {
  return Buffer.from(seed)
    .toString("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function sorted(nos: readonly number[]): number[] {
  return [...new Set(nos)].sort(compare);
}

function compare(a: number | bigint, b: number | bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
