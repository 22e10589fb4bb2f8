// Two statements at once, in every order that matters, on real sessions: one is held open inside a transaction by hand,
// the other is started, seen to wait (or not to), and the first then ends.

import { connect, createServer, type Socket } from "node:net";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { commitStatement } from "../../src/store/postgres/commit.ts";
import type { Statement } from "../../src/store/postgres/connect.ts";
import { statements } from "../../src/store/postgres/statements.ts";
import { openPostgres } from "../../src/store/postgres/store.ts";
import { type Commit, eventKind, resultStatus, type Store } from "../../src/store/store.ts";
import { freshDatabase, type TestDatabase } from "../setup/database.ts";
import { batch, bytes, event, openLease, putProgram, startClaimed, startRow } from "./contract.ts";

const sql = statements("waymark");
let database: TestDatabase;
let store: Store;
let sessions: pg.Client[];

beforeEach(async () => {
  database = await freshDatabase();
  store = await openPostgres({ url: database.url, lockGraceMs: 0 });
  sessions = [];
});
afterEach(async () => {
  for (const session of sessions) await session.end();
  await store.close();
  await database.drop();
});

async function session(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  sessions.push(client);
  return client;
}

/** Run a statement in a transaction that stays open until `end`. */
async function paused({ text }: Statement, values: unknown[]) {
  const client = await session();
  await client.query("begin");
  const { rows } = await client.query(text, values);
  return { rows, end: (how: "commit" | "rollback" = "commit") => client.query(how) };
}

function pausedCommit(lease: bigint, parts: Commit) {
  const { values, ...statement } = commitStatement("waymark", lease, parts);
  return paused(statement, values);
}

/** Resolves once a session of this database waits for a lock; fails if the statement answered instead. */
async function blocked(running: Promise<unknown>): Promise<void> {
  let answered = false;
  const answer = running.then(
    () => {
      answered = true;
    },
    () => {
      answered = true;
    },
  );
  const watch = await session();
  const text = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
  while ((await watch.query(text)).rows.length === 0) {
    if (answered)
      await answer.then(() => {
        throw new Error("it did not wait");
      });
  }
}

const evict = (no: number, mail = 0, epoch = 1) =>
  batch({ leave: [{ no, epoch, mail, what: "evict", due: null, seq: 0 }] });
const finish = (no: number, mail = 0) =>
  batch({
    journal: [event(no, 1, 1)],
    leave: [{ no, epoch: 1, mail, what: "finish", status: resultStatus.completed, outcome: null }],
  });
const mailTo = (no: number, effect = 1) => ({ no, effect, kind: eventKind.done, attempt: 1, payload: null });
const deliverTo = (no: number) => paused(sql.deliver, [[no], [1], [eventKind.done], [1], [null]]);

