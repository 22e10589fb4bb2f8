// No worker outlives its host, whatever it is doing.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

it("a host killed by SIGKILL leaves no worker behind, not even one that blocks", async () => {
  const tsx = fileURLToPath(import.meta.resolve("tsx"));
  const script = path.join(import.meta.dirname, "fixtures", "host.ts");
  const host = spawn(process.execPath, ["--import", tsx, script], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface(host.stdout), "line");
  const pids = JSON.parse(line as string) as number[];
  expect(pids).toHaveLength(2);
  expect(await Promise.all(pids.map(running))).toEqual([true, true]);

  host.kill("SIGKILL");
  // The workers hold the host's stdout open no longer than they live: wait for the processes themselves.
  while ((await Promise.all(pids.map(running))).some(Boolean)) await new Promise((resolve) => setImmediate(resolve));
}, 20_000);

/** A zombie that nobody reaps yet has ended all the same. */
async function running(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  return status === undefined ? process.platform !== "linux" : !/\) Z /.test(status);
}
