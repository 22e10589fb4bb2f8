// The server we start ourselves: it starts, keeps its data, and goes away with us, however we go.

import { type ChildProcess, spawn } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type EmbeddedPostgres, startPostgres } from "../../src/embedded.ts";

let directory: string;
const running: EmbeddedPostgres[] = [];

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), "waymark-embedded-"));
  await chmod(directory, 0o755); // as root the server runs as another user
});
afterEach(async () => {
  for (const server of running.splice(0)) await server.stop();
  await rm(directory, { recursive: true, force: true });
});

async function start(more: Partial<Parameters<typeof startPostgres>[0]> = {}): Promise<EmbeddedPostgres> {
  const server = await startPostgres({ directory, ...more });
  running.push(server);
  return server;
}

async function query(url: string, text: string) {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  return client.query(text).finally(() => client.end());
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

test("data survives a stop, fsync is on, and only this machine is listened to", async () => {
  const first = await start();
  await query(first.url, "create table kept as select 42 as answer");
  const { rows } = await query(
    first.url,
    "select current_setting('fsync') as fsync, current_setting('listen_addresses') as listen, current_setting('unix_socket_directories') as sockets",
  );
  expect(rows).toEqual([{ fsync: "on", listen: "127.0.0.1", sockets: "" }]);
  await first.stop();
  await first.stop();
  expect(alive(first.pid)).toBe(false);
  const second = await start();
  expect((await query(second.url, "select answer from kept")).rows).toEqual([{ answer: 42 }]);
  const noPassword = new URL(second.url);
  noPassword.password = "guess";
  await expect(query(noPassword.href, "select 1")).rejects.toMatchObject({ code: "28P01" });
});

test("what is not persistent leaves no file", async () => {
  const server = await start({ persistent: false });
  await server.stop();
  await expect(readdir(directory)).rejects.toMatchObject({ code: "ENOENT" });
});

test("a folder that the server's user cannot reach has its data elsewhere, and says where", async () => {
  await chmod(directory, 0o700);
  const server = await start({ persistent: false });
  const elsewhere = await readFile(path.join(directory, "elsewhere"), "utf8").catch(() => null);
  expect(elsewhere === null).toBe(process.getuid?.() !== 0); // only root starts it as somebody else
  const data = path.join(elsewhere?.trim() ?? directory, "data");
  expect(await readdir(data)).toContain("postmaster.pid");
  await server.stop();
  await expect(readdir(data)).rejects.toMatchObject({ code: "ENOENT" });
});

test("a folder in use is refused by name, a port in use by number", async () => {
  const server = await start();
  await expect(startPostgres({ directory })).rejects.toMatchObject({
    code: "WM563",
    message: expect.stringContaining(`process ${process.pid}`),
  });
  const other = path.join(directory, "other");
  await expect(startPostgres({ directory: other, port: server.port })).rejects.toMatchObject({
    code: "WM566",
    message: expect.stringContaining(`${server.port}`),
  });
});

test("after a crash of the server the folder starts again", async () => {
  const first = await start();
  await query(first.url, "create table kept as select 1 as answer");
  const gone = until(() => !alive(first.pid));
  process.kill(first.pid, "SIGKILL");
  await gone;
  expect(await readFile(path.join(directory, "data", "postmaster.pid"), "utf8")).toContain(`${first.pid}\n`);
  const second = await start();
  expect((await query(second.url, "select answer from kept")).rows).toEqual([{ answer: 1 }]);
});

test("a process that is killed with SIGKILL leaves no server", async () => {
  const { child, pid } = await startElsewhere();
  expect(alive(pid)).toBe(true);
  child.kill("SIGKILL");
  await until(() => !alive(pid));
});

test("a server that did survive its process is stopped by the next start", async () => {
  const { child, pid, watch } = await startElsewhere();
  process.kill(watch, "SIGKILL");
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
  expect(alive(pid)).toBe(true);
  const server = await start();
  expect(alive(pid)).toBe(false);
  expect((await query(server.url, "select 1 as one")).rows).toEqual([{ one: 1 }]);
});

test("signals and exit codes of the process are its own", async () => {
  const { child, pid } = await startElsewhere();
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(signal ?? code)));
  child.kill("SIGTERM");
  expect(await ended).toBe("SIGTERM");
  await until(() => !alive(pid)); // it writes into the folder until then
});

/** The same in another process, as its own owner. */
async function startElsewhere(): Promise<{ child: ChildProcess; pid: number; watch: number }> {
  const door = pathToFileURL(path.join(import.meta.dirname, "../../src/embedded.ts")).href;
  const script = `import { startPostgres } from ${JSON.stringify(door)};
    const server = await startPostgres({ directory: ${JSON.stringify(directory)} });
    console.log(JSON.stringify({ pid: server.pid }));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout!.once("data", (chunk) => resolve(String(chunk)));
    child.once("exit", (code) => reject(new Error(`it ended with ${code}`)));
  });
  const { pid } = JSON.parse(line);
  return { child, pid, watch: await watchOf(pid) };
}

/** The shell that watches a server names its pid. */
async function watchOf(pid: number): Promise<number> {
  for (const entry of await readdir("/proc")) {
    const command = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
    const parts = command.split("\0");
    if (parts.includes("waymark-postgres-watch") && parts.includes(String(pid))) return Number(entry);
  }
  throw new Error(`nobody watches ${pid}`);
}

/** A process of another family ends without telling us; there is nothing but to look. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}