describe("mail against leaving", () => {
  test("deliver, evict: the evict waits, sees the counter moved, and stays", async () => {
    const { no, lease } = await startClaimed(store);
    const deliver = await deliverTo(no);
    const leaving = store.commit(lease, evict(no));
    await blocked(leaving);
    await deliver.end();
    expect(await leaving).toMatchObject({ kind: "committed", lost: [], left: [] });
    expect(await store.mail(lease, [no])).toMatchObject([{ mail: 1, rows: [{ effect: 1 }] }]);
  });

  test("deliver rolled back, evict: it leaves", async () => {
    const { no, lease } = await startClaimed(store);
    const deliver = await deliverTo(no);
    const leaving = store.commit(lease, evict(no));
    await blocked(leaving);
    await deliver.end("rollback");
    expect(await leaving).toMatchObject({ left: [no] });
  });

  test("evict, deliver: the deliver waits, and wakes the sleeper", async () => {
    const { no, lease } = await startClaimed(store);
    const leaving = await pausedCommit(lease, evict(no));
    const delivery = store.deliver([mailTo(no)]);
    await blocked(delivery);
    await leaving.end();
    expect(await delivery).toEqual([{ no, lease: null }]);
    expect(await store.claim(lease, 1, 9, 9)).toMatchObject([{ no, epoch: 2 }]);
  });

  test("deliver, finish: the finish waits and stays; nothing is a result", async () => {
    const { no, lease } = await startClaimed(store);
    const deliver = await deliverTo(no);
    const leaving = store.commit(lease, finish(no));
    await blocked(leaving);
    await deliver.end();
    expect(await leaving).toMatchObject({ lost: [], left: [] });
    expect(await store.results(["a"])).toMatchObject([{ status: "running" }]);
  });

  test("finish, deliver: nobody is told, and no mail is left behind", async () => {
    const { no, lease } = await startClaimed(store);
    const leaving = await pausedCommit(lease, finish(no));
    const delivery = store.deliver([mailTo(no)]);
    await blocked(delivery);
    await leaving.end();
    expect(await delivery).toEqual([]);
    expect((await (await session()).query("select * from waymark.inbox")).rows).toEqual([]);
  });

  test("load, deliver, evict: the counter that belongs to what was loaded does not let it leave", async () => {
    const { no, lease } = await startClaimed(store);
    const [loaded] = await store.load(lease, [no]);
    await store.deliver([mailTo(no)]);
    expect(await store.commit(lease, evict(no, loaded!.mail))).toMatchObject({ lost: [], left: [] });
    const [again] = await store.load(lease, [no]);
    expect(again!.inbox).toHaveLength(1);
    expect(await store.commit(lease, evict(no, again!.mail))).toMatchObject({ left: [no] });
  });

  test("a child's end, the evict of its parent: the parent waits and stays", async () => {
    const child = await startClaimed(store, "child");
    const parent = await startClaimed(store, "parent");
    const parts = finish(child.no);
    parts.mail.push({
      sender: child.no,
      epoch: 1,
      no: parent.no,
      effect: 1,
      kind: eventKind.done,
      attempt: 0,
      payload: null,
    });
    const ending = await pausedCommit(child.lease, parts);
    const leaving = store.commit(parent.lease, evict(parent.no));
    await blocked(leaving);
    await ending.end();
    expect(await leaving).toMatchObject({ left: [] });
  });

  test("the evict of a parent, its child's end: the parent wakes", async () => {
    const child = await startClaimed(store, "child");
    const parent = await startClaimed(store, "parent");
    const parts = finish(child.no);
    parts.mail.push({
      sender: child.no,
      epoch: 1,
      no: parent.no,
      effect: 1,
      kind: eventKind.done,
      attempt: 0,
      payload: null,
    });
    const leaving = await pausedCommit(parent.lease, evict(parent.no));
    const ending = store.commit(child.lease, parts);
    await blocked(ending);
    await leaving.end();
    expect(await ending).toMatchObject({ left: [child.no], poke: [], woke: true });
    expect(await store.claim(child.lease, 1, 9, 9)).toMatchObject([{ no: parent.no, epoch: 2 }]);
  });
});

describe("claim", () => {
  test("two claims at once are disjoint: what one has locked the other passes over", async () => {
    const program = await putProgram(store);
    await store.start(
      program,
      1,
      ["a", "b", "c", "d"].map((id) => startRow(id)),
    );
    const [first, second] = [await openLease(store), await openLease(store)];
    const claim = await paused(sql.claim, [first, 1, 0, 2, "-infinity", -32_768, "0"]);
    const nos = (await store.claim(second, 1, 9, 9)).map(({ no }) => no);
    await claim.end();
    expect(nos).toHaveLength(2);
    const other = await store.held(first);
    expect(new Set([...nos, ...other.map(({ no }) => no)]).size).toBe(4);
  });

  test("deliver, claim: passed over, and found by the next claim; claim, deliver: the owner is told", async () => {
    const program = await putProgram(store);
    const [started] = await store.start(program, 1, [startRow("a")]);
    const lease = await openLease(store);
    const deliver = await deliverTo(started!.no);
    expect(await store.claim(lease, 1, 9, 9)).toEqual([]);
    await deliver.end();
    const claim = await paused(sql.claim, [lease, 1, 9, 9, "-infinity", -32_768, "0"]);
    const delivery = store.deliver([mailTo(started!.no)]);
    await blocked(delivery);
    await claim.end();
    expect(await delivery).toEqual([{ no: started!.no, lease }]);
  });

  test("a claim that is under way holds off the fence of its lease; a fenced lease claims nothing", async () => {
    const program = await putProgram(store);
    await store.start(program, 1, [startRow("a"), startRow("b")]);
    const lease = await openLease(store, { ttlMs: -1_000 });
    const claim = await paused(sql.claim, [lease, 1, 0, 1, "-infinity", -32_768, "0"]);
    expect((await store.reclaim(9)).fenced).toEqual([]);
    await claim.end();
    expect(await store.reclaim(9)).toEqual({ fenced: [lease], released: 1 });
    expect(await store.claim(lease, 1, 9, 9)).toEqual([]);
  });

  test("what the owner before wrote is seen by a load after the claim", async () => {
    const first = await startClaimed(store);
    await store.commit(first.lease, batch({ journal: [event(first.no, 1, 1)], ...{ leave: evict(first.no).leave } }));
    await store.deliver([mailTo(first.no)]);
    const second = await openLease(store);
    expect(await store.claim(second, 1, 9, 9)).toMatchObject([{ no: first.no, epoch: 2 }]);
    expect(await store.load(second, [first.no])).toMatchObject([
      { epoch: 2, mail: 1, tail: [{ seq: 1 }], inbox: [{ effect: 1 }] },
    ]);
  });
});

