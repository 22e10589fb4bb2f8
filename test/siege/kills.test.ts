// A hundred SIGKILLs at random moments, of worker processes and of whole hosts, while workflows run: every workflow ends
// with the right result, every email is sent, every effect settles once. Real processes, real Postgres. A failing run
// prints its seed; `WAYMARK_SIEGE_SEED=n` repeats the choices (not the machine's timing).
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";

import { shutdown } from "waymark";
import { freshDatabase, type TestDatabase } from "../setup/database.ts";
import { batch } from "./workflows.mjs";

const root = path.join(import.meta.dirname, "..", "..");
const kills = Number(process.env.WAYMARK_SIEGE_KILLS ?? 100);
const seed = Number(process.env.WAYMARK_SIEGE_SEED ?? Date.now() % 1_000_000);
const width = 12;
const hosts = new Map<number, { child: ChildProcess; ready: Promise<void>; log: string[] }>();
let database: TestDatabase;
let db: pg.Pool;

beforeAll(async () => {
  database = await freshDatabase();
  db = new pg.Pool({ connectionString: database.url, max: 2 });
  await db.query(`create schema siege;
    create table siege.attempt (key text, address text, attempt int, pid int);
    create table siege.sent (key text primary key, address text)`);
  process.env.WAYMARK_DATABASE_URL = database.url;
});

afterAll(async () => {
  for (const { child } of hosts.values()) child.kill("SIGTERM");
  await Promise.all(
    [...hosts.values()].map(({ child }) =>
      child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined,
    ),
  );
  await shutdown();
  delete process.env.WAYMARK_DATABASE_URL;
  await db.end();
  await database.drop();
});

test(`${kills} kills at random moments lose nothing (seed ${seed})`, { timeout: 300_000 }, async () => {
  const random = generator(seed);
  await Promise.all([startHost(), startHost()].map((host) => host.ready));

  const running: Promise<{ sent: number; distinct: number }>[] = [];
  const names: string[] = [];
  const keepBusy = () => {
    const name = `b${names.length}`;
    names.push(name);
    running.push(batch.with({ id: `siege-${name}` }).run(name, width));
  };
  for (let index = 0; index < 6; index++) keepBusy();

  for (let kill = 0; kill < kills; kill++) {
    await pause(20 + random() * 300);
    if (kill % 4 === 0) keepBusy();
    const living = [...hosts.values()];
    const victim = living[Math.floor(random() * living.length)]!;
    if (random() < 0.5) {
      await victim.ready;
      const workers = childrenOf(victim.child.pid!);
      const worker = workers[Math.floor(random() * workers.length)];
      if (worker !== undefined) process.kill(worker, "SIGKILL");
    } else {
      const gone = once(victim.child, "exit");
      victim.child.kill("SIGKILL");
      await gone;
      startHost();
    }
  }

  const results = await Promise.all(running);
  expect(results).toEqual(names.map(() => ({ sent: width, distinct: width + 1 })));

  const expected = names.flatMap((name) => [
    ...Array.from({ length: width }, (_, index) => `${index % 7 === 3 ? "busy" : "plain"}-${name}-${index}`),
    ...[0, 1, 2].map((step) => `chain-${name}-${step}`),
  ]);
  const sent = await db.query("select address, count(*)::int as times from siege.sent group by address");
  expect(new Map(sent.rows.map((row) => [row.address, row.times]))).toEqual(
    new Map(expected.map((address) => [address, 1])),
  );

  const twice = await db.query(
    "select instance, effect, count(*) from waymark.journal where kind in (2, 3, 5) group by 1, 2 having count(*) > 1",
  );
  expect(twice.rows).toEqual([]);
  const left = await db.query("select * from waymark.queue");
  expect(left.rows).toEqual([]);
});

function startHost() {
  const child = spawn(process.execPath, [path.join(root, "dist/cli/start-workers.js")], {
    cwd: root,
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      ...process.env,
      VITEST: undefined,
      WAYMARK_DATABASE_URL: database.url,
      WAYMARK_USER_MODULE: path.join(import.meta.dirname, "workflows.mjs"),
      WAYMARK_WORKER_COUNT: "2",
      WAYMARK_CONCURRENT_PER_WORKER: "4",
    },
  });
  const log: string[] = [];
  const ready = new Promise<void>((resolve) => {
    child.once("exit", () => {
      hosts.delete(child.pid!);
      resolve();
    });
    child.stderr!.on("data", (chunk: Buffer) => {
      log.push(String(chunk));
      if (log.join("").includes("host ready")) resolve();
    });
  });
  const host = { child, ready, log };
  hosts.set(child.pid!, host);
  return host;
}

/** Processes whose parent is `pid`, from /proc. */
function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return (
          Number(
            readFileSync(`/proc/${name}/stat`, "utf8")
              .replace(/^.*\) /s, "")
              .split(" ")[1],
          ) === pid
        );
      } catch {
        return false; // ended while we looked
      }
    })
    .map(Number);
}

/** The moments must be random in real time, so this one waits in real time. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** mulberry32: small, seeded, good enough to choose victims. */
function generator(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
