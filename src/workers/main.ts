// The entry of a worker process: loads the user's modules, then attaches. Everything it needs comes by environment
// variables, which are removed before user code runs: the token is nobody else's business.

import { Worker } from "node:worker_threads";
import { described, located } from "./modules.ts";
import { attach, attachFailed, type Exit, type Identity } from "./worker.ts";

const identity: Identity = {
  address: take("WAYMARK_WORKER_ADDR"),
  worker: take("WAYMARK_WORKER_ID"),
  token: take("WAYMARK_WORKER_TOKEN"),
  concurrency: Number(take("WAYMARK_WORKER_CONCURRENCY")),
};
const modules = JSON.parse(take("WAYMARK_WORKER_MODULES")) as { name: string; specifier: string }[];
const parent = Number(take("WAYMARK_WORKER_PARENT"));

const exit: Exit = (code, why) => {
  if (code !== 0) process.stderr.write(`worker ${identity.worker} stops: ${why}\n`);
  process.exit(code);
};

// The host decides when workers leave; Ctrl-C in a terminal reaches them all at once.
process.on("SIGINT", () => {});
// A rejection that nobody awaits, often of an attempt that has timed out, must not take its neighbours down.
process.on("unhandledRejection", (reason) => {
  process.stderr.write(`unhandled rejection in an action: ${described(reason)}\n`);
});
watchParent(parent);
await main();

async function main(): Promise<void> {
  let worker: { terminate(): void } | undefined;
  process.on("SIGTERM", () => {
    if (worker === undefined) exit(1, "terminated while starting");
    else worker.terminate();
  });
  for (const { name, specifier } of modules) {
    try {
      await import(specifier);
    } catch (error) {
      await attachFailed(identity, name, located(error, specifier));
      process.exit(1); // the host says why
    }
  }
  worker = attach(identity, exit);
}

// On a thread of its own: an action that blocks the event loop must not keep the process alive after its host.
function watchParent(pid: number): void {
  if (process.ppid !== pid) exit(1, "the host is gone");
  const watch = `
    const { workerData } = require("node:worker_threads");
    setInterval(() => { if (process.ppid !== workerData) process.kill(process.pid, "SIGKILL"); }, 500);`;
  const thread = new Worker(watch, {
    eval: true,
    workerData: pid,
    execArgv: [],
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 },
  });
  thread.unref();
}

function take(name: string): string {
  const value = process.env[name];
  delete process.env[name];
  if (value !== undefined) return value;
  process.stderr.write(`${name} is not set: this program is started by a host, not by hand\n`);
  process.exit(1);
}