describe("fence", () => {
  test("commit, fence: passed over while the commit runs, done after, and the next commit writes nothing", async () => {
    const { no, lease } = await startClaimed(store);
    await (await session()).query("update waymark.lease set ttl = '-1 second' where id = $1", [lease]);
    const commit = await pausedCommit(lease, batch({ journal: [event(no, 1, 1)] }));
    expect((await store.reclaim(9)).fenced).toEqual([]);
    await commit.end();
    expect(await store.reclaim(9)).toEqual({ fenced: [lease], released: 1 });
    expect(await store.commit(lease, batch({ journal: [event(no, 1, 2)] }))).toEqual({ kind: "fenced" });
    expect(await store.history(no)).toHaveLength(1);
  });

  test("fence, commit: the commit waits and then writes nothing", async () => {
    const { no, lease } = await startClaimed(store);
    const fence = await paused(sql.closeLease, [lease]);
    const commit = store.commit(lease, finish(no));
    await blocked(commit);
    await fence.end();
    expect(await commit).toEqual({ kind: "fenced" });
    expect(await store.history(no)).toEqual([]);
  });

  test("fence rolled back, commit: it goes through", async () => {
    const { no, lease } = await startClaimed(store);
    const fence = await paused(sql.closeLease, [lease]);
    const commit = store.commit(lease, finish(no));
    await blocked(commit);
    await fence.end("rollback");
    expect(await commit).toMatchObject({ left: [no] });
  });

  test("renew, fence: spared; fence, renew: gone", async () => {
    const lease = await openLease(store, { ttlMs: 1_000 });
    const admin = await session();
    await admin.query("update waymark.lease set renewed_at = renewed_at - interval '1 hour'");
    const renewal = await paused(sql.renew, [[lease]]);
    expect((await store.reclaim(9)).fenced).toEqual([]);
    await renewal.end();
    await admin.query("update waymark.lease set renewed_at = renewed_at - interval '1 hour'");
    const fence = await paused(sql.fence, [0]);
    const late = store.renew([lease]);
    await blocked(late);
    await fence.end();
    expect(await late).toEqual([]);
  });

  test("a lease that lives is never released", async () => {
    const { no, lease } = await startClaimed(store);
    const { rows } = await (await session()).query(sql.release.text, [lease, 100, 1]);
    expect(rows).toEqual([]);
    expect(await store.held(lease)).toEqual([{ no, epoch: 1 }]);
  });

  test("rows of a lease that the server forgot are released without a strike", async () => {
    const { no, lease } = await startClaimed(store);
    await (await session()).query("truncate waymark.lease"); // what a crash does to an unlogged table
    expect(await store.reclaim(9)).toEqual({ fenced: [], released: 1 });
    expect(await store.commit(lease, batch({ journal: [event(no, 1, 1)] }))).toEqual({ kind: "fenced" });
    expect(await store.claim(await openLease(store), 1, 9, 9)).toMatchObject([{ no, strikes: 0 }]);
  });
});

