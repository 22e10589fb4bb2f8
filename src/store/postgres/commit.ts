// The hot path's one statement: everything a batch makes durable, for all instances of a lease, in one autocommit round
// trip. It holds the lease row `for key share`, and fencing deletes that row: so every commit of a lease ends before its
// fence or finds nothing. Journal rows read `queue` unlocked, which is sound for the same reason. The text is built from
// the parts a batch has: a statement with all parts, most of them empty, costs a third more at batch 1.

import type { Commit } from "../store.ts";
import type { Statement } from "./connect.ts";
import { wake } from "./statements.ts";

export interface CommitStatement extends Statement {
  values: unknown[];
}

export function commitStatement(s: string, lease: bigint, batch: Commit): CommitStatement {
  const values: unknown[] = [lease];
  const columns = (types: readonly string[], arrays: readonly unknown[][]) =>
    `unnest(${types.map((type, index) => `$${values.push(arrays[index])}::${type}[]`).join(", ")})`;
  const parts = [`with l as materialized (select id from ${s}.lease where id = $1 for key share)`];
  const answers = [`(select count(*) from l)::int as held`];
  const held = "exists (select 1 from l)";
  const mails = batch.mail.length > 0;
  const leaves = batch.leave.length > 0;
  let name = "commit";

  if (mails || leaves) {
    const rows = [...batch.leave.map(leaverRow), ...targetRows(batch)].sort((a, b) => a.no - b.no);
    const of = <Key extends keyof (typeof rows)[number]>(key: Key) => rows.map((row) => row[key]);
    const source = columns(
      ["bigint", "int", "int", `"char"`, "float8", "int", "smallint", "bytea", "text"],
      [of("no"), of("epoch"), of("mail"), of("what"), of("due"), of("seq"), of("status"), of("outcome"), of("reason")],
    );
    // Locked in ascending order before anything is written. The mail counter is read again after the wait for the lock;
    // "no row in the inbox" would keep the statement's old snapshot and fall asleep over a message.
    parts.push(`k as materialized (
  select q.instance as no, u.what, to_timestamp(u.due / 1000) as due, u.seq, u.status, u.outcome, u.reason
  from ${source} as u(no, epoch, mail, what, due, seq, status, outcome, reason)
  join ${s}.queue q on q.instance = u.no
  where (u.what = 'm' or (q.lease = $1 and q.epoch = u.epoch and q.mail = u.mail)) and ${held}
  order by q.instance for no key update of q)`);
  }

  if (batch.journal.length > 0) {
    name += "J";
    const rows = batch.journal.toSorted((a, b) => a.no - b.no || a.seq - b.seq);
    const of = <Key extends keyof (typeof rows)[number]>(key: Key) => rows.map((row) => row[key]);
    const source = columns(
      ["bigint", "int", "int", "float8", "int", "smallint", "smallint", "bytea"],
      [of("no"), of("epoch"), of("seq"), of("at"), of("effect"), of("kind"), of("attempt"), of("payload")],
    );
    parts.push(`j as (
  insert into ${s}.journal (instance, seq, at, effect, kind, attempt, payload)
  select u.no, u.seq, to_timestamp(u.at / 1000), u.effect, u.kind, u.attempt, u.payload
  from ${source} as u(no, epoch, seq, at, effect, kind, attempt, payload)
  join ${s}.queue q on q.instance = u.no and q.lease = $1 and q.epoch = u.epoch
  where ${held} returning 1)`);
    answers.push(`(select count(*) from j)::int as journaled`);
  }

  if (batch.snapshots.length > 0) {
    name += "S";
    const rows = batch.snapshots.toSorted((a, b) => a.no - b.no);
    const no = `$${values.push(rows.map((row) => row.no))}::bigint[]`;
    const seq = `$${values.push(rows.map((row) => row.seq))}::int[]`;
    const format = `$${values.push(rows.map((row) => row.format))}::smallint[]`;
    const body = `$${values.push(rows.map((row) => row.body))}::bytea[]`;
    parts.push(`s as (
  insert into ${s}.snapshot (instance, seq, format, body)
  select u.* from unnest(${no}, ${seq}, ${format}, ${body}) as u(no, seq, format, body) where ${held}
  on conflict (instance, seq) do nothing)`);
    parts.push(`x as (
  delete from ${s}.snapshot o using unnest(${no}, ${seq}) as u(no, seq) where o.instance = u.no and o.seq < u.seq and ${held})`);
  }

  if (batch.read.length > 0) {
    name += "R";
    const rows = batch.read.toSorted((a, b) => a.no - b.no || a.id - b.id);
    const source = columns(["bigint", "bigint"], [rows.map((row) => row.no), rows.map((row) => row.id)]);
    parts.push(`r as (
  delete from ${s}.inbox m using ${source} as u(no, id) where m.instance = u.no and m.id = u.id and ${held})`);
  }

  if (mails) {
    name += "M";
    // In the batch's own order: the inbox numbers them as they were sent.
    const of = <Key extends keyof Commit["mail"][number]>(key: Key) => batch.mail.map((row) => row[key]);
    const source = columns(
      ["bigint", "int", "bigint", "int", "smallint", "smallint", "bytea"],
      [of("sender"), of("epoch"), of("no"), of("effect"), of("kind"), of("attempt"), of("payload")],
    );
    parts.push(`m as (
  insert into ${s}.inbox (instance, effect, kind, attempt, payload)
  select u.no, u.effect, u.kind, u.attempt, u.payload
  from ${source} as u(sender, epoch, no, effect, kind, attempt, payload)
  join ${s}.queue s on s.instance = u.sender and s.lease = $1 and s.epoch = u.epoch
  where u.no = any(array(select no from k where what = 'm')) returning instance)`);
    parts.push(`n as (select instance as no, count(*)::int as n from m group by instance)`);
    parts.push(`w as (update ${s}.queue q set ${wake}
  from n where q.instance = n.no returning q.instance, q.lease, q.state)`);
    answers.push(
      `(select array_agg(distinct lease) from w) as poke`,
      `exists (select 1 from w where state = 's') as woke`,
    );
  }

  if (leaves) {
    name += "L";
    const ends = batch.leave.some(({ what }) => what === "finish");
    parts.push(`e as (
  update ${s}.queue q
  set state = case when k.what = 'q' then 'q' when k.due is null then 'w' else 's' end::"char", lease = null, due_at = k.due, seq = k.seq,
    strikes = case when k.what = 'q' then q.strikes else 0 end, reason = k.reason
  from k where q.instance = k.no and k.what in ('e', 'q') returning q.instance, case when k.what = 'q' then q.waiter end as waiter)`);
    if (ends) {
      name += "F";
      parts.push(
        `d as (delete from ${s}.queue q using k where q.instance = k.no and k.what = 'f' returning q.instance, q.waiter, k.status, k.outcome)`,
      );
      parts.push(`f as (insert into ${s}.result (instance, status, outcome) select instance, status, outcome from d)`);
    }
    const gone = ends ? "(select instance, waiter from e union all select instance, waiter from d)" : "e";
    answers.push(`(select array_agg(x.instance) from ${gone} x) as left`);
    answers.push(`(select json_agg(json_build_array(x.waiter, i.id))
  from ${gone} x, lateral (select i.id from ${s}.instance i where i.no = x.instance offset 0) i where x.waiter is not null) as ended`);
  }
  return { name, text: `${parts.join(",\n")}\nselect ${answers.join(", ")}`, values };
}

interface KeyRow {
  no: number;
  what: "e" | "f" | "q" | "m";
  epoch: number | null;
  mail: number | null;
  due: number | null;
  seq: number | null;
  status: number | null;
  outcome: Uint8Array | null;
  reason: string | null;
}

const empty = { epoch: null, mail: null, due: null, seq: null, status: null, outcome: null, reason: null };

function leaverRow(leaver: Commit["leave"][number]): KeyRow {
  const { no, epoch, mail } = leaver;
  switch (leaver.what) {
    case "evict":
      return { ...empty, no, epoch, mail, what: "e", due: leaver.due, seq: leaver.seq };
    case "finish":
      return { ...empty, no, epoch, mail, what: "f", status: leaver.status, outcome: leaver.outcome };
    case "quarantine":
      return { ...empty, no, epoch, mail, what: "q", seq: leaver.seq, reason: leaver.reason };
  }
}

function targetRows(batch: Commit): KeyRow[] {
  return [...new Set(batch.mail.map(({ no }) => no))].map((no) => ({ ...empty, no, what: "m" }));
}
