// Every statement but the commit (commit.ts). Each is one round trip and one transaction: a process that is stopped holds
// no lock. Arrays are parallel and sorted by instance, so that rows are locked in one order by everybody:
// instance ids < lease (share) < queue rows ascending. `offset 0` and `lateral` keep each part a lookup per instance;
// plain joins on tables not analysed yet once did not end in 40 s.

import type { Statement } from "./connect.ts";

/** Milliseconds since the epoch, of a timestamp. */
const ms = (column: string) => `round(date_part('epoch', ${column}) * 1000)`;

// A sleeper that has run before becomes due; who is new, held or quarantined stays as it is.
const asleep = `q.state = 'w' or (q.state = 's' and q.epoch > 0 and q.due_at > now())`;
export const wake = `
    mail = q.mail + n.n,
    state = case when ${asleep} then 's' else q.state end,
    due_at = case when ${asleep} then clock_timestamp() else q.due_at end`;

/** Counters of what `ins` inserted, and the rows they wake. */
const wakeParts = (s: string) => `
n as (select instance as no, count(*)::int as n from ins group by instance),
w as (update ${s}.queue q set ${wake} from n where q.instance = n.no returning q.instance, q.lease)`;

export function statements(s: string) {
  return {
    putProgram: {
      name: "putProgram",
      text: `
insert into ${s}.program (hash, workflow, format, body, debug) values ($1, $2, $3, $4, $5)
on conflict (hash) do update set put_at = clock_timestamp()
returning no`,
    },
    getProgram: {
      name: "getProgram",
      text: `select no, hash, workflow, format, body, debug from ${s}.program where no = $1`,
    },
    latestProgram: {
      name: "latestProgram",
      text: `select no, format from ${s}.program where workflow = $1 order by put_at desc limit 1`,
    },

    // start_at and priority are kept on \`instance\` so that \`returning\` carries them: joining new rows back to the input
    // was a 500 x 500 nested loop. \`order by id\`: two batches with the same ids wait for each other in one direction.
    start: {
      name: "start",
      text: `
with new as (
  insert into ${s}.instance (id, program, seed, priority, parent, parent_effect, input_hash, input, start_at)
  select id, $1, seed, priority, parent, effect, hash, input, to_timestamp(start_at / 1000)
  from unnest($4::text[], $5::uuid[], $6::smallint[], $7::bigint[], $8::int[], $9::bigint[], $10::bytea[], $11::float8[])
    as u(id, seed, priority, parent, effect, hash, input, start_at)
  order by id
  on conflict (id) do nothing
  returning no, id, priority, start_at
), put as (
  insert into ${s}.queue (instance, format, rank, state, due_at, waiter)
  select no, $2::smallint, -priority, case when start_at is null then 'n' else 's' end::"char", start_at, $3::text from new
)
select no, id from new`,
    },
    /** Those that were there already. */
    find: {
      name: "find",
      text: `select no, id, program, input_hash, seed from ${s}.instance where id = any($1::text[])`,
    },

    result: {
      name: "result",
      text: `
select u.id, i.no, p.workflow, q.state, q.epoch, q.reason, r.status, r.outcome
from unnest($1::text[]) u(id)
join ${s}.instance i on i.id = u.id
join ${s}.program p on p.no = i.program
left join ${s}.queue q on q.instance = i.no
left join ${s}.result r on r.instance = i.no`,
    },
    // Before the results are read: an end that commits after this sees the waiter, one before it is read.
    wait: {
      name: "wait",
      text: `
with k as materialized (
  select q.instance, q.waiter from ${s}.queue q
  where q.instance = any(array(select i.no from ${s}.instance i where i.id = any($1::text[])))
  order by q.instance for no key update of q
)
update ${s}.queue q
set waiter = array_to_string((array_remove(string_to_array(k.waiter, ' '), $2) || $2::text)[greatest(1, coalesce(cardinality(array_remove(string_to_array(k.waiter, ' '), $2)), 0) - 14):], ' ')
from k where q.instance = k.instance`,
    },

    deliver: {
      name: "deliver",
      text: `
with t as materialized (
  select q.instance as no from ${s}.queue q where q.instance = any($1::bigint[]) order by q.instance for no key update
), ins as (
  insert into ${s}.inbox (instance, effect, kind, attempt, payload)
  select u.* from unnest($1::bigint[], $2::int[], $3::smallint[], $4::smallint[], $5::bytea[]) as u(no, effect, kind, attempt, payload)
  where u.no = any(array(select no from t))
  returning instance
),${wakeParts(s)}
select instance as no, lease from w order by 1`,
    },

    // Parents are locked with their children, in one ascending order.
    terminate: {
      name: "terminate",
      text: `
with k as materialized (
  select q.instance as no, q.epoch, q.lease from ${s}.queue q
  where q.instance = any(array(
    select unnest($1::bigint[]) union select i.parent from ${s}.instance i where i.no = any($1::bigint[]) and i.parent is not null
  ))
  order by q.instance for update
), t as materialized (
  select k.no, i.id, i.parent, i.parent_effect
  from k, lateral (select * from ${s}.instance i where i.no = k.no offset 0) i
  where k.no = any($1::bigint[]) and k.epoch = 0 and k.lease is null
), d as (
  delete from ${s}.queue q using t where q.instance = t.no returning q.instance, q.waiter
), f as (
  insert into ${s}.result (instance, status, outcome) select instance, 3, $2::bytea from d
), ins as (
  insert into ${s}.inbox (instance, effect, kind, attempt, payload)
  select t.parent, t.parent_effect, $3::smallint, 0, $2::bytea from t
  where t.parent = any(array(select no from k except select no from t))
  returning instance
),${wakeParts(s)}
select t.no, t.id, d.waiter, t.parent is not null and w.instance is not null as told, w.lease
from t join d on d.instance = t.no left join w on w.instance = t.parent order by 1`,
    },

    history: {
      name: "history",
      text: `select seq, ${ms("at")} as at, effect, kind, attempt, payload from ${s}.journal where instance = $1 order by seq`,
    },

    openLease: {
      name: "openLease",
      text: `
insert into ${s}.lease (id, host, ttl, info, locked) values ($1, $2, $3::float8 * interval '1 millisecond', $4, $5)
on conflict (id) do nothing`,
    },
    lockLeases: { name: "lockLeases", text: `update ${s}.lease set locked = $2 where host = $1 and locked <> $2` },
    renew: {
      name: "renew",
      text: `update ${s}.lease set renewed_at = clock_timestamp() where id = any($1::bigint[]) returning id`,
    },
    closeLease: { name: "closeLease", text: `delete from ${s}.lease where id = $1` },

    // Leases past their time, and those of hosts whose lock is free; then leases that rows name and nobody has. Never
    // *waits* for another host's lock: a waiting session stops vacuum everywhere. After a server start every lock is free,
    // so leases from before it get a grace in which their hosts lock again; one opened since has lost its lock for good.
    fence: {
      name: "fence",
      text: `
with recursive f as (
  delete from ${s}.lease where id = any(array(
    select id from ${s}.lease
    where renewed_at + ttl < clock_timestamp()
    or (locked and (opened_at > pg_postmaster_start_time() or pg_postmaster_start_time() < clock_timestamp() - $1::float8 * interval '1 millisecond') and pg_try_advisory_xact_lock(host))
    for update skip locked))
  returning id
), o(lease) as (
  (select lease from ${s}.queue where state = 'h' order by lease limit 1)
  union all
  select (select q.lease from ${s}.queue q where q.state = 'h' and q.lease > o.lease order by q.lease limit 1)
  from o where o.lease is not null
)
select id as lease, true as fenced from f
union all
select o.lease, false from o where o.lease is not null and not exists (select 1 from ${s}.lease l where l.id = o.lease)`,
    },
    release: {
      name: "release",
      text: `
with r as materialized (
  select instance from ${s}.queue where lease = $1 and state = 'h' order by instance limit $2 for no key update
)
update ${s}.queue q
set state = 's', due_at = clock_timestamp(), lease = null, strikes = least(q.strikes + $3::int, 100)::smallint
from r where q.instance = r.instance and not exists (select 1 from ${s}.lease where id = $1)
returning q.instance`,
    },

    // Narrow rows only: with the input joined in, a client stopped in the middle of reading left its backend holding the
    // lease row, and nobody could fence it. The cursors skip dead index entries that a long transaction elsewhere keeps.
    claim: {
      name: "claim",
      text: `
with l as materialized (select id from ${s}.lease where id = $1 for key share),
due as materialized (
  select instance, due_at from ${s}.queue where state = 's' and format = $2 and due_at > $5::text::timestamptz and due_at <= now()
  order by due_at limit coalesce((select $3::int from l), 0) for no key update skip locked
), new as materialized (
  select instance from ${s}.queue where state = 'n' and format = $2 and (rank, instance) > ($6::smallint, $7::bigint)
  order by rank, instance limit coalesce((select $4::int from l), 0) for no key update skip locked
), u as (
  update ${s}.queue q set state = 'h', lease = $1, due_at = null, epoch = q.epoch + 1
  where q.instance = any(array(select instance from due union all select instance from new))
  returning q.instance as no, q.epoch, q.seq, q.strikes, q.rank
)
select u.*, due.due_at::text as due from u left join due on due.instance = u.no`,
    },
    held: {
      name: "held",
      text: `select instance as no, epoch from ${s}.queue where lease = $1 and state = 'h' order by 1`,
    },

    load: {
      name: "load",
      text: `
with u as materialized (
  select q.instance as no, q.mail, q.epoch, q.waiter
  from unnest($2::bigint[]) u(no), lateral (select * from ${s}.queue q where q.instance = u.no offset 0) q
  where q.lease = $1 and q.state = 'h'
)
select 'q' as what, u.no, u.mail::bigint as seq, ${ms("i.created_at")} as at, i.program as effect, u.epoch as kind, null::int as attempt,
  case when not exists (select 1 from ${s}.snapshot s where s.instance = u.no) then i.input end as payload,
  json_build_array(i.id, i.seed, i.parent, i.parent_effect, u.waiter) as more
from u, lateral (select * from ${s}.instance i where i.no = u.no offset 0) i
union all
select 's', u.no, s.seq, null, null, s.format, null, s.body, null
from u, lateral (select * from ${s}.snapshot s where s.instance = u.no order by s.seq desc limit 1) s
union all
select 'j', u.no, j.seq, ${ms("j.at")}, j.effect, j.kind, j.attempt, j.payload, null
from u, lateral (
  select * from ${s}.journal j
  where j.instance = u.no
  and j.seq > coalesce((select s.seq from ${s}.snapshot s where s.instance = u.no order by s.seq desc limit 1), 0)
  order by j.seq offset 0
) j
union all
select 'm', u.no, m.id, ${ms("m.at")}, m.effect, m.kind, m.attempt, m.payload, null
from u, lateral (select * from ${s}.inbox m where m.instance = u.no order by m.id offset 0) m
order by 2, 3`,
    },
    mail: {
      name: "mail",
      text: `
select q.instance as no, q.mail, m.id, ${ms("m.at")} as at, m.effect, m.kind, m.attempt, m.payload
from unnest($2::bigint[]) u(no)
join ${s}.queue q on q.instance = u.no and q.lease = $1
left join lateral (select * from ${s}.inbox m where m.instance = u.no order by m.id offset 0) m on true
order by 1, 3`,
    },
    nextDue: {
      name: "nextDue",
      text: `select ceil(date_part('epoch', due_at) * 1000) as due from ${s}.queue where state = 's' and format = $1 order by due_at limit 1`,
    },

    // After a commit whose reply was lost, or whose rows were not all taken: what is still ours, and what is there.
    mine: {
      name: "mine",
      text: `
select q.instance as no from ${s}.queue q join unnest($2::bigint[], $3::int[]) as u(no, epoch) on q.instance = u.no and q.epoch = u.epoch
where q.lease = $1
union all
select -1 from ${s}.lease where id = $1`,
    },
    written: {
      name: "written",
      text: `
select j.instance as no, j.seq, ${ms("j.at")} as at, j.effect, j.kind, j.attempt, j.payload
from unnest($1::bigint[], $2::int[]) as u(no, seq), lateral (select * from ${s}.journal j where j.instance = u.no and j.seq = u.seq offset 0) j`,
    },
    targets: {
      name: "targets",
      text: `select distinct lease from ${s}.queue where instance = any($1::bigint[]) and lease is not null`,
    },
  } satisfies Record<string, Statement>;
}
