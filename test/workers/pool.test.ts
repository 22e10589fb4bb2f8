// Real worker processes, killed and broken in every way they may be.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { NonRetryableError } from "../../src/author/errors.ts";
import type { ActionPool } from "../../src/engine/dispatch.ts";
import { type ProcessPool, type ProcessPoolOptions, processPool, type WorkerEvent } from "../../src/workers/pool.ts";
import { Desk, errorOf, resultOf, task } from "./task.ts";

const fixture = (name: string) => path.join(import.meta.dirname, "fixtures", name);

/** Remembers what happened, and lets a test wait for it. */
class Journal<T> {
  readonly entries: T[] = [];
  #waiting: { matches: (entry: T) => boolean; resolve: (entry: T) => void }[] = [];

  add(entry: T): void {
    this.entries.push(entry);
    for (const each of this.#waiting) if (each.matches(entry)) each.resolve(entry);
    this.#waiting = this.#waiting.filter((each) => !each.matches(entry));
  }

  until(matches: (entry: T) => boolean): Promise<T> {
    const known = this.entries.find(matches);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => this.#waiting.push({ matches, resolve }));
  }
}

let pools: ProcessPool[] = [];
let events = new Journal<WorkerEvent>();
let log = new Journal<string>();

async function open(options: Partial<ProcessPoolOptions> = {}): Promise<ProcessPool> {
  events = new Journal();
  log = new Journal();
  const say = (fields: object, text: string) => log.add(`${text} ${JSON.stringify(fields)}`);
  const pool = await processPool({
    count: 1,
    concurrency: 10,
    modules: [fixture("actions.ts")],
    address: "127.0.0.1:0",
    log: { info: say, warn: say, error: say },
    onEvent: (event) => events.add(event),
    ...options,
  });
  pools.push(pool);
  return pool;
}

afterEach(async () => {
  await Promise.all(pools.map((pool) => pool.close(0)));
  pools = [];
  for (const event of events.entries) if (event.kind === "spawned") expect(alive(event.pid)).toBe(false);
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const readyAgain = (count: number) =>
  events.until(() => events.entries.filter(({ kind }) => kind === "ready").length >= count);

/** Resolves when the pool says that slots or actions changed and `holds` is true of it. */
function when(pool: ActionPool, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    pool.onReport(() => holds() && resolve());
    if (holds()) resolve();
  });
}

describe("an attempt in a worker process", () => {
  it("gets arguments, context and dependencies, and answers", async () => {
    const pool = await open();
    const desk = new Desk(pool);
    expect(pool.actions()?.has("add")).toBe(true);
    expect(pool.free()).toBe(10);
    expect(resultOf(await desk.one(task("add", [1, 2])))).toBe(3);
    expect(resultOf(await desk.one(task("pid")))).toBe(pool.workers()[0]?.pid);
    const values = [undefined, Number.NaN, 10n, new Date(7), new Map([[1, new Set([2])]]), [-0]];
    expect(resultOf(await desk.one(task("echo", [values])))).toEqual(values);
    expect(resultOf(await desk.one(task("context", [], { attempt: 2, idempotencyKey: "pay-1" })))).toEqual({
      instanceId: "i1",
      workflow: "orders",
      action: "context",
      attempt: 2,
      idempotencyKey: "pay-1",
    });
    const shared = await desk.perform(task("shared"), task("shared"));
    expect(shared.map(resultOf)).toEqual([1, 1]);
    await pool.close(1_000);
    expect(log.entries.join("\n")).toContain("pool closed");
  });

  it("does not see the token of its worker", async () => {
    expect(resultOf(await new Desk(await open()).one(task("environment")))).toEqual([]);
  });

  it("reports what was thrown, whole", async () => {
    const desk = new Desk(await open());
    const error = errorOf(await desk.one(task("decline")));
    expect(error).toMatchObject({ name: "CardDeclined", message: "no funds", code: "insufficient_funds" });
    expect(error.stack).toContain("actions.ts");
    expect(error.cause).toMatchObject({ name: "TypeError", message: "balance is 3" });
    expect(await desk.one(task("giveUp"))).toMatchObject({ kind: "failed", retryable: false });
    expect(await desk.one(task("later"))).toMatchObject({ kind: "failed", retryAfterMs: 90_000, retryable: true });
    expect(errorOf(await desk.one(task("throwText")))).toBe("just text");
    expect(NonRetryableError.name).toBe("NonRetryableError");
  });

  it("that is not there is missing, not failed", async () => {
    expect(await new Desk(await open()).one(task("nowhere"))).toMatchObject({ kind: "missing", action: "nowhere" });
  });

  it("at its deadline is aborted, reported once, and its slot is free", async () => {
    const pool = await open({ concurrency: 1 });
    const desk = new Desk(pool);
    expect(await desk.one(task("untilAborted", [], { timeoutMs: 20 }))).toMatchObject({ kind: "timeout" });
    await log.until((line) => line.startsWith("aborted: TimeoutError"));
    expect(pool.free()).toBe(1);
    expect(resultOf(await desk.one(task("add", [1, 1])))).toBe(2);
  });

  it("that is cancelled is aborted, frees its slot, and is not reported", async () => {
    const pool = await open({ concurrency: 1 });
    const sent = task("untilAborted");
    pool.dispatch([sent]);
    expect(pool.free()).toBe(0);
    const freed = when(pool, () => pool.free() === 1);
    pool.cancel([sent.key]);
    await freed;
    await log.until((line) => line.startsWith("aborted: AbortError"));
  });

  it("carries 1 KB and 5 MB both ways", async () => {
    const desk = new Desk(await open());
    for (const size of [1_024, 5 * 1_024 * 1_024]) {
      const value = new Uint8Array(size).fill(7);
      expect(Buffer.compare(resultOf(await desk.one(task("echo", [value]))) as Uint8Array, value)).toBe(0);
    }
    const many = await desk.perform(...Array.from({ length: 9 }, () => task("bytes", [9 * 1_024 * 1_024])));
    expect(many.every(({ kind }) => kind === "done")).toBe(true); // 81 MB: more than one message may hold
  });

  it("that is too large either way fails alone", async () => {
    const pool = await open();
    const desk = new Desk(pool);
    const before = pool.workers()[0]?.pid;
    const [small, large] = await desk.perform(task("add", [1, 1]), task("bytes", [65 * 1_024 * 1_024]));
    expect(resultOf(small!)).toBe(2);
    expect(errorOf(large!)).toMatchObject({ code: "WM402", message: expect.stringContaining('"bytes"') });
    const sent = await desk.one(task("echo", [], { args: new Uint8Array(64 * 1_024 * 1_024) }));
    expect(errorOf(sent)).toMatchObject({ code: "WM402", message: expect.stringContaining('"echo"') });
    expect(pool.workers()[0]?.pid).toBe(before);
  });

  it("with a rejection that nobody awaits does not take its neighbours down", async () => {
    const pool = await open();
    const desk = new Desk(pool);
    expect(resultOf(await desk.one(task("stray")))).toBe("fine");
    await log.until((line) => line.includes("nobody awaits this"));
    expect(resultOf(await desk.one(task("pid")))).toBe(pool.workers()[0]?.pid);
  });
});

describe("many attempts", () => {
  it("go to the worker with the least to do, in batches", async () => {
    const pool = await open({ count: 2, concurrency: 1_000 });
    const desk = new Desk(pool);
    const reports = await desk.perform(...Array.from({ length: 2_000 }, () => task("pid")));
    const counts = new Map<unknown, number>();
    for (const report of reports) counts.set(resultOf(report), (counts.get(resultOf(report)) ?? 0) + 1);
    expect([...counts.values()]).toEqual([1_000, 1_000]);
    expect(desk.batches).toBeLessThan(200);
  });

  it("beyond the slots wait their turn", async () => {
    const pool = await open({ count: 2, concurrency: 3 });
    const reports = await new Desk(pool).perform(...Array.from({ length: 50 }, (_, n) => task("add", [n, 1])));
    expect(reports.map(resultOf)).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
    expect(pool.free()).toBe(6);
  });
});

describe("a worker that dies", () => {
  it("by kill -9: its attempts are lost, others are not, and it is replaced", async () => {
    const pool = await open({ count: 2, concurrency: 1 });
    const desk = new Desk(pool);
    const lost = desk.one(task("hang"));
    const victim = pool.workers().find(({ inFlight }) => inFlight === 1)!;
    const other = pool.workers().find(({ inFlight }) => inFlight === 0)!;
    process.kill(victim.pid, "SIGKILL");
    expect(await lost).toMatchObject({ kind: "lost", reason: expect.stringContaining("was killed by SIGKILL") });
    expect(alive(victim.pid)).toBe(false);
    expect(resultOf(await desk.one(task("pid")))).toBe(other.pid);
    await readyAgain(3);
    expect(pool.workers()).toHaveLength(2);
    expect(pool.workers().map((worker) => worker.pid)).not.toContain(victim.pid);
  });

  it("by its own exit: the attempt is lost, and what waits goes to its replacement", async () => {
    const desk = new Desk(await open({ concurrency: 1 }));
    const [lost, waited] = await desk.perform(task("exit"), task("add", [2, 2]));
    expect(lost).toMatchObject({ kind: "lost", reason: expect.stringContaining("exited with code 7") });
    expect(resultOf(waited!)).toBe(4);
  });

  it("by blocking its event loop: it is ended, and replaced", async () => {
    const pool = await open({ heartbeatMs: 50, silentMs: 600 });
    const desk = new Desk(pool);
    const before = pool.workers()[0]!.pid;
    const report = await desk.one(task("block"));
    expect(report).toMatchObject({ kind: "lost", reason: expect.stringContaining("blocks its event loop") });
    expect(resultOf(await desk.one(task("pid")))).not.toBe(before);
  });

  it("by SIGTERM from outside: it finishes what it has, and is replaced", async () => {
    const pool = await open({ concurrency: 1 });
    const desk = new Desk(pool);
    const running = desk.one(task("untilAborted", [], { timeoutMs: 300 }));
    process.kill(pool.workers()[0]!.pid, "SIGTERM");
    expect(await running).toMatchObject({ kind: "timeout" });
    expect(await events.until(({ kind }) => kind === "gone")).toMatchObject({ how: "exited with code 0", lost: 0 });
    expect(resultOf(await desk.one(task("add", [1, 1])))).toBe(2);
  });
});

describe("recycling", () => {
  it("the replacement is ready before the old worker leaves, and nothing in flight is lost", async () => {
    const pool = await open({ concurrency: 5, maxLifecycle: 20 });
    const desk = new Desk(pool);
    const reports = await desk.perform(...Array.from({ length: 60 }, (_, n) => task("add", [n, 0])));
    expect(reports.map(resultOf)).toEqual(Array.from({ length: 60 }, (_, n) => n));
    await events.until(({ kind }) => kind === "gone");
    const order = events.entries.map(({ kind, worker }) => `${kind} ${worker}`);
    expect(order.indexOf("ready w2")).toBeLessThan(order.indexOf("leaving w1"));
    expect(events.entries.every((event) => event.kind !== "gone" || event.lost === 0)).toBe(true);
  });
});

describe("closing", () => {
  it("waits for what is in flight", async () => {
    const pool = await open();
    const desk = new Desk(pool);
    const running = desk.one(task("untilAborted", [], { timeoutMs: 200 }));
    await pool.close(5_000);
    expect(await running).toMatchObject({ kind: "timeout" });
    expect(pool.free()).toBe(0);
  });

  it("ends a worker that blocks, at the end of the grace", async () => {
    const pool = await open();
    pool.dispatch([task("block")]);
    await pool.close(50);
    expect(await events.until(({ kind }) => kind === "gone")).toMatchObject({
      how: expect.stringContaining("SIGKILL"),
    });
  });
});

describe("what cannot start", () => {
  it("a module that is not there", async () => {
    await expect(open({ modules: ["./nowhere.ts"] })).rejects.toMatchObject({ code: "WM711", message: /nowhere\.ts/ });
    await expect(open({ modules: ["no-such-package"] })).rejects.toMatchObject({ code: "WM711" });
    expect(events.entries).toEqual([]);
  });

  it("a module that throws: its error whole and once, nothing left running", async () => {
    const failure = await open({ count: 2, modules: [fixture("broken.ts")] }).catch((error: Error) => error);
    expect(failure).toMatchObject({ code: "WM714" });
    const { message } = failure as Error;
    expect(message).toContain("broken.ts");
    expect(message).toContain("TypeError: the configuration has no region");
    expect(message).toContain("because: Error: REGION is not set");
    expect(message.split("the configuration has no region")).toHaveLength(2);
    expect(log.entries).toEqual([]);
  });

  it("a module with a syntax error: it says where", async () => {
    const syntax = path.join(await mkdtemp(path.join(os.tmpdir(), "waymark-")), "syntax.mjs");
    await writeFile(syntax, "export const x = ;\n"); // as a fixture no formatter would leave it alone
    await expect(open({ modules: [syntax] })).rejects.toMatchObject({
      code: "WM714",
      message: expect.stringMatching(/syntax\.mjs:\d[\s\S]*Unexpected/),
    });
    await rm(path.dirname(syntax), { recursive: true });
  });

  it("a command that is not there, or that does not attach", async () => {
    await expect(open({ command: ["/no/such/program"] })).rejects.toMatchObject({ code: "WM715", message: /ENOENT/ });
    const silent = [process.execPath, "-e", "console.error('what am I?'); process.exit(3)"];
    await expect(open({ command: silent })).rejects.toMatchObject({
      code: "WM715",
      message: expect.stringMatching(/exited with code 3.*what am I\?/s),
    });
    const idle = [process.execPath, "-e", "setInterval(() => {}, 1000)"];
    await expect(open({ command: idle, startMs: 100 })).rejects.toMatchObject({ message: /not ready within 100 ms/ });
  });

  it("an address that is taken, if it was asked for; else a free port is used", async () => {
    const pool = await open();
    await expect(open({ address: pool.address })).rejects.toMatchObject({ code: "WM713", message: /EADDRINUSE/ });
    const [first, second] = [await open({ address: undefined }), await open({ address: undefined })];
    expect(first.address).not.toBe(second.address);
    expect(log.entries.join("\n")).toContain("is taken");
  });

  it("no workers at all", async () => {
    await expect(open({ count: 0 })).rejects.toMatchObject({ code: "WM716" });
  });
});
