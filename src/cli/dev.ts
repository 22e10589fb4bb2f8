// `waymark dev`: everything in one command. An embedded Postgres kept in .waymark/, migrations, and a host in a process of
// its own that is handed over to a fresh one whenever a source file changes. Clients on this machine find it through
// .waymark/dev.json.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import ansis from "ansis";
import { watch } from "chokidar";

import { WaymarkError } from "../base/failure.ts";
import { startPostgres } from "../embedded.ts";
import { openPostgres } from "../engine.ts";

const settleMs = 150; // editors write a file in several steps
const graceMs = 5_000;
const ignored = /(^|[\\/])(node_modules|\.git|\.waymark|dist|coverage)([\\/]|$)/;

export async function dev(modules: string[], options: { directory: string }): Promise<void> {
  for (const module of modules) {
    if (!existsSync(module))
      throw new WaymarkError("WM602", `There is no module ${module}`, { hint: `Looked for ${path.resolve(module)}.` });
  }
  const directory = path.resolve(options.directory);
  const notice = path.join(directory, "dev.json");
  refuseSecond(notice);
  mkdirSync(directory, { recursive: true });
  if (!existsSync(path.join(directory, ".gitignore"))) writeFileSync(path.join(directory, ".gitignore"), "*\n");

  const stop = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
  });
  say("starting Postgres");
  const postgres = await startPostgres({ directory: path.join(directory, "postgres"), persistent: true });
  try {
    const store = await openPostgres(postgres.url);
    await store.migrate();
    await store.close();
    writeFileSync(notice, JSON.stringify({ url: postgres.url, pid: process.pid }));
    const host = new Host(modules, postgres.url);
    await host.start();
    const watcher = watch(".", { ignored: (file) => ignored.test(file), ignoreInitial: true });
    let timer: NodeJS.Timeout | undefined;
    watcher.on("all", (_event, file) => {
      if (!/\.([cm]?[jt]sx?|json)$/.test(file)) return;
      clearTimeout(timer);
      timer = setTimeout(() => void host.reload(file), settleMs); // reload reports its own failures
    });
    say(`${ansis.green("ready")}  ${ansis.dim(`database ${postgres.url}`)}`);
    say(ansis.dim("clients in this project find it by themselves; Ctrl-C stops everything"));
    await stop;
    clearTimeout(timer);
    await watcher.close();
    await host.stop();
  } finally {
    rmSync(notice, { force: true });
    await postgres.stop();
    say("stopped");
  }
}

/** The host process: one at a time, each change in turn. */
class Host {
  readonly #modules: string[];
  readonly #url: string;
  #child: ChildProcess | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(modules: string[], url: string) {
    this.#modules = modules;
    this.#url = url;
  }

  async start(): Promise<void> {
    const entry = fileURLToPath(
      new URL(import.meta.url.endsWith(".ts") ? "./start-workers.ts" : "./start-workers.js", import.meta.url),
    );
    const child = spawn(process.execPath, [...process.execArgv, entry], {
      stdio: ["ignore", "inherit", "inherit"],
      env: {
        ...process.env,
        WAYMARK_DATABASE_URL: this.#url,
        WAYMARK_USER_MODULE: this.#modules.map((module) => path.resolve(module)).join(","),
        WAYMARK_WORKER_COUNT: process.env.WAYMARK_WORKER_COUNT ?? "1",
        WAYMARK_LOG_FORMAT: process.env.WAYMARK_LOG_FORMAT ?? "pretty",
      },
      detached: process.platform !== "win32", // Ctrl-C reaches us alone, and we hand over in order
    });
    this.#child = child;
    child.once("exit", (code) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      if (code !== 0) say(ansis.yellow(`the host ended with code ${code}; it starts again at the next change`));
    });
  }

  reload(file: string): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      say(`${path.relative(".", file)} changed: reloading`);
      await this.stop();
      await this.start();
    });
    return this.#turn;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    const hard = setTimeout(() => child.kill("SIGKILL"), graceMs * 2);
    await gone;
    clearTimeout(hard);
  }
}

function refuseSecond(notice: string): void {
  if (!existsSync(notice)) return;
  try {
    const { pid } = JSON.parse(readFileSync(notice, "utf8")) as { pid: number };
    process.kill(pid, 0);
    throw new WaymarkError("WM605", `waymark dev is running here already, as process ${pid}`, {
      hint: "Stop that one, or give another --directory.",
    });
  } catch (error) {
    if (error instanceof WaymarkError) throw error;
    rmSync(notice, { force: true }); // its process is gone: it was killed before it could tidy up
  }
}

function say(text: string): void {
  process.stderr.write(`${ansis.magenta("waymark")} ${text}\n`);
}
