// One worker as an operating-system process: spawned, its output passed through the log line by line, ended for sure.

import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

/** Where a pool tells what happens. pino's logger is one. */
export interface Log {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

export interface Spawned {
  readonly pid: number;
  /** Resolves, never rejects, when the process is gone and its output is read. */
  readonly gone: Promise<Gone>;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
}

export interface Gone {
  /** Such as "exited with code 1" or "was killed by SIGKILL". */
  how: string;
  code: number | null;
  /** The last lines it wrote to stderr. */
  said: string;
}

/** The file that a worker process runs: beside this one, and as TypeScript or JavaScript as this one is. */
export const entry = fileURLToPath(new URL(`./main.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url));

const saidLines = 30;
const lineMax = 64 * 1024;

/** Spawn `command`, its first element the program. Output goes to `log` with the worker's id. */
export function spawnWorker(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  worker: string,
  log: Log,
): Promise<Spawned> {
  const [program, ...rest] = command as [string, ...string[]];
  const child = spawn(program, rest, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const said: string[] = [];
  const fields = { worker, pid: child.pid };
  const output = [
    lines(child.stdout, (line) => log.info(fields, line)),
    lines(child.stderr, (line) => {
      said.push(line);
      if (said.length > saidLines) said.shift();
      log.warn(fields, line);
    }),
  ];
  return new Promise((resolve, reject) => {
    child.once("error", reject); // only where it could not be started; after that the promise is settled
    child.once("spawn", () =>
      resolve({ pid: child.pid as number, gone: gone(child, output, said), kill: (signal) => void child.kill(signal) }),
    );
  });
}

async function gone(child: ChildProcess, output: Promise<void>[], said: string[]): Promise<Gone> {
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.once("exit", (...end) => resolve(end));
  });
  // Grandchildren may hold the pipes open for ever; what is in them now is read in a moment.
  const read = Promise.all(output);
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, 200);
  });
  await Promise.race([read, limit]);
  clearTimeout(timer);
  child.stdout?.destroy();
  child.stderr?.destroy();
  const how = signal === null ? `exited with code ${code}` : `was killed by ${signal}`;
  return { how, code, said: said.join("\n") };
}

function lines(stream: Readable, take: (line: string) => void): Promise<void> {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const all = (rest + text).split("\n");
    rest = all.pop() ?? "";
    for (const line of all) take(line.endsWith("\r") ? line.slice(0, -1) : line);
    if (rest.length < lineMax) return;
    take(rest);
    rest = "";
  });
  return new Promise((resolve) => {
    stream.once("close", () => {
      if (rest !== "") take(rest);
      resolve();
    });
  });
}
