// Which database a process talks to that was told nothing in code: the environment first, then a `waymark dev` that runs
// for this project. In a test runner without a database, none: workflows run in memory.

import { readFileSync } from "node:fs";
import path from "node:path";
import { WaymarkError } from "../base/failure.ts";

export type Location =
  | { kind: "database"; url: string; from: string }
  /** In the test's own process. */
  | { kind: "memory" };

type Environment = Readonly<Record<string, string | undefined>>;

const bridgeVariables = [
  "WAYMARK_BRIDGE_GRPC_ADDR",
  "WAYMARK_BRIDGE_GRPC_HOST",
  "WAYMARK_BRIDGE_GRPC_PORT",
  "WAYMARK_BRIDGE_BASE_PORT",
];
const runnerVariables = ["VITEST", "JEST_WORKER_ID", "NODE_TEST_CONTEXT"];

/** Throws WM310 where the bridge is asked for, WM311 where nothing is configured. */
export function locate(environment: Environment, directory: string): Location {
  const bridge = bridgeVariables.find((name) => isSet(environment[name]));
  if (bridge !== undefined) {
    throw new WaymarkError("WM310", `${bridge} is set, but the bridge is not in this version.`, {
      hint: "Unset it, and set WAYMARK_DATABASE_URL: the client then talks to Postgres itself.",
    });
  }
  const { WAYMARK_DATABASE_URL: url } = environment;
  if (isSet(url)) return { kind: "database", url: checkUrl(url, "WAYMARK_DATABASE_URL"), from: "WAYMARK_DATABASE_URL" };
  if (runnerVariables.some((name) => isSet(environment[name]))) return { kind: "memory" };
  const stopped: string[] = [];
  for (const file of noticesAbove(directory)) {
    const notice = readNotice(file);
    if (notice === undefined) continue;
    if (isAlive(notice.pid)) return { kind: "database", url: checkUrl(notice.url, file), from: file };
    stopped.push(file);
  }
  throw new WaymarkError("WM311", "waymark does not know where to run this workflow: no database is configured.", {
    hint: [
      "One of these:",
      "  set WAYMARK_DATABASE_URL=postgres://user:password@host:5432/database",
      "  run `npx waymark dev ./workflows.ts` in this project, and leave it running",
      "  run it in a test (Vitest, Jest, node --test), where it runs in memory",
      ...stopped.map((file) => `A \`waymark dev\` was here (${file}), but it does not run any more.`),
    ].join("\n"),
  });
}

/** Does `run()` return once the instance is queued? Throws WM312 for a value that is neither yes nor no. */
export function skipsWait(environment: Environment): boolean {
  const { WAYMARK_SKIP_WAIT_FOR_INSTANCE: value } = environment;
  if (!isSet(value)) return false;
  const word = value.trim().toLowerCase();
  if (["1", "true", "yes", "on"].includes(word)) return true;
  if (["0", "false", "no", "off"].includes(word)) return false;
  throw new WaymarkError("WM312", `WAYMARK_SKIP_WAIT_FOR_INSTANCE is ${JSON.stringify(value)}: write true or false.`);
}

function* noticesAbove(directory: string): Generator<string> {
  for (let at = path.resolve(directory); ; at = path.dirname(at)) {
    yield path.join(at, ".waymark", "dev.json");
    if (path.dirname(at) === at) return;
  }
}

function readNotice(file: string): { url: string; pid: number } | undefined {
  try {
    const { url, pid } = JSON.parse(readFileSync(file, "utf8")) as { url?: unknown; pid?: unknown };
    return typeof url === "string" && typeof pid === "number" ? { url, pid } : undefined;
  } catch {
    return undefined; // not there, not ours to read, or half written: no server is known by it
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // somebody else's, but there
  }
}

function checkUrl(url: string, from: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed !== undefined && /^postgres(ql)?:$/.test(parsed.protocol)) return url;
  // Never the value itself: it may hold a password.
  throw new WaymarkError("WM313", `${from} is not a Postgres URL.`, {
    hint: "Write postgres://user:password@host:5432/database, with special characters in the password percent-encoded.",
  });
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value.trim() !== "";
}
