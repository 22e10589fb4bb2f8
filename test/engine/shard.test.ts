// The invariants of a shard: commit before dispatch, fencing, first outcome wins, natural batches, constant cost.
import { describe, expect, test } from "vitest";
import type { Commit, Committed, Store } from "../../src/store/store.ts";
import { HandPool, over, Rig } from "./rig.ts";
import { type Script, value } from "./script.ts";

const one: Script = function* (input) {
  return value(yield [{ action: "act", args: input }]);
};

const chain = (steps: number): Script =>
  function* () {
    let sum = 0;
    for (let i = 0; i < steps; i++) sum += value(yield [{ action: "act", args: [i] }]) as number;
    return sum;
  };

/** Holds every commit until the test lets it go. */
class Gate {
  readonly waiting: { batch: Commit; go: () => void; fail: (error: Error) => void }[] = [];
  open = false;
  wrap = (store: Store): Store => {
    const commit = async (lease: bigint, batch: Commit): Promise<Committed> => {
      if (!this.open) await new Promise<void>((go, fail) => this.waiting.push({ batch, go, fail }));
      return store.commit(lease, batch);
    };
    return over(store, { commit });
  };
}

describe("commit before dispatch", () => {
  test("the pool sees nothing while the commit is under way", async () => {
    const gate = new Gate();
    await using rig = new Rig({ scripts: { one }, wrap: gate.wrap });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("one", [7]);
    await rig.settle();
    expect(gate.waiting).toHaveLength(1);
    expect(gate.waiting[0]!.batch.journal.map(({ seq, kind }) => [seq, kind])).toEqual([[1, 1]]);
    expect(pool.seen).toEqual([]);
    gate.waiting.shift()!.go();
    await rig.settle();
    expect(pool.seen.map(({ action, attempt, effect }) => [action, attempt, effect])).toEqual([["act", 1, 1]]);
  });

  test("a retry is neither timed nor made before the failure is durable", async () => {
    const gate = new Gate();
    const retrying: Script = function* () {
      return value(yield [{ action: "act", policy: { retry: { attempts: 3 }, backoff: { baseDelayMs: 10 } } }]);
    };
    await using rig = new Rig({ scripts: { retrying }, wrap: gate.wrap });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("retrying");
    await rig.settle();
    gate.waiting.shift()!.go();
    await rig.settle();
    pool.fail(pool.only, new Error("once"));
    await rig.clock.advance(1_000);
    expect(pool.seen).toHaveLength(1);
    gate.waiting.shift()!.go();
    await rig.settle();
    expect(pool.seen.map(({ attempt }) => attempt)).toEqual([1, 2]);
  });

  test("a commit that gets no answer is sent again, identically, and nothing is dispatched meanwhile", async () => {
    const gate = new Gate();
    await using rig = new Rig({ scripts: { one }, wrap: gate.wrap });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("one");
    await rig.settle();
    const first = gate.waiting.shift()!;
    first.fail(new Error("connection lost"));
    await rig.clock.advance(100);
    expect(gate.waiting).toHaveLength(1);
    expect(gate.waiting[0]!.batch).toEqual(first.batch);
    expect(pool.seen).toEqual([]);
    gate.waiting.shift()!.go();
    await rig.settle();
    expect(pool.seen).toHaveLength(1);
  });

  test("a reply that is lost after the commit landed does no harm", async () => {
    let losing = true;
    const wrap = (store: Store) =>
      over(store, {
        async commit(lease, batch) {
          const answer = await store.commit(lease, batch);
          if (losing) throw new Error("reply lost");
          return answer;
        },
      });
    await using rig = new Rig({ scripts: { one }, wrap });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("one");
    await rig.settle();
    expect(pool.seen).toEqual([]);
    losing = false;
    await rig.clock.advance(100);
    losing = true;
    pool.done(pool.only, "fine");
    await rig.settle();
    losing = false;
    await rig.clock.advance(100);
    expect(await rig.result("one")).toMatchObject({ status: "completed", value: "fine" });
    expect(await rig.journal("one")).toHaveLength(2);
  });

  test("nothing is dispatched for an instance that the answer calls lost", async () => {
    const gate = new Gate();
    await using rig = new Rig({ scripts: { one }, wrap: gate.wrap });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("one");
    await rig.settle();
    const queued = rig.state.queue.get(1)!;
    Object.assign(queued, { lease: 99n }); // as if somebody had taken it
    gate.waiting.shift()!.go();
    await rig.settle();
    expect(pool.seen).toEqual([]);
  });
});