describe("the same batch twice", () => {
  const full = (a: number, b: number) => {
    const parts = finish(a);
    parts.mail.push({ sender: a, epoch: 1, no: b, effect: 1, kind: eventKind.done, attempt: 0, payload: null });
    return parts;
  };
  const count = async (table: string) =>
    Number((await (await session()).query(`select count(*) from waymark.${table}`)).rows[0].count);

  test("while the first is under way: one effect", async () => {
    const [a, b] = [await startClaimed(store, "a"), await startClaimed(store, "b")];
    const first = await pausedCommit(a.lease, full(a.no, b.no));
    const second = store.commit(a.lease, full(a.no, b.no));
    await blocked(second);
    await first.end();
    expect(await second).toMatchObject({ kind: "committed", lost: [], left: [a.no], poke: [b.lease] });
    expect([await count("journal"), await count("inbox"), await count("result")]).toEqual([1, 1, 1]);
  });

  test("while the first is under way, and it rolls back: the second is the one", async () => {
    const [a, b] = [await startClaimed(store, "a"), await startClaimed(store, "b")];
    const first = await pausedCommit(a.lease, full(a.no, b.no));
    const second = store.commit(a.lease, full(a.no, b.no));
    await blocked(second);
    await first.end("rollback");
    expect(await second).toMatchObject({ left: [a.no], poke: [b.lease] });
    expect([await count("journal"), await count("inbox"), await count("result")]).toEqual([1, 1, 1]);
  });

  test("after the sender was claimed again: nothing of it is written", async () => {
    const a = await startClaimed(store, "a");
    const b = await startClaimed(store, "b");
    const parts = batch({
      journal: [event(a.no, 1, 1)],
      mail: [{ sender: a.no, epoch: 1, no: b.no, effect: 1, kind: eventKind.done, attempt: 0, payload: null }],
      leave: [{ no: a.no, epoch: 1, mail: 0, what: "evict", due: Date.now() - 1, seq: 1 }],
    });
    await store.commit(a.lease, parts);
    await store.claim(a.lease, 1, 9, 9);
    expect(await store.commit(a.lease, parts)).toMatchObject({ kind: "committed" });
    expect([await count("journal"), await count("inbox")]).toEqual([1, 1]);
    expect(await store.held(a.lease)).toEqual([{ no: a.no, epoch: 2 }]);
  });

  test("because the reply was lost on the way: the store sends it again and says what happened", async () => {
    const [a, b] = [await startClaimed(store, "a"), await startClaimed(store, "b")];
    await using proxy = await lossyProxy(new URL(database.url));
    const behind = await openPostgres(proxy.url);
    try {
      expect(await behind.held(a.lease)).toHaveLength(1);
      proxy.loseReplyOf("commit");
      expect(await behind.commit(a.lease, full(a.no, b.no))).toMatchObject({
        kind: "committed",
        lost: [],
        left: [a.no],
        poke: [b.lease],
      });
      expect(proxy.lost()).toBe(1);
      expect([await count("journal"), await count("inbox"), await count("result")]).toEqual([1, 1, 1]);
      const c = await startClaimed(store, "c");
      proxy.loseReplyOf("commit");
      expect(await behind.commit(c.lease, evict(c.no))).toMatchObject({ lost: [], left: [c.no] });
      expect(proxy.lost()).toBe(2);
      proxy.loseReplyOf("claim");
      await store.deliver([mailTo(c.no)]);
      await expect(behind.claim(c.lease, 1, 9, 9)).rejects.toMatchObject({ code: "WM501" });
      expect(await behind.held(c.lease)).toContainEqual({ no: c.no, epoch: 2 });
      proxy.loseReplyOf("start");
      expect(await behind.start(await putProgram(store), 1, [startRow("d")])).toMatchObject([{ created: true }]);
      expect(proxy.lost()).toBe(4);
    } finally {
      await behind.close();
    }
  });
});

describe("locks", () => {
  test("rows are locked in ascending order, whatever the order of the batch: who waits for one holds none after it", async () => {
    const program = await putProgram(store);
    await store.start(program, 1, [startRow("a"), startRow("b")]);
    const lease = await openLease(store);
    const [low, high] = (await store.claim(lease, 1, 9, 9)).map(({ no }) => no) as [number, number];
    const probe = await session();
    const leave = [high, low].map((no) => ({ ...evict(no).leave[0]!, no }));
    const waiting = [
      () => store.commit(lease, batch({ leave })),
      () => store.deliver([mailTo(high), mailTo(low)]),
      () => store.results(["b", "a"], "me"),
      () => store.terminate([high, low], null),
    ];
    for (const start of waiting) {
      const holder = await session();
      await holder.query("begin");
      await holder.query("select 1 from waymark.queue where instance = $1 for update", [low]);
      const running = start();
      await blocked(running);
      await probe.query("select 1 from waymark.queue where instance = $1 for update nowait", [high]);
      await holder.query("rollback");
      await running;
    }
  });
});

