// The main job, for anyone to see: a workflow outlives the process that runs it.
// Starts a real Postgres, a host with two worker processes, runs welcomeEmails, kills the host with SIGKILL while emails
// are in flight, starts another, and shows that none was lost.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import ansis from "ansis";
import pg from "pg";
import { register } from "tsx/esm/api";
import { startPostgres } from "waymark/embedded";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, "..", "..");
const userCount = 60;
const began = performance.now();
const children = new Set();
const logs = []; // of the hosts, shown only if something goes wrong
let postgres;
let db;
let data;

const say = (text) =>
  console.log(`${ansis.dim(`${((performance.now() - began) / 1000).toFixed(1).padStart(5)}s`)}  ${text}`);

async function main() {
  console.log(`\n${ansis.bold("waymark")}  a workflow outlives the process that runs it\n`);
  await mkdir(path.join(root, ".waymark"), { recursive: true });
  data = await mkdtemp(path.join(root, ".waymark", "demo-"));
  postgres = await startPostgres({ directory: path.join(data, "postgres"), persistent: false });
  process.env.WAYMARK_DATABASE_URL = postgres.url;
  say(`Postgres is up on port ${postgres.port}`);

  await command("migrate");
  db = new pg.Pool({ connectionString: postgres.url, max: 2 });
  await db.query(`create schema demo;
    create table demo.attempt (address text, attempt int, pid int, at timestamptz default clock_timestamp());
    create table demo.mail (key text primary key, address text, subject text, at timestamptz default clock_timestamp())`);

  let host = await startHost();
  say(`host ${ansis.cyan(host.pid)} runs with two worker processes`);

  register();
  const { welcomeEmails } = await import("./workflows.ts");
  const { shutdown } = await import("waymark");
  const ids = Array.from({ length: userCount }, (_, index) => `user-${String(index + 1).padStart(3, "0")}`);
  const handle = await welcomeEmails.with({ id: "welcome-batch-1" }).start(ids);
  say(`${ansis.bold("welcomeEmails")} started for ${ids.length} users as instance ${ansis.cyan(handle.id)}`);
  const result = handle.result();

  await until(async () => (await progress()).sent >= 15, "emails to be on their way");
  const before = await progress();
  line();
  host.kill("SIGKILL");
  await once(host, "exit");
  const killedAt = performance.now();
  say(
    `${ansis.red.bold("SIGKILL")} to host ${host.pid}: ${before.sent} emails sent, ${before.started - before.sent} attempts in flight`,
  );

  host = await startHost();
  say(`host ${ansis.cyan(host.pid)} started in its place`);
  await until(async () => (await progress()).pids.some((pid) => !before.pids.includes(pid)), "the new host to go on");
  const recoveredMs = performance.now() - killedAt;
  line();
  say(`${ansis.green("recovered")}: it went on ${seconds(recoveredMs)} after the kill, start of the process included`);

  await until(async () => (await progress()).sent >= expected(), "the remaining emails");
  line();
  say("all emails sent; the workflow sleeps for a second, durably");
  const value = await result;
  await summary(value, handle);
  await shutdown();
}

async function summary(value, handle) {
  const {
    rows: [count],
  } = await db.query(`select
    (select count(*)::int from demo.mail) as mails,
    (select count(distinct address)::int from demo.mail) as addresses,
    (select count(*)::int from demo.attempt) as attempts,
    (select count(*)::int from (select address, attempt from demo.attempt group by 1, 2 having count(*) > 1) again) as repeated`);
  const { rows: busy } = await db.query(
    "select attempt from demo.attempt where address = 'user-013@example.com' order by at",
  );
  const rows = [
    ["result", JSON.stringify(value)],
    ["status", await handle.status()],
    ["emails sent", `${count.mails} to ${count.addresses} addresses, none lost, none twice`],
    ["attempts made", `${count.attempts}`],
    [
      "  cut off by the kill",
      `${count.attempts - count.mails - (new Set(busy.map((row) => row.attempt)).size - 1)}, made again`,
    ],
    ["  busy mailbox", `user-013@example.com: attempts ${busy.map((row) => row.attempt).join(", ")}`],
  ];
  console.log(`\n${rows.map(([name, text]) => `  ${ansis.dim(name.padEnd(24))}${text}`).join("\n")}\n`);
  if (count.mails !== expected() || count.addresses !== expected() || value.sent !== expected()) {
    throw new Error(`expected ${expected()} emails; sent ${count.mails}, reported ${JSON.stringify(value)}`);
  }
}

const expected = () => userCount - Math.floor(userCount / 10);

async function progress() {
  const {
    rows: [row],
  } = await db.query(
    "select (select count(*)::int from demo.mail) as sent, (select count(*)::int from demo.attempt) as started, (select array_agg(distinct pid) from demo.attempt) as pids",
  );
  if (process.stdout.isTTY) {
    const width = 30;
    const done = Math.round((row.sent / expected()) * width);
    process.stdout.write(
      `\r        ${ansis.green("█".repeat(done))}${ansis.dim("░".repeat(width - done))} ${row.sent}/${expected()} emails, ${row.started} attempts `,
    );
  }
  return row;
}

function line() {
  if (process.stdout.isTTY) process.stdout.write("\r\x1b[K");
}

/** Asks until the answer is truthy; the demo only watches, nothing in waymark waits like this. */
async function until(ask, what, limitMs = 30_000) {
  const limit = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > limit) throw new Error(`gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
}

async function startHost() {
  const child = spawn(process.execPath, [path.join(root, "dist/cli/start-workers.js")], {
    cwd: root,
    env: {
      ...process.env,
      WAYMARK_USER_MODULE: path.join(here, "workflows.ts"),
      WAYMARK_WORKER_COUNT: "2",
      WAYMARK_CONCURRENT_PER_WORKER: "4",
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  let log = "";
  await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the host ended with code ${code}\n${log}`)));
    child.stderr.on("data", (chunk) => {
      log += chunk;
      logs.push(String(chunk));
      if (log.includes("host ready")) resolve();
    });
  });
  return child;
}

async function command(...args) {
  const child = spawn(process.execPath, [path.join(root, "dist/cli/main.js"), ...args], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`waymark ${args.join(" ")} ended with code ${code}`);
}

async function stopAll() {
  for (const child of children) {
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
  }
  await db?.end();
  await postgres?.stop();
  if (data) await rm(data, { recursive: true, force: true });
}

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

try {
  await main();
} catch (error) {
  console.error(error);
  console.error(logs.join(""));
  process.exitCode = 1;
} finally {
  await stopAll();
}
if (!process.exitCode) say(`everything it started is stopped; ${seconds(performance.now() - began)} in all`);
