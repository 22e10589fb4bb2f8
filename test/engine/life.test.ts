// The life of instances: retries, timeouts, eviction, recovery, hand-over, children, cancellation, and what goes wrong.
import { describe, expect, test } from "vitest";
import { encodeValue } from "../../src/program/value.ts";
import type { Store } from "../../src/store/store.ts";
import { HandPool, over, Rig } from "./rig.ts";
import { type Script, value } from "./script.ts";

const acting = (policy?: object): Script =>
  function* () {
    const event = yield [policy === undefined ? { action: "act" } : { action: "act", policy }];
    if (event.kind === "failed") throw new Error("gave up");
    return value(event);
  };

const sleeper: Script = function* (input) {
  yield [{ sleep: input[0] as number }];
  return value(yield [{ action: "act" }]);
};

describe("retries", () => {
  test("without a policy an error is final", async () => {
    await using rig = new Rig({ scripts: { act: acting() } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("act");
    await rig.settle();
    pool.fail(pool.only, new Error("no"));
    await rig.settle();
    expect(await rig.result("act")).toMatchObject({ status: "failed" });
  });

  test("backoff is waited out by the clock, holds no slot, and grows", async () => {
    const policy = { retry: { attempts: 3 }, backoff: { baseDelayMs: 2_000, multiplier: 3 } };
    await using rig = new Rig({ scripts: { act: acting(policy) } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("act");
    await rig.settle();
    pool.fail(pool.only, new Error("1"));
    await rig.clock.advance(1_999);
    expect(pool.running.size).toBe(0);
    await rig.clock.advance(1);
    expect(pool.only.attempt).toBe(2);
    pool.fail(pool.only, new Error("2"));
    await rig.clock.advance(5_999);
    expect(pool.running.size).toBe(0);
    await rig.clock.advance(1);
    expect(pool.only.attempt).toBe(3);
    pool.fail(pool.only, new Error("3"));
    await rig.settle();
    expect(await rig.result("act")).toMatchObject({ status: "failed" });
    expect(pool.seen.map(({ idempotencyKey }) => idempotencyKey)).toEqual(Array(3).fill(pool.seen[0]!.idempotencyKey));
  });

  test("filters, NonRetryableError and RetryAfter decide over the policy's numbers", async () => {
    const policy = { retry: { except: ["RangeError"] }, backoff: { baseDelayMs: 60_000 } };
    await using rig = new Rig({ scripts: { act: acting(policy) } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("act", [], ["a", "b", "c"]);
    await rig.settle();
    const [a, b, c] = [...pool.running.values()];
    pool.fail(a!, new RangeError("excepted"));
    pool.fail(b!, new Error("never again"), { retryable: false });
    pool.fail(c!, new Error("soon"), { retryAfterMs: 50 });
    await rig.settle();
    expect([await rig.result("a"), await rig.result("b"), await rig.result("c")].map(({ status }) => status)).toEqual([
      "failed",
      "failed",
      "running",
    ]);
    await rig.clock.advance(50);
    expect(pool.only).toMatchObject({ instance: "c", attempt: 2 });
  });

  test("timeouts and lost workers are retried without limit, unless the policy bounds them", async () => {
    await using rig = new Rig({ scripts: { free: acting(), bound: acting({ timeouts: { attempts: 2 } }) } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("free");
    await rig.start("bound");
    await rig.settle();
    for (let i = 0; i < 8; i++) {
      for (const task of [...pool.running.values()]) {
        pool.report(i % 2 ? { key: task.key, kind: "timeout" } : { key: task.key, kind: "lost", reason: "killed" });
      }
      await rig.clock.advance(60_000);
    }
    expect(await rig.result("bound")).toMatchObject({ status: "failed" });
    expect(pool.only).toMatchObject({ instance: "free", attempt: 9 });
    const errors = rig.of("attempt-failed").filter(({ instance }) => instance === "bound");
    expect(errors.map(({ why, retryAt }) => [why, retryAt !== null])).toEqual([
      ["lost", true],
      ["timeout", false],
    ]);
  });
});

describe("waiting", () => {
  test("a long sleep leaves memory and costs a row; it wakes on time", async () => {
    await using rig = new Rig({ scripts: { sleeper } });
    const pool = new HandPool();
    const host = await rig.host(pool);
    await rig.start("sleeper", [86_400_000]);
    await rig.settle();
    expect(host.instances).toBe(0);
    expect(await rig.result("sleeper")).toMatchObject({ status: "waiting" });
    expect(rig.of("committed")).toHaveLength(1); // start, snapshot and eviction at once
    await rig.clock.advance(86_399_999);
    expect(pool.seen).toEqual([]);
    await rig.clock.advance(1);
    pool.done(pool.only, "awake");
    await rig.settle();
    expect(await rig.result("sleeper")).toMatchObject({ status: "completed", value: "awake" });
  });

  test("a short sleep stays", async () => {
    await using rig = new Rig({ scripts: { sleeper } });
    const pool = new HandPool();
    const host = await rig.host(pool);
    await rig.start("sleeper", [9_000]);
    await rig.clock.advance(8_999);
    expect(host.instances).toBe(1);
    await rig.clock.advance(1);
    expect(pool.seen).toHaveLength(1);
    expect(rig.of("instance-evicted")).toEqual([]);
  });

  test("mail that comes while an instance is leaving keeps it: nothing sleeps over a message", async () => {
    let deliver: (() => Promise<unknown>) | null = null;
    const wrap = (store: Store) =>
      over(store, {
        async commit(lease, batch) {
          if (batch.leave.length > 0 && deliver !== null) {
            const now = deliver;
            deliver = null;
            await now();
          }
          return store.commit(lease, batch);
        },
      });
    await using rig = new Rig({ scripts: { sleeper }, wrap });
    const pool = new HandPool();
    await rig.host(pool);
    deliver = () => rig.store.deliver([{ no: 1, effect: 0, kind: 7, attempt: 0, payload: null }]);
    await rig.start("sleeper", [86_400_000]);
    await rig.settle();
    expect((await rig.journal("sleeper")).map(({ kind }) => kind)).toEqual([1, 7]);
  });
});

describe("recovery", () => {
  const story: Script = function* () {
    const one = value(yield [{ action: "a" }]);
    yield [{ sleep: 5_000 }];
    const two = value(yield [{ action: "b", args: [one] }]);
    yield [{ sleep: 60_000 }];
    const fan = [];
    let event = yield [
      { action: "c", args: [0] },
      { action: "c", args: [1] },
    ];
    fan.push(value(event));
    event = yield [];
    fan.push(value(event));
    return [one, two, ...fan];
  };

  test("a crash after any number of commits loses nothing", async () => {
    for (let crashAfter = 1; crashAfter <= 8; crashAfter++) {
      await using rig = new Rig({ scripts: { story }, config: { lockTtlMs: 3_000, lockHeartbeatMs: 1_000 } });
      const pool = new HandPool();
      pool.perform = (task) => `${task.action}${task.effect}`;
      const first = await rig.host(pool, {
        batchMax: 1,
        onEvent: (event) => {
          rig.events.push(event);
          if (event.kind === "committed" && rig.of("committed").length === crashAfter) first.abandon();
        },
      });
      await rig.start("story");
      await rig.clock.advance(2_000);
      const second = new HandPool();
      second.perform = pool.perform;
      await rig.host(second, { batchMax: 1 });
      await rig.clock.advance(120_000);
      expect(await rig.result("story")).toMatchObject({ status: "completed", value: ["a1", "b3", "c5", "c6"] });
      expect((await rig.journal("story")).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    }
  });

  test("a host that closes hands over at once", async () => {
    await using rig = new Rig({ scripts: { act: acting(), sleeper } });
    const pool = new HandPool();
    const host = await rig.host(pool);
    await rig.start("act");
    await rig.start("sleeper", [5_000]);
    await rig.settle();
    const closing = host.close({ graceMs: 0 });
    await rig.settle();
    await closing;
    expect([await rig.result("act"), await rig.result("sleeper")].map(({ status }) => status)).toEqual([
      "waiting",
      "waiting",
    ]);
    expect(rig.state.leases.size).toBe(0);
    const next = new HandPool();
    await rig.host(next);
    await rig.settle();
    expect(next.only).toMatchObject({ instance: "act", attempt: 1 });
    await rig.clock.advance(5_000);
    expect(next.seen.map(({ instance }) => instance)).toEqual(["act", "sleeper"]);
  });

  test("a claim whose reply is lost is adopted", async () => {
    let losing = true;
    const wrap = (store: Store) =>
      over(store, {
        async claim(...args) {
          const claimed = await store.claim(...args);
          if (losing && claimed.length > 0) {
            losing = false;
            throw new Error("reply lost");
          }
          return claimed;
        },
      });
    await using rig = new Rig({ scripts: { act: acting() }, wrap });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("act");
    await rig.clock.advance(1_000);
    expect(pool.seen).toHaveLength(1);
  });

  test("more instances than fit are taken as room appears", async () => {
    await using rig = new Rig({ scripts: { act: acting() }, config: { maxConcurrentInstances: 5 } });
    const pool = new HandPool();
    pool.perform = () => 1;
    const host = await rig.host(pool);
    await rig.start(
      "act",
      [],
      Array.from({ length: 50 }, (_, i) => `i${i}`),
    );
    await rig.settle();
    expect(rig.of("instance-finished")).toHaveLength(50);
    expect(host.instances).toBe(0);
  });

  test("a full batch does not stop its own answer", async () => {
    const fan: Script = function* () {
      let event = yield Array.from({ length: 30 }, () => ({ action: "act" }));
      for (let i = 1; i < 30; i++) event = yield [];
      return value(event);
    };
    await using rig = new Rig({ scripts: { fan } });
    const pool = new HandPool();
    pool.perform = () => "last";
    await rig.host(pool, { batchMax: 1 });
    await rig.start("fan");
    await rig.settle();
    expect(await rig.result("fan")).toMatchObject({ status: "completed", value: "last" });
  });
});

describe("children", () => {
  const child: Script = function* (input) {
    const event = yield [{ action: "act", args: input }];
    if (event.kind === "failed") throw new Error("child failed");
    return value(event);
  };
  const parent: Script = function* () {
    const results = [];
    let event = yield [
      { child: "child", args: [1] },
      { child: "child", args: [2] },
    ];
    results.push(event.kind, value(event));
    event = yield [];
    results.push(event.kind, value(event));
    return results;
  };

  test("outcomes arrive by mail, through an eviction too", async () => {
    await using rig = new Rig({ scripts: { child, parent } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.program("child");
    await rig.start("parent");
    await rig.settle();
    const [one, two] = [...pool.running.values()];
    pool.done(one!, "one");
    await rig.clock.advance(30_000); // the parent is evicted meanwhile
    expect(rig.of("instance-evicted")).toHaveLength(1);
    pool.fail(two!, new Error("no"));
    await rig.settle();
    expect(await rig.result("parent")).toMatchObject({
      status: "completed",
      value: ["done", "one", "failed", undefined],
    });
    expect(rig.of("child-started").map(({ child }) => child).length).toBeGreaterThanOrEqual(2);
    expect(new Set(rig.of("child-started").map(({ child }) => child)).size).toBe(2);
  });

  test("a full house of parents does not keep their children out", async () => {
    await using rig = new Rig({ scripts: { child, parent }, config: { maxConcurrentInstances: 4 } });
    const pool = new HandPool();
    pool.perform = () => 1;
    await rig.host(pool);
    await rig.program("child");
    await rig.start(
      "parent",
      [],
      Array.from({ length: 12 }, (_, i) => `p${i}`),
    );
    await rig.settle();
    expect(rig.of("instance-finished").filter(({ workflow }) => workflow === "parent")).toHaveLength(12);
  });

  test("an unknown workflow is a clear error", async () => {
    const lost: Script = function* () {
      const event = yield [{ child: "nowhere" }];
      return event.kind;
    };
    await using rig = new Rig({ scripts: { lost } });
    await rig.host(new HandPool());
    await rig.start("lost");
    await rig.settle();
    expect(await rig.result("lost")).toMatchObject({ status: "completed", value: "failed" });
  });

  test("a cancelled parent cancels its children", async () => {
    const stoppable: Script = function* () {
      const event = yield [{ child: "child" }];
      if (event.kind === "cancel") throw new Error("cancelled");
      return value(event);
    };
    await using rig = new Rig({ scripts: { child, stoppable } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.program("child");
    await rig.start("stoppable");
    await rig.settle();
    const [answer] = await rig.store.deliver([{ no: 1, effect: 0, kind: 7, attempt: 0, payload: null }]);
    await rig.store.notify([{ kind: "mail", leases: [answer!.lease!] }]);
    await rig.settle();
    expect(await rig.result("stoppable")).toMatchObject({ status: "cancelled" });
    expect((await rig.store.history(2)).map(({ kind }) => kind)).toContain(7);
    expect(pool.cancelled).toHaveLength(1);
  });
});

describe("what goes wrong", () => {
  test("an action that nobody here has keeps its instance safe, is named once, and runs when somebody has it", async () => {
    await using rig = new Rig({ scripts: { act: acting() } });
    const pool = new HandPool();
    pool.names = new Set(["other"]);
    const host = await rig.host(pool);
    await rig.start("act", [], ["a", "b"]);
    await rig.settle();
    expect(pool.seen).toEqual([]);
    expect(host.missingActions).toEqual(["act"]);
    expect(rig.logged.filter((line) => line.includes('"act"'))).toHaveLength(1);
    pool.names = new Set(["other", "act"]);
    pool.report();
    await rig.settle();
    expect(pool.seen).toHaveLength(2);
  });

  test("an instance whose action is missing is offered to other hosts", async () => {
    await using rig = new Rig({ scripts: { act: acting() } });
    const [poor, rich] = [new HandPool(), new HandPool()];
    poor.names = new Set();
    await rig.host(poor);
    await rig.start("act");
    await rig.settle();
    await rig.host(rich);
    await rig.clock.advance(60_000);
    expect(rich.seen).toHaveLength(1);
  });

  test("a limit of the VM sets the instance aside, with the reason, and no other", async () => {
    const bad: Script = function* () {
      yield [{ fatal: "too many calls" }];
    };
    await using rig = new Rig({ scripts: { bad, act: acting() } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("bad");
    await rig.start("act");
    await rig.settle();
    expect(await rig.result("bad")).toMatchObject({ status: "quarantined", reason: "WM441 too many calls" });
    pool.done(pool.only, 1);
    await rig.settle();
    expect(await rig.result("act")).toMatchObject({ status: "completed" });
  });

  test("a program that was tampered with sets its instance aside", async () => {
    await using rig = new Rig({ scripts: { act: acting() } });
    await rig.program("act");
    rig.state.programs[0]!.body[0]! ^= 1;
    await rig.host(new HandPool());
    const input = encodeValue([]);
    await rig.store.start(1, 1, [
      { id: "x", input, seed: new Uint8Array(16), priority: 0, startAt: null, parent: null, waiter: null },
    ]);
    await rig.store.notify([{ kind: "work" }]);
    await rig.settle();
    expect(await rig.result("x")).toMatchObject({ status: "quarantined", reason: expect.stringContaining("hash") });
  });

  test("rows that the store refuses set their own instance aside and no other", async () => {
    const wrap = (store: Store) =>
      over(store, {
        commit: (lease, batch) => {
          if (batch.journal.some(({ no }) => no === 2)) return Promise.reject(new Error("row 2 is not acceptable"));
          return store.commit(lease, batch);
        },
      });
    await using rig = new Rig({ scripts: { act: acting() }, wrap });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("act", [], ["one", "two", "three"]);
    await rig.clock.advance(5_000);
    expect(await rig.result("two")).toMatchObject({
      status: "quarantined",
      reason: expect.stringContaining("row 2 is not acceptable"),
    });
    expect(pool.seen.map(({ instance }) => instance).sort()).toEqual(["one", "three"]);
  });
});