describe("others", () => {
  test("start, start of the same id: one row, and the second learns of the first", async () => {
    const program = await putProgram(store);
    const client = await session();
    await client.query("begin");
    const seed = "00000000-0000-0000-0000-000000000001";
    await client.query(sql.start.text, [
      program,
      1,
      null,
      ["a"],
      [seed],
      [0],
      [null],
      [null],
      [5n],
      [bytes("first")],
      [null],
    ]);
    const second = store.start(program, 1, [startRow("a")]);
    await blocked(second);
    await client.query("commit");
    expect(await second).toMatchObject([{ id: "a", created: false, inputHash: 5n }]);
  });

  test("overlapping batches of starts in opposite order do not deadlock", async () => {
    const program = await putProgram(store);
    const ids = Array.from({ length: 200 }, (_, index) => `i${index}`);
    const answers = await Promise.all(
      [ids, ids.toReversed(), ids].map((some) =>
        store.start(
          program,
          1,
          some.map((id) => startRow(id)),
        ),
      ),
    );
    expect(answers.flat().filter(({ created }) => created)).toHaveLength(200);
  });

  test("terminate, claim: passed over; claim, terminate: nothing ends", async () => {
    const program = await putProgram(store);
    const [started] = await store.start(program, 1, [startRow("a")]);
    const lease = await openLease(store);
    const claim = await paused(sql.claim, [lease, 1, 9, 9, "-infinity", -32_768, "0"]);
    const terminate = store.terminate([started!.no], null);
    await blocked(terminate);
    await claim.end();
    expect(await terminate).toEqual([]);
    expect(await store.results(["a"])).toMatchObject([{ status: "running" }]);
  });

  test("a late client, a finish: whoever is first, the client is told or reads the result", async () => {
    const { no, lease } = await startClaimed(store);
    const wait = await paused(sql.wait, [["a"], "me"]);
    const ending = store.commit(lease, finish(no));
    await blocked(ending);
    await wait.end();
    expect(await ending).toMatchObject({ ended: [{ waiter: "me", ids: ["a"] }] });
    const b = await startClaimed(store, "b");
    const finishing = await pausedCommit(b.lease, finish(b.no));
    const asking = store.results(["b"], "me");
    await blocked(asking);
    await finishing.end();
    expect(await asking).toMatchObject([{ status: "completed" }]);
  });

  test("between statements no session is in a transaction or holds a lock, but for its host's", async () => {
    await store.listen({ host: 5n }, () => {});
    const { no, lease } = await startClaimed(store);
    await store.load(lease, [no]);
    await store.deliver([mailTo(no)]);
    await store.commit(
      lease,
      batch({ journal: [event(no, 1, 1)], snapshots: [{ no, seq: 1, format: 1, body: bytes("state") }] }),
    );
    await store.renew([lease]);
    await store.reclaim(9);
    await store.notify([{ kind: "work" }]);
    const admin = await session();
    const { rows } = await admin.query(
      `select a.state, a.xact_start is not null as open, l.locktype from pg_stat_activity a left join pg_locks l using (pid)
       where a.datname = current_database() and a.application_name like 'waymark%'`,
    );
    expect(rows.length).toBeGreaterThan(2);
    for (const row of rows) expect(row).toEqual({ state: "idle", open: false, locktype: row.locktype && "advisory" });
    expect(rows.filter(({ locktype }) => locktype)).toHaveLength(1);
  });

  test("a database whose default is another isolation level makes no difference", async () => {
    await (await session()).query(
      `alter database ${database.name} set default_transaction_isolation = 'repeatable read'`,
    );
    const strict = await openPostgres(database.url);
    try {
      const { no, lease } = await startClaimed(strict);
      const leaving = await pausedCommit(lease, evict(no));
      const delivery = strict.deliver([mailTo(no)]);
      await blocked(delivery);
      await leaving.end();
      expect(await delivery).toEqual([{ no, lease: null }]);
    } finally {
      await strict.close();
    }
  });
});

/** Passes bytes on; when armed, lets a statement through and cuts the connection instead of passing its reply on. */
async function lossyProxy(target: URL) {
  let armed: string | null = null;
  let lost = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    let cut = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (chunk) => {
      if (armed !== null && chunk.includes(armed)) {
        armed = null;
        cut = true;
      }
      upstream.write(chunk);
    });
    upstream.on("data", (chunk) => {
      if (!cut) return client.write(chunk);
      if (!chunk.includes("C") || (!chunk.includes("SELECT") && !chunk.includes("UPDATE"))) return false;
      lost++;
      return client.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = new URL(target);
  url.port = String((server.address() as { port: number }).port);
  return {
    url: url.href,
    loseReplyOf: (statement: string) => {
      armed = statement;
    },
    lost: () => lost,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
