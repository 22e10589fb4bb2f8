// The first schema. `instance` is immutable, `queue` is narrow and has a row only while an instance is unfinished, `result`
// is only inserted into: finishing by updating one wide row cost twice the WAL and time. Every per-instance table leads
// with the instance number, so each can be hash-partitioned. No foreign keys (a lock and a lookup per row), triggers, or
// functions. Creates only; costs nothing on a large table.

// A row here is updated or deleted within seconds of its insert: vacuum by count, at full speed, never truncating (an
// exclusive lock).
const hot = `vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0`;

export const name = "0001_first";

export const sql = (schema: string): string => `
create table ${schema}.program (
  no int generated always as identity primary key,
  hash bytea not null unique,
  workflow text not null,
  format smallint not null,
  body bytea not null,
  debug bytea,
  created_at timestamptz(3) not null default clock_timestamp(),
  -- When a process last registered it: after a rollback the older program is the newest again.
  put_at timestamptz not null default clock_timestamp()
);
create index program_latest on ${schema}.program (workflow, put_at);

create table ${schema}.instance (
  no bigint generated always as identity primary key,
  id text not null unique check (octet_length(id) between 1 and 255),
  seed uuid not null,
  program int not null,
  parent bigint,
  parent_effect int,
  created_at timestamptz(3) not null default clock_timestamp(),
  start_at timestamptz,
  priority smallint not null default 0,
  input_hash bigint not null,
  input bytea
);

create table ${schema}.result (
  instance bigint primary key,
  finished_at timestamptz(3) not null default clock_timestamp(),
  status smallint not null, -- 1 completed, 2 failed, 3 cancelled
  outcome bytea
);

-- state: n new, s due at due_at, w waits for mail, h held by a lease, q quarantined.
-- mail counts deliveries ever made: leaving requires that it equals what the owner has read.
-- epoch counts claims; 0 means never started, so that mail does not start a delayed start early.
create table ${schema}.queue (
  instance bigint primary key,
  lease bigint,
  due_at timestamptz,
  epoch int not null default 0,
  mail int not null default 0,
  seq int not null default 0,
  format smallint not null,
  rank smallint not null default 0,
  strikes smallint not null default 0,
  state "char" not null,
  waiter text,
  reason text,
  constraint held check ((state = 'h') = (lease is not null)),
  constraint asleep check ((state = 's') = (due_at is not null))
) with (fillfactor = 70, ${hot});
-- One partial index per question: what is new, what is due, who holds what.
create index queue_new on ${schema}.queue (format, rank, instance) where state = 'n';
create index queue_due on ${schema}.queue (format, due_at) where state = 's';
create index queue_held on ${schema}.queue (lease) where state = 'h';

-- Unlogged for safety more than for speed: a lease dies with the server that granted it. After a failover that forgot
-- commits, a surviving lease would let its holder append event 11 after a lost event 10.
create unlogged table ${schema}.lease (
  id bigint primary key,
  host bigint not null,
  locked boolean not null default false,
  opened_at timestamptz not null default clock_timestamp(),
  renewed_at timestamptz(3) not null default clock_timestamp(),
  ttl interval not null,
  info text not null default ''
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

create table ${schema}.journal (
  instance bigint not null,
  at timestamptz(3) not null,
  seq int not null,
  effect int not null,
  kind smallint not null,
  attempt smallint not null,
  payload bytea,
  primary key (instance, seq)
);

create table ${schema}.snapshot (
  instance bigint not null,
  seq int not null,
  format smallint not null,
  body bytea not null,
  primary key (instance, seq)
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02);

create table ${schema}.inbox (
  instance bigint not null,
  id bigint generated always as identity,
  at timestamptz(3) not null default clock_timestamp(),
  effect int not null default 0,
  kind smallint not null,
  attempt smallint not null default 0,
  payload bytea,
  primary key (instance, id)
) with (${hot});
`;
