// `npm run bench [-- chain fanout latency burst history]`: waymark on the embedded Postgres, each workload beside its floor of
// the same run. Prints one JSON line a measurement and a table of ratios. Absolute figures move with the machine; ratios
// of one run do not.
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { shutdown } from "waymark";
import { startPostgres } from "waymark/embedded";
import { configFrom, inlinePool, openPostgres, processPool, startHost, systemClock } from "waymark/engine";
import { floor } from "./floor.mjs";
import { chain, fanout } from "./workflows.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith("-"));
const workloads = { chain: chains, fanout: fan, latency, burst, history };
for (const name of wanted) {
  if (!(name in workloads)) {
    console.error(`There is no workload ${name}: ${Object.keys(workloads).join(", ")}.`);
    process.exit(1);
  }
}

const directory = await mkdtemp(path.join(os.tmpdir(), "waymark-bench-"));
const postgres = process.env.WAYMARK_BENCH_DATABASE_URL
  ? { url: process.env.WAYMARK_BENCH_DATABASE_URL, stop: async () => {} }
  : await startPostgres({ directory, persistent: false });
process.env.WAYMARK_DATABASE_URL = postgres.url;
const table = [];
const admin = new pg.Client({ connectionString: postgres.url });
await admin.connect();
let store;
let ground;
try {
  store = await openPostgres(postgres.url);
  await store.migrate();
  ground = await floor(postgres.url);
  await ground.run(500, 4); // warm
  for (const name of wanted.length > 0 ? wanted : Object.keys(workloads)) await workloads[name]();
  console.log("");
  console.table(Object.fromEntries(table.map(({ workload, ...row }) => [workload, row])));
} finally {
  await shutdown();
  await ground?.close();
  await store?.close();
  await admin.end();
  await postgres.stop();
  await rm(directory, { recursive: true, force: true });
}

/**
 * Work of `instances` instances with `steps` actions each, inline, on a warm host: from the first start to the last
 * durable result. The floor writes the same rows: instances, one journal row a step, results.
 */
async function throughput(workload, workflow, instances, steps, args) {
  const host = await startHost({
    store,
    pool: inlinePool({ clock: systemClock, concurrency: 10_000 }),
    config: configFrom({ ...process.env, WAYMARK_MAX_CONCURRENT_INSTANCES: "1000" }),
  });
  for (let warmed = 0; warmed < 20_000; warmed += Math.min(instances, 1000) * steps) {
    await startAll(workflow, Math.min(instances, 1000), args); // V8 has seen the code before it is timed
    await drained();
  }
  const base = await ground.run(instances, steps);
  const before = await counters();
  const done = await results();
  const began = performance.now();
  const handles = await startAll(workflow, instances, args);
  const startMs = performance.now() - began;
  await Promise.all(handles.slice(-10).map((handle) => handle.result())); // pushed; the rest is counted
  await until(async () => (await results()) - done >= instances);
  const ms = performance.now() - began;
  const after = await counters();
  await host.close({ graceMs: 5000 });
  const total = instances * steps;
  const floorMs = base.startMs + base.workMs;
  report(workload, {
    steps: total,
    steps_per_s: Math.round((total / ms) * 1000),
    floor_steps_per_s: Math.round((total / floorMs) * 1000),
    ratio_to_floor: round(floorMs / ms),
    starts_per_s: Math.round((instances / startMs) * 1000),
    commits_per_step: round((after.commits - before.commits) / total),
    wal_bytes_per_step: Math.round((after.wal - before.wal) / total),
  });
}

function chains() {
  return throughput("chain", chain, 500, 10, [10]);
}

function fan() {
  return throughput("fanout", fanout, 1, 2000, [2000]);
}

function burst() {
  return throughput("burst", chain, 10_000, 1, [1]);
}

/** An idle host: await run() of one action, then what each further action adds; inline and through a worker process. */
async function latency() {
  for (const kind of ["inline", "process"]) {
    const pool =
      kind === "inline"
        ? inlinePool({ clock: systemClock, concurrency: 100 })
        : await processPool({ count: 1, concurrency: 10, modules: [path.join(here, "workflows.mjs")], log: quiet });
    const host = await startHost({ store, pool, config: configFrom(process.env) });
    for (let index = 0; index < 30; index++) await chain.run(1);
    const bare = percentiles(await ground.commits(200));
    const one = await timed(200, () => chain.run(1));
    const many = await timed(20, () => chain.run(51));
    await host.close({ graceMs: 5000 });
    report(`latency ${kind}`, {
      p50_ms: round(one.p50),
      p95_ms: round(one.p95),
      p99_ms: round(one.p99),
      commit_p50_ms: round(bare.p50),
      ratio_to_commit: round(one.p50 / bare.p50),
      per_further_action_ms: round((many.p50 - one.p50) / 50),
      further_to_commit: round((many.p50 - one.p50) / 50 / bare.p50),
    });
  }
}

/** A chain's cost per step must not grow with its length: early and late steps of one long chain, in time and WAL. */
async function history() {
  const pool = inlinePool({ clock: systemClock, concurrency: 100 });
  const host = await startHost({ store, pool, config: configFrom(process.env) });
  await chain.run(200);
  const cost = async (steps) => {
    const before = await counters();
    const began = performance.now();
    await chain.run(steps);
    const ms = performance.now() - began;
    const after = await counters();
    return { ms: ms / steps, wal: (after.wal - before.wal) / steps };
  };
  const short = await cost(500);
  const long = await cost(4000);
  await host.close({ graceMs: 5000 });
  report("history 4000 against 500", {
    ms_per_step: round(long.ms),
    time_ratio: round(long.ms / short.ms),
    wal_bytes_per_step: Math.round(long.wal),
    wal_ratio: round(long.wal / short.wal),
  });
}

async function startAll(workflow, count, args) {
  const run = randomUUID();
  const handles = [];
  for (let from = 0; from < count; from += 1000) {
    const n = Math.min(1000, count - from);
    handles.push(
      ...(await Promise.all(
        Array.from({ length: n }, (_, index) => workflow.with({ id: `${run}-${from + index}` }).start(...args)),
      )),
    );
  }
  return handles;
}

async function timed(count, work) {
  const times = [];
  for (let index = 0; index < count; index++) {
    const began = performance.now();
    await work();
    times.push(performance.now() - began);
  }
  return percentiles(times);
}

function percentiles(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

async function results() {
  const { rows } = await admin.query("select count(*)::int as n from waymark.result");
  return rows[0].n;
}

async function drained() {
  await until(async () => (await admin.query("select count(*)::int as n from waymark.queue")).rows[0].n === 0);
}

/** Commits of the database and WAL written; our own reading is part of both, and small. */
async function counters() {
  await new Promise((resolve) => setTimeout(resolve, 1100)); // backends publish their counters once a second
  const { rows } = await admin.query(
    "select (select sum(xact_commit)::float8 from pg_stat_database where datname = current_database()) as commits, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 as wal",
  );
  return rows[0];
}

async function until(ask, limitMs = 120_000) {
  const limit = performance.now() + limitMs;
  while (!(await ask())) {
    if (performance.now() > limit) throw new Error("the workload did not end");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function report(workload, figures) {
  console.log(JSON.stringify({ workload, ...figures, node: process.version }));
  table.push({ workload, ...figures });
}

function round(value) {
  return Number(value.toFixed(3));
}

function quiet() {}
for (const level of ["debug", "info", "warn", "error"]) quiet[level] = () => {};