describe("fencing", () => {
  test("an owner whose lease is gone writes nothing and dispatches nothing; the next goes on", async () => {
    const gate = new Gate();
    let first = true;
    await using rig = new Rig({
      scripts: { one },
      wrap: (store) => {
        if (!first) return store;
        first = false;
        return gate.wrap(store);
      },
    });
    const [old, young] = [new HandPool(), new HandPool()];
    const host = await rig.host(old);
    await rig.start("one");
    await rig.settle();
    gate.waiting.shift()!.go();
    await rig.settle();
    expect(old.seen).toHaveLength(1);
    // The old host falls silent: its outcome is on the way to the store when the lease is taken from it.
    old.done(old.only, "from the old owner");
    await rig.settle();
    await rig.store.closeLease(host.leases[0]!);
    await rig.host(young);
    await rig.settle();
    expect(young.seen.map(({ attempt, effect }) => [attempt, effect])).toEqual([[1, 1]]);
    gate.open = true;
    gate.waiting.shift()!.go();
    await rig.settle();
    expect(await rig.journal("one")).toHaveLength(1);
    expect(rig.of("lease-lost")).toHaveLength(1);
    young.done(young.only, "from the new owner");
    await rig.settle();
    expect(await rig.result("one")).toMatchObject({ status: "completed", value: "from the new owner" });
  });

  test("a host that cannot renew lets go by its own clock, a second before anybody else may take over", async () => {
    let away = false;
    const wrap = (store: Store) =>
      over(store, {
        renew: (ids) => (away ? Promise.reject(new Error("unreachable")) : store.renew(ids)),
      });
    await using rig = new Rig({ scripts: { one }, wrap, config: { lockTtlMs: 15_000, lockHeartbeatMs: 5_000 } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("one");
    await rig.settle();
    await rig.clock.advance(10_000); // renewed at 5 and 10 s
    away = true;
    await rig.clock.advance(13_900);
    expect(rig.of("lease-lost")).toEqual([]);
    await rig.clock.advance(200);
    expect(rig.of("lease-lost")).toMatchObject([{ reason: "it could not be renewed in time", instances: 1 }]);
    expect(pool.cancelled).toHaveLength(1);
    // A new lease, and the instance comes back once the old lease is over for everybody.
    away = false;
    await rig.clock.advance(5_000);
    expect(pool.seen).toHaveLength(2);
    pool.done(pool.only, "after all");
    await rig.settle();
    expect(await rig.result("one")).toMatchObject({ status: "completed", value: "after all" });
  });

  test("a process that wakes past its deadline dispatches nothing, though nobody has fenced it and no timer has run", async () => {
    const gate = new Gate();
    await using rig = new Rig({ scripts: { one }, wrap: gate.wrap });
    const pool = new HandPool();
    let stoppedMs = 0;
    const { clock } = rig;
    const after = clock.after.bind(clock);
    await rig.host(pool, { clock: { now: () => clock.now(), monotonic: () => clock.monotonic() + stoppedMs, after } });
    await rig.start("one");
    await rig.settle();
    stoppedMs = 14_000;
    gate.waiting.shift()!.go();
    await rig.settle();
    expect(pool.seen).toEqual([]);
    expect(rig.of("lease-lost")).toMatchObject([{ reason: "it could not be renewed in time", instances: 1 }]);
  });

  test("an owner that was fenced during a commit dispatches nothing when the answer comes", async () => {
    const gate = new Gate();
    await using rig = new Rig({ scripts: { one }, wrap: gate.wrap });
    const pool = new HandPool();
    const host = await rig.host(pool);
    await rig.start("one");
    await rig.settle();
    await rig.store.closeLease(host.leases[0]!);
    gate.waiting.shift()!.go();
    await rig.settle();
    expect(pool.seen).toEqual([]);
    expect(rig.of("lease-lost")).toMatchObject([{ reason: "somebody fenced it" }]);
  });
});

describe("first outcome wins", () => {
  test("a second report, a report of an older attempt, and one of an unknown key are dropped and counted", async () => {
    const two: Script = function* () {
      return value(yield [{ action: "act", policy: { retry: { attempts: 2 }, backoff: { baseDelayMs: 0 } } }]);
    };
    await using rig = new Rig({ scripts: { two } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("two");
    await rig.settle();
    const first = pool.only;
    pool.fail(first, new Error("no"));
    await rig.settle();
    const second = pool.only;
    pool.done(first, "late");
    pool.done({ ...first, key: "nobody's" }, "whose?");
    await rig.settle();
    expect(await rig.result("two")).toMatchObject({ status: "running" });
    pool.done(second, "right");
    pool.done(second, "twice");
    await rig.settle();
    expect(await rig.result("two")).toMatchObject({ status: "completed", value: "right" });
    expect(rig.of("dropped")).toHaveLength(3);
    expect((await rig.journal("two")).map(({ kind }) => kind)).toEqual([1, 4, 2]);
  });

  test("of two outcomes in one turn the first counts", async () => {
    await using rig = new Rig({ scripts: { one } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("one");
    await rig.settle();
    const task = pool.only;
    pool.done(task, "first");
    pool.fail(task, new Error("second"));
    await rig.settle();
    expect(await rig.result("one")).toMatchObject({ status: "completed", value: "first" });
    expect(await rig.journal("one")).toHaveLength(2);
  });

  test("an outcome that comes when the instance no longer waits for it is dropped, though that is not durable yet", async () => {
    const gate = new Gate();
    const stoppable: Script = function* () {
      const event = yield [{ action: "act" }];
      return event.kind;
    };
    await using rig = new Rig({ scripts: { stoppable }, wrap: gate.wrap });
    const pool = new HandPool();
    const host = await rig.host(pool);
    await rig.start("stoppable");
    await rig.settle();
    gate.waiting.shift()!.go();
    await rig.settle();
    await rig.store.deliver([{ no: 1, effect: 0, kind: 7, attempt: 0, payload: null }]);
    await rig.store.notify([{ kind: "mail", leases: host.leases }]);
    await rig.settle();
    pool.done(pool.only, "late");
    await rig.settle();
    gate.open = true;
    gate.waiting.shift()!.go();
    await rig.settle();
    expect(await rig.result("stoppable")).toMatchObject({ status: "completed", value: "cancel" });
    expect((await rig.journal("stoppable")).map(({ kind }) => kind)).toEqual([1, 7]);
    expect(rig.of("dropped")).toHaveLength(1);
  });

  test("mail that settles what is settled is read and dropped", async () => {
    await using rig = new Rig({ scripts: { one } });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("one");
    await rig.settle();
    const [{ lease } = { lease: null }] = await rig.store.deliver([
      { no: 1, effect: 1, kind: 2, attempt: 1, payload: new Uint8Array(1) },
    ]);
    await rig.store.notify([{ kind: "mail", leases: [lease!] }]);
    await rig.settle();
    expect(rig.of("dropped")).toHaveLength(1);
    pool.done(pool.only, 1);
    await rig.settle();
    expect(await rig.result("one")).toMatchObject({ status: "completed", value: 1 });
  });
});

describe("cost", () => {
  test("500 chains commit together: under 0.2 commits a step", async () => {
    await using rig = new Rig({ scripts: { chain: chain(10) } });
    const pool = new HandPool();
    pool.perform = () => 1;
    await rig.host(pool);
    await rig.start(
      "chain",
      [],
      Array.from({ length: 500 }, (_, i) => `c${i}`),
    );
    await rig.settle();
    expect(rig.of("instance-finished")).toHaveLength(500);
    const commits = rig.of("committed").length;
    expect(commits / (500 * 10)).toBeLessThan(0.02);
  });

  test("what becomes ready while a commit is under way goes into the next one", async () => {
    const gate = new Gate();
    const fan: Script = function* () {
      let event = yield Array.from({ length: 40 }, (_, i) => ({ action: "act", args: [i] }));
      for (let i = 1; i < 40; i++) event = yield [];
      return value(event);
    };
    await using rig = new Rig({ scripts: { fan }, wrap: gate.wrap });
    const pool = new HandPool();
    await rig.host(pool);
    await rig.start("fan");
    await rig.settle();
    gate.waiting.shift()!.go();
    await rig.settle();
    const tasks = [...pool.seen];
    pool.done(tasks.shift()!, 0);
    await rig.settle();
    for (const task of tasks) {
      pool.done(task, 0);
      await rig.settle();
    }
    expect(gate.waiting).toHaveLength(1);
    gate.waiting.shift()!.go();
    await rig.settle();
    expect(gate.waiting.map(({ batch }) => batch.journal.length)).toEqual([39]);
  });

  test("step 2,000 of a chain costs what step 2 cost, in bytes written and events delivered", async () => {
    await using rig = new Rig({ scripts: { chain: chain(2_000) } });
    const pool = new HandPool();
    pool.perform = () => 1;
    await rig.host(pool);
    await rig.start("chain");
    await rig.settle();
    expect(await rig.result("chain")).toMatchObject({ status: "completed", value: 2_000 });
    expect(rig.calls.deliver).toBe(2_001);
    const commits = rig.of("committed");
    const bytes = (from: number, to: number) => commits.slice(from, to).reduce((sum, each) => sum + each.bytes, 0);
    // This machine's snapshots are the whole history, the worst there is: bytes still stay in proportion to the journal.
    const journal = 2_000 * 70;
    expect(bytes(0, commits.length)).toBeLessThan(journal * 6);
    const plain = commits.filter(({ snapshots }) => snapshots === 0).map((each) => each.bytes);
    expect(Math.max(...plain)).toBeLessThan(2 * Math.min(...plain));
    expect(commits.length - plain.length).toBeLessThan(10);
  });

  test("instances take turns at the slots", async () => {
    const fan: Script = function* () {
      let event = yield Array.from({ length: 100 }, () => ({ action: "act" }));
      for (let i = 1; i < 100; i++) event = yield [];
      return value(event);
    };
    await using rig = new Rig({ scripts: { fan, one } });
    const pool = new HandPool();
    pool.slots = 4;
    await rig.host(pool);
    await rig.start("fan");
    await rig.settle();
    await rig.start("one", [], ["small"]);
    await rig.settle();
    for (let i = 0; i < 3; i++) {
      pool.done([...pool.running.values()][0]!);
      await rig.settle();
    }
    expect(pool.seen.map(({ instance }) => instance)).toContain("small");
    expect(pool.running.size).toBeLessThanOrEqual(4);
  });
});
