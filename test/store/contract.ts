// What every store must do, whatever it is made of. Each test gets an empty store; `open` gives another handle on the
// same truth, as another process would have. Nothing waits: a lease that has run out is opened with a time to live in the
// past, a sleeper is due because its time is.

import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { inputHash } from "../../src/store/input.ts";
import { type Commit, eventKind, type Notice, resultStatus, type StartRow, type Store } from "../../src/store/store.ts";

export interface Place {
  open(): Promise<Store>;
  close(): Promise<void>;
}

export const hour = 3_600_000;
export const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
export const text = (given: Uint8Array | null): string | null => given && Buffer.from(given).toString();
export const randomLease = (): bigint => randomBytes(8).readBigInt64BE() & 0x7fff_ffff_ffff_ffffn;

export function startRow(id: string, more: Partial<StartRow> = {}): StartRow {
  return {
    id,
    input: bytes(`input of ${id}`),
    seed: randomBytes(16),
    priority: 0,
    startAt: null,
    parent: null,
    waiter: null,
    ...more,
  };
}

export function batch(parts: Partial<Commit>): Commit {
  return { journal: [], snapshots: [], read: [], mail: [], leave: [], ...parts };
}

export function event(
  no: number,
  epoch: number,
  seq: number,
  more: Partial<Commit["journal"][number]> = {},
): Commit["journal"][number] {
  return {
    no,
    epoch,
    seq,
    at: 1_700_000_000_123 + seq,
    effect: seq - 1,
    kind: eventKind.done,
    attempt: 1,
    payload: bytes(`event ${seq}`),
    ...more,
  };
}

export async function putProgram(store: Store, workflow = "welcome", version = "1", format = 1): Promise<number> {
  return store.putProgram({
    hash: bytes(`${workflow} ${version}`),
    workflow,
    format,
    body: bytes("body"),
    debug: bytes("debug"),
  });
}

export async function openLease(store: Store, more: { host?: bigint; ttlMs?: number } = {}): Promise<bigint> {
  const id = randomLease();
  await store.openLease({ id, host: more.host ?? 1n, ttlMs: more.ttlMs ?? hour, info: "a shard" });
  return id;
}

/** One instance, started and claimed by a new lease: epoch 1. */
export async function startClaimed(
  store: Store,
  id = "a",
  more: Partial<StartRow> = {},
): Promise<{ no: number; lease: bigint }> {
  const [started] = await store.start(await putProgram(store), 1, [startRow(id, more)]);
  const lease = await openLease(store);
  const claimed = await store.claim(lease, 1, 10, 10);
  expect(claimed.map(({ no }) => no)).toContain(started!.no);
  return { no: started!.no, lease };
}

const committed = { kind: "committed", lost: [], left: [], poke: [], woke: false, ended: [] };

export function storeContract(name: string, openPlace: () => Promise<Place>): void {
  describe(name, () => {
    let place: Place;
    let store: Store;
    beforeEach(async () => {
      place = await openPlace();
      store = await place.open();
    });
    afterEach(() => place.close());

    describe("programs", () => {
      test("a program is stored once, and comes back byte for byte", async () => {
        const no = await putProgram(store);
        expect(await putProgram(store)).toBe(no);
        const row = await store.getProgram(no);
        expect({ ...row, hash: text(row!.hash), body: text(row!.body), debug: text(row!.debug) }).toEqual({
          no,
          workflow: "welcome",
          format: 1,
          hash: "welcome 1",
          body: "body",
          debug: "debug",
        });
        expect(await store.getProgram(no + 99)).toBeNull();
      });

      test("the latest program is the one put last, also after a rollback", async () => {
        const first = await putProgram(store, "welcome", "1");
        const second = await putProgram(store, "welcome", "2", 3);
        await putProgram(store, "other", "9");
        expect(await store.latestProgram("welcome")).toEqual({ no: second, format: 3 });
        await putProgram(store, "welcome", "1");
        expect(await store.latestProgram("welcome")).toEqual({ no: first, format: 1 });
        expect(await store.latestProgram("nobody")).toBeNull();
      });
    });

    describe("start", () => {
      test("an id starts once; the second caller sees what the first gave", async () => {
        const program = await putProgram(store);
        const row = startRow("a");
        const [first] = await store.start(program, 1, [row]);
        expect(first).toEqual({ id: "a", no: first!.no, created: true, program, inputHash: inputHash(row.input) });
        const later = await putProgram(store, "welcome", "2");
        const [second] = await store.start(later, 1, [startRow("a", { input: bytes("another") })]);
        expect(second).toEqual({ ...first, created: false });
        expect(second!.inputHash).not.toBe(inputHash(bytes("another")));
      });

      test("a start repeated with its own seed, because the reply was lost, is created by the caller", async () => {
        const program = await putProgram(store);
        const row = startRow("a");
        const [first] = await store.start(program, 1, [row]);
        expect(await store.start(program, 1, [row])).toEqual([first]);
      });

      test("many at once, some there already, an id twice: one answer an id, in order", async () => {
        const program = await putProgram(store);
        await store.start(program, 1, [startRow("b")]);
        const answer = await store.start(program, 1, [
          startRow("c", { waiter: "w" }),
          startRow("b"),
          startRow("a"),
          startRow("c"),
        ]);
        expect(answer.map(({ id, created }) => [id, created])).toEqual([
          ["c", true],
          ["b", false],
          ["a", true],
        ]);
        expect(new Set(answer.map(({ no }) => no)).size).toBe(3);
        expect(await store.start(program, 1, [])).toEqual([]);
      });

      test("a name that could not be kept for a waiting client is refused", async () => {
        const program = await putProgram(store);
        await expect(store.start(program, 1, [startRow("a", { waiter: "two words" })])).rejects.toMatchObject({
          code: "WM570",
        });
      });
    });

    describe("claim", () => {
      test("due before new; due by time; new by priority, then age", async () => {
        const program = await putProgram(store);
        const rows = [
          startRow("old"),
          startRow("low", { priority: -1 }),
          startRow("young"),
          startRow("high", { priority: 5 }),
          startRow("due second", { startAt: Date.now() - 1_000 }),
          startRow("due first", { startAt: Date.now() - 2_000 }),
          startRow("not due", { startAt: Date.now() + hour }),
        ];
        const nos: number[] = [];
        for (const row of rows) nos.push((await store.start(program, 1, [row]))[0]!.no);
        const ids = (some: { no: number }[]) => some.map(({ no }) => rows[nos.indexOf(no)]!.id);
        const lease = await openLease(store);
        expect(ids(await store.claim(lease, 1, 1, 2))).toEqual(["due first", "high", "old"]);
        expect(ids(await store.claim(lease, 1, 9, 1))).toEqual(["due second", "young"]);
        const last = await store.claim(lease, 1, 9, 9);
        expect(last).toEqual([{ no: nos[1], epoch: 1, seq: 0, strikes: 0, rank: 1 }]);
        expect(await store.claim(lease, 1, 9, 9)).toEqual([]);
      });

      test("what arrives before the last one claimed is found at once: a higher priority, a late commit", async () => {
        const program = await putProgram(store);
        await store.start(program, 1, [startRow("a"), startRow("b")]);
        const lease = await openLease(store);
        expect(await store.claim(lease, 1, 1, 1)).toHaveLength(1);
        const [urgent] = await store.start(program, 1, [startRow("c", { priority: 9 })]);
        const [earlier] = await store.start(program, 1, [startRow("d", { startAt: Date.now() - hour })]);
        const nos = (await store.claim(lease, 1, 5, 5)).map(({ no }) => no);
        expect(nos).toContain(urgent!.no);
        expect(nos).toContain(earlier!.no);
        expect(nos).toHaveLength(3);
      });

      test("only the format asked for, and nothing for a lease that is not there", async () => {
        const program = await putProgram(store, "welcome", "1", 2);
        const [started] = await store.start(program, 2, [startRow("a")]);
        const lease = await openLease(store);
        expect(await store.claim(lease, 1, 9, 9)).toEqual([]);
        expect(await store.claim(randomLease(), 2, 9, 9)).toEqual([]);
        expect(await store.claim(lease, 2, 0, 0)).toEqual([]);
        expect(await store.claim(lease, 2, 9, 9)).toMatchObject([{ no: started!.no, epoch: 1 }]);
        expect(await store.held(lease)).toEqual([{ no: started!.no, epoch: 1 }]);
        expect(await store.held(randomLease())).toEqual([]);
      });

      test("two hosts never get the same instance", async () => {
        const program = await putProgram(store);
        await store.start(
          program,
          1,
          Array.from({ length: 60 }, (_, index) => startRow(`i${index}`)),
        );
        const other = await place.open();
        const leases = [await openLease(store), await openLease(other)];
        const claims = await Promise.all(
          [0, 1, 0, 1].map((which) => (which ? other : store).claim(leases[which]!, 1, 5, 15)),
        );
        const nos = claims.flat().map(({ no }) => no);
        expect(new Set(nos).size).toBe(nos.length);
        const rest = await store.claim(leases[0]!, 1, 60, 60);
        expect(nos.length + rest.length).toBe(60);
      });
    });

    describe("load", () => {
      test("a new instance: its input, and everything it was started with", async () => {
        const seed = randomBytes(16);
        const before = Date.now();
        const { no, lease } = await startClaimed(store, "a", {
          seed,
          waiter: "me",
          parent: { instance: 77, effect: 3 },
        });
        const [loaded] = await store.load(lease, [no]);
        expect(Buffer.from(loaded!.seed).equals(seed)).toBe(true);
        expect(text(loaded!.input)).toBe("input of a");
        expect(Math.abs(loaded!.createdAt - before)).toBeLessThan(10_000);
        expect(loaded).toMatchObject({
          no,
          id: "a",
          epoch: 1,
          mail: 0,
          waiter: "me",
          parent: { instance: 77, effect: 3 },
          snapshot: null,
          tail: [],
          inbox: [],
        });
      });

      test("with a snapshot: no input, the journal after it in order, the mail that waits", async () => {
        const { no, lease } = await startClaimed(store);
        const journal = [event(no, 1, 2), event(no, 1, 1, { payload: null, kind: eventKind.start }), event(no, 1, 3)];
        await store.commit(lease, batch({ journal, snapshots: [{ no, seq: 1, format: 1, body: bytes("state 1") }] }));
        await store.deliver([{ no, effect: 4, kind: eventKind.failed, attempt: 2, payload: bytes("first") }]);
        await store.deliver([{ no, effect: 5, kind: eventKind.cancel, attempt: 0, payload: null }]);
        const [loaded] = await store.load(lease, [no]);
        expect(loaded!.input).toBeNull();
        expect(loaded!.snapshot).toMatchObject({ seq: 1, format: 1 });
        expect(text(loaded!.snapshot!.body)).toBe("state 1");
        expect(
          loaded!.tail.map(({ seq, at, effect, kind, attempt, payload }) => [
            seq,
            at,
            effect,
            kind,
            attempt,
            text(payload),
          ]),
        ).toEqual([
          [2, 1_700_000_000_125, 1, eventKind.done, 1, "event 2"],
          [3, 1_700_000_000_126, 2, eventKind.done, 1, "event 3"],
        ]);
        expect(loaded!.mail).toBe(2);
        expect(
          loaded!.inbox.map(({ effect, kind, attempt, payload }) => [effect, kind, attempt, text(payload)]),
        ).toEqual([
          [4, eventKind.failed, 2, "first"],
          [5, eventKind.cancel, 0, null],
        ]);
        expect((await store.history(no)).map(({ seq, payload }) => [seq, text(payload)])).toEqual([
          [1, null],
          [2, "event 2"],
          [3, "event 3"],
        ]);
      });

      test("only what the lease holds, many at once", async () => {
        const { no, lease } = await startClaimed(store, "a");
        const other = await startClaimed(store, "b");
        expect((await store.load(lease, [no, other.no])).map((row) => row.no)).toEqual([no]);
        expect((await store.mail(lease, [other.no, no])).map((row) => row.no)).toEqual([no]);
        expect(await store.load(randomLease(), [no])).toEqual([]);
        expect(await store.load(lease, [])).toEqual([]);
        expect(await store.history(12_345)).toEqual([]);
      });
    });

    describe("commit", () => {
      test("events in a batch are all written, with any bytes", async () => {
        const { no, lease } = await startClaimed(store);
        const all = Uint8Array.from({ length: 256 }, (_, index) => index);
        const big = new Uint8Array(randomBytes(200_000));
        const journal = [
          event(no, 1, 1, { payload: all }),
          event(no, 1, 2, { payload: big }),
          event(no, 1, 3, { payload: new Uint8Array(0) }),
        ];
        expect(await store.commit(lease, batch({ journal }))).toEqual(committed);
        const rows = await store.history(no);
        expect(
          rows.map(({ payload }) =>
            Buffer.compare(payload!, journal[rows.findIndex((row) => row.payload === payload)]!.payload!),
          ),
        ).toEqual([0, 0, 0]);
      });

      test("the newest snapshot replaces the others", async () => {
        const { no, lease } = await startClaimed(store);
        for (const seq of [1, 2, 3]) {
          await store.commit(
            lease,
            batch({ journal: [event(no, 1, seq)], snapshots: [{ no, seq, format: 1, body: bytes(`state ${seq}`) }] }),
          );
        }
        const [loaded] = await store.load(lease, [no]);
        expect(text(loaded!.snapshot!.body)).toBe("state 3");
        expect(loaded!.tail).toEqual([]);
      });

      test("evict until a time: asleep, due then, and back with a new epoch", async () => {
        const { no, lease } = await startClaimed(store);
        const due = Date.now() + hour;
        const leave = [{ no, epoch: 1, mail: 0, what: "evict" as const, due, seq: 1 }];
        const snapshots = [{ no, seq: 1, format: 1, body: bytes("state") }];
        expect(await store.commit(lease, batch({ journal: [event(no, 1, 1)], snapshots, leave }))).toEqual({
          ...committed,
          left: [no],
        });
        expect(await store.results(["a"])).toMatchObject([{ status: "waiting" }]);
        expect(await store.nextDue(1)).toBe(due);
        expect(await store.nextDue(2)).toBeNull();
        expect(await store.claim(lease, 1, 9, 9)).toEqual([]);
        await store.deliver([{ no, effect: 1, kind: eventKind.done, attempt: 1, payload: null }]);
        expect(await store.claim(lease, 1, 9, 9)).toEqual([{ no, epoch: 2, seq: 1, strikes: 0, rank: 0 }]);
      });

      test("evict with a time that has passed is due at once", async () => {
        const { no, lease } = await startClaimed(store);
        await store.commit(
          lease,
          batch({ leave: [{ no, epoch: 1, mail: 0, what: "evict", due: Date.now() - 1, seq: 0 }] }),
        );
        expect(await store.claim(lease, 1, 9, 9)).toMatchObject([{ no, epoch: 2 }]);
      });

      test("finish: a result, whom to tell, and nothing left to claim or to write to", async () => {
        const { no, lease } = await startClaimed(store, "a", { waiter: "me" });
        await store.results(["a"], "you");
        const leave = [
          { no, epoch: 1, mail: 0, what: "finish" as const, status: resultStatus.completed, outcome: bytes("42") },
        ];
        const answer = await store.commit(lease, batch({ journal: [event(no, 1, 1)], leave }));
        expect(answer).toEqual({
          ...committed,
          left: [no],
          ended: [
            { waiter: "me", ids: ["a"] },
            { waiter: "you", ids: ["a"] },
          ],
        });
        const [result] = await store.results(["a", "nobody"]);
        expect({ ...result, outcome: text(result!.outcome) }).toEqual({
          id: "a",
          no,
          status: "completed",
          workflow: "welcome",
          reason: null,
          outcome: "42",
        });
        expect(await store.deliver([{ no, effect: 1, kind: eventKind.done, attempt: 1, payload: null }])).toEqual([]);
        expect(await store.held(lease)).toEqual([]);
        expect(await store.commit(lease, batch({ journal: [event(no, 1, 2)] }))).toEqual({ ...committed, lost: [no] });
        expect(await store.history(no)).toHaveLength(1);
        const [again] = await store.start(1, 1, [startRow("a")]);
        expect(again).toMatchObject({ no, created: false });
      });

      test("failed and cancelled are told apart", async () => {
        const failed = await startClaimed(store, "f");
        const cancelled = await startClaimed(store, "c");
        for (const [{ no, lease }, status] of [
          [failed, resultStatus.failed],
          [cancelled, resultStatus.cancelled],
        ] as const) {
          await store.commit(
            lease,
            batch({
              journal: [event(no, 1, 1)],
              leave: [{ no, epoch: 1, mail: 0, what: "finish", status, outcome: null }],
            }),
          );
        }
        expect((await store.results(["f", "c"])).map(({ id, status }) => [id, status]).sort()).toEqual([
          ["c", "cancelled"],
          ["f", "failed"],
        ]);
      });

      test("quarantine: out of the way, with a reason, and the waiting client is told", async () => {
        const { no, lease } = await startClaimed(store, "a", { waiter: "me" });
        const leave = [{ no, epoch: 1, mail: 0, what: "quarantine" as const, reason: "it killed three hosts", seq: 0 }];
        expect(await store.commit(lease, batch({ leave }))).toEqual({
          ...committed,
          left: [no],
          ended: [{ waiter: "me", ids: ["a"] }],
        });
        expect(await store.results(["a"])).toMatchObject([{ status: "quarantined", reason: "it killed three hosts" }]);
        await store.deliver([{ no, effect: 1, kind: eventKind.done, attempt: 1, payload: null }]);
        expect(await store.claim(lease, 1, 9, 9)).toEqual([]);
      });

      test("who has unread mail does not leave, and loses nothing by it", async () => {
        const { no, lease } = await startClaimed(store);
        await store.deliver([{ no, effect: 1, kind: eventKind.done, attempt: 1, payload: bytes("late") }]);
        for (const what of ["evict", "quarantine"] as const) {
          const leave = [{ no, epoch: 1, mail: 0, what, due: null, seq: 0, reason: "none" }];
          expect(await store.commit(lease, batch({ leave }))).toEqual(committed);
        }
        const finish = [
          { no, epoch: 1, mail: 0, what: "finish" as const, status: resultStatus.completed, outcome: null },
        ];
        expect(await store.commit(lease, batch({ journal: [event(no, 1, 1)], leave: finish }))).toEqual(committed);
        const [box] = await store.mail(lease, [no]);
        expect(box).toMatchObject({ no, mail: 1 });
        const read = box!.rows.map(({ id }) => ({ no, id }));
        const journal = [event(no, 1, 2)];
        const leave = finish.map((row) => ({ ...row, mail: 1 }));
        expect(await store.commit(lease, batch({ journal, read, leave }))).toEqual({ ...committed, left: [no] });
      });

      test("mail that was read is gone; the counter stays", async () => {
        const { no, lease } = await startClaimed(store);
        await store.deliver([1, 2].map((effect) => ({ no, effect, kind: eventKind.done, attempt: 1, payload: null })));
        const [box] = await store.mail(lease, [no]);
        await store.commit(lease, batch({ journal: [event(no, 1, 1)], read: [{ no, id: box!.rows[0]!.id }] }));
        const [rest] = await store.mail(lease, [no]);
        expect(rest).toMatchObject({ mail: 2, rows: [{ id: box!.rows[1]!.id }] });
      });

      test("mail to others: the held one's lease is poked, the sleeping one wakes", async () => {
        const child = await startClaimed(store, "child");
        const parent = await startClaimed(store, "parent");
        const sleeper = await startClaimed(store, "sleeper");
        await store.commit(
          sleeper.lease,
          batch({ leave: [{ no: sleeper.no, epoch: 1, mail: 0, what: "evict", due: null, seq: 0 }] }),
        );
        const mail = [parent, sleeper].map(({ no }) => ({
          sender: child.no,
          epoch: 1,
          no,
          effect: 7,
          kind: eventKind.done,
          attempt: 0,
          payload: bytes("result"),
        }));
        const answer = await store.commit(child.lease, batch({ journal: [event(child.no, 1, 1)], mail }));
        expect(answer).toEqual({ ...committed, poke: [parent.lease], woke: true });
        const [box] = await store.mail(parent.lease, [parent.no]);
        expect(box).toMatchObject({ mail: 1, rows: [{ effect: 7, kind: eventKind.done, attempt: 0 }] });
        expect(await store.claim(child.lease, 1, 9, 9)).toMatchObject([{ no: sleeper.no, epoch: 2 }]);
      });

      test("a child that ends in the batch in which its parent would leave: the parent stays", async () => {
        const program = await putProgram(store);
        await store.start(program, 1, [startRow("child"), startRow("parent")]);
        const lease = await openLease(store);
        const [child, parent] = (await store.claim(lease, 1, 9, 9)).map(({ no }) => no) as [number, number];
        const answer = await store.commit(
          lease,
          batch({
            journal: [event(child, 1, 1)],
            mail: [
              {
                sender: child,
                epoch: 1,
                no: parent,
                effect: 1,
                kind: eventKind.done,
                attempt: 0,
                payload: bytes("result"),
              },
            ],
            leave: [
              { no: child, epoch: 1, mail: 0, what: "finish", status: resultStatus.completed, outcome: null },
              { no: parent, epoch: 1, mail: 0, what: "evict", due: null, seq: 0 },
            ],
          }),
        );
        expect(answer).toEqual({ ...committed, left: [child], poke: [lease] });
        expect(await store.mail(lease, [parent])).toMatchObject([{ mail: 1, rows: [{ effect: 1 }] }]);
      });

      test("the same batch twice has one effect, and the second answer says who left", async () => {
        const a = await startClaimed(store, "a");
        const target = await startClaimed(store, "b");
        const twice = batch({
          journal: [event(a.no, 1, 1)],
          mail: [{ sender: a.no, epoch: 1, no: target.no, effect: 1, kind: eventKind.done, attempt: 0, payload: null }],
          leave: [
            { no: a.no, epoch: 1, mail: 0, what: "finish", status: resultStatus.completed, outcome: bytes("once") },
          ],
        });
        expect(await store.commit(a.lease, twice)).toMatchObject({ left: [a.no], poke: [target.lease] });
        expect(await store.commit(a.lease, twice)).toMatchObject({
          kind: "committed",
          lost: [],
          left: [a.no],
          poke: [target.lease],
        });
        expect((await store.mail(target.lease, [target.no]))[0]!.rows).toHaveLength(1);
        expect(await store.history(a.no)).toHaveLength(1);
      });

      test("another event under a number that is taken is refused, and nothing of the batch is written", async () => {
        const a = await startClaimed(store, "a");
        await store.commit(a.lease, batch({ journal: [event(a.no, 1, 1)] }));
        const other = batch({ journal: [event(a.no, 1, 1, { payload: bytes("different") }), event(a.no, 1, 2)] });
        await expect(store.commit(a.lease, other)).rejects.toMatchObject({ code: "WM571" });
        expect(await store.history(a.no)).toHaveLength(1);
      });

      test("a batch that finishes or mails without journaling could be applied twice: it is not accepted", async () => {
        const { no, lease } = await startClaimed(store);
        const finish = batch({
          leave: [{ no, epoch: 1, mail: 0, what: "finish", status: resultStatus.completed, outcome: null }],
        });
        await expect(store.commit(lease, finish)).rejects.toThrow(/journals nothing/);
        const mail = batch({
          mail: [{ sender: no, epoch: 1, no, effect: 1, kind: eventKind.done, attempt: 0, payload: null }],
        });
        await expect(store.commit(lease, mail)).rejects.toThrow(/journals nothing/);
      });

      test("a batch of many instances in any order", async () => {
        const program = await putProgram(store);
        await store.start(
          program,
          1,
          Array.from({ length: 50 }, (_, index) => startRow(`i${index}`)),
        );
        const lease = await openLease(store);
        const nos = (await store.claim(lease, 1, 50, 50)).map(({ no }) => no).reverse();
        const answer = await store.commit(
          lease,
          batch({
            journal: nos.flatMap((no) => [event(no, 1, 2), event(no, 1, 1)]),
            snapshots: nos.map((no) => ({ no, seq: 2, format: 1, body: bytes(`state of ${no}`) })),
            leave: nos.map((no, index) =>
              index % 2
                ? { no, epoch: 1, mail: 0, what: "finish", status: resultStatus.completed, outcome: bytes(`${no}`) }
                : { no, epoch: 1, mail: 0, what: "evict", due: index % 4 ? null : Date.now() - 1, seq: 2 },
            ),
          }),
        );
        expect(answer).toMatchObject({ kind: "committed", lost: [], left: nos.toSorted((a, b) => a - b) });
        const again = await store.claim(lease, 1, 50, 50);
        expect(again).toHaveLength(13);
        const loaded = await store.load(
          lease,
          again.map(({ no }) => no),
        );
        for (const row of loaded)
          expect([text(row.snapshot!.body), row.tail, row.epoch]).toEqual([`state of ${row.no}`, [], 2]);
      });
    });

    describe("fence", () => {
      test("after it nothing at all is written", async () => {
        const target = await startClaimed(store, "target");
        const { no, lease } = await startClaimed(store, "a");
        await store.deliver([{ no, effect: 1, kind: eventKind.done, attempt: 1, payload: null }]);
        const [box] = await store.mail(lease, [no]);
        const late = batch({
          journal: [event(no, 1, 1)],
          snapshots: [{ no, seq: 1, format: 1, body: bytes("stale") }],
          read: [{ no, id: box!.rows[0]!.id }],
          mail: [{ sender: no, epoch: 1, no: target.no, effect: 1, kind: eventKind.done, attempt: 0, payload: null }],
          leave: [{ no, epoch: 1, mail: 1, what: "finish", status: resultStatus.completed, outcome: null }],
        });
        await store.closeLease(lease);
        expect(await store.commit(lease, late)).toEqual({ kind: "fenced" });
        expect(await store.commit(lease, batch({ journal: [event(no, 1, 1)] }))).toEqual({ kind: "fenced" });
        expect(await store.history(no)).toEqual([]);
        expect((await store.mail(target.lease, [target.no]))[0]).toMatchObject({ mail: 0, rows: [] });
        const next = await openLease(store);
        expect(await store.claim(next, 1, 9, 9)).toEqual([{ no, epoch: 2, seq: 0, strikes: 0, rank: 0 }]);
        expect(await store.load(next, [no])).toMatchObject([
          { snapshot: null, tail: [], mail: 1, inbox: [{ effect: 1 }] },
        ]);
      });

      test("an old epoch writes nothing, although the lease lives", async () => {
        const { no, lease } = await startClaimed(store, "a");
        const keeper = await startClaimed(store, "b");
        await store.commit(
          lease,
          batch({ leave: [{ no, epoch: 1, mail: 0, what: "evict", due: Date.now() - 1, seq: 0 }] }),
        );
        await store.claim(lease, 1, 9, 9);
        const stale = batch({
          journal: [event(no, 1, 1)],
          mail: [{ sender: no, epoch: 1, no: keeper.no, effect: 1, kind: eventKind.done, attempt: 0, payload: null }],
          leave: [{ no, epoch: 1, mail: 0, what: "finish", status: resultStatus.completed, outcome: null }],
        });
        expect(await store.commit(lease, stale)).toEqual({ ...committed, lost: [no] });
        expect(await store.history(no)).toEqual([]);
        expect(await store.held(lease)).toEqual([{ no, epoch: 2 }]);
        expect((await store.mail(keeper.lease, [keeper.no]))[0]!.rows).toEqual([]);
      });

      test("a batch of two, one of which moved: that one is lost, the other written", async () => {
        const mine = await startClaimed(store, "a");
        const other = await startClaimed(store, "b");
        const answer = await store.commit(
          mine.lease,
          batch({ journal: [event(mine.no, 1, 1), event(other.no, 1, 1)] }),
        );
        expect(answer).toEqual({ ...committed, lost: [other.no] });
        expect(await store.history(mine.no)).toHaveLength(1);
        expect(await store.history(other.no)).toHaveLength(0);
      });
    });

    describe("leases", () => {
      test("one that ran out is fenced, what it held is due again with a strike", async () => {
        const program = await putProgram(store);
        const [started] = await store.start(program, 1, [startRow("a")]);
        const dead = await openLease(store, { ttlMs: -hour });
        const alive = await openLease(store, { host: 2n });
        expect(await store.claim(dead, 1, 9, 9)).toHaveLength(1);
        expect(await store.reclaim(100)).toEqual({ fenced: [dead], released: 1 });
        expect(await store.reclaim(100)).toEqual({ fenced: [], released: 0 });
        expect(await store.renew([dead, alive])).toEqual([alive]);
        expect(await store.claim(alive, 1, 9, 9)).toEqual([{ no: started!.no, epoch: 2, seq: 0, strikes: 1, rank: 0 }]);
        await store.commit(
          alive,
          batch({ leave: [{ no: started!.no, epoch: 2, mail: 0, what: "evict", due: Date.now() - 1, seq: 0 }] }),
        );
        expect(await store.claim(alive, 1, 9, 9)).toMatchObject([{ strikes: 0 }]);
      });

      test("one that was renewed is spared, although it would have run out", async () => {
        const lease = await openLease(store, { ttlMs: hour });
        expect(await store.renew([lease])).toEqual([lease]);
        expect(await store.reclaim(100)).toEqual({ fenced: [], released: 0 });
        expect(await store.renew([])).toEqual([]);
      });

      test("one that was closed leaves what it held to the others, without a strike", async () => {
        const { no, lease } = await startClaimed(store);
        await store.closeLease(lease);
        expect(await store.results(["a"])).toMatchObject([{ status: "waiting" }]);
        const next = await openLease(store);
        expect(await store.claim(next, 1, 9, 9)).toMatchObject([{ no, epoch: 2, strikes: 0 }]);
      });

      test("a host whose connection is gone is fenced before its time", async () => {
        const host = randomLease();
        const process = await place.open();
        const watcher = await place.open();
        await process.listen({ host }, () => {});
        const lease = await openLease(process, { host });
        expect(await watcher.reclaim(100)).toEqual({ fenced: [], released: 0 });
        await process.close();
        expect(await watcher.reclaim(100)).toEqual({ fenced: [lease], released: 0 });
      });

      test("a lease opened before its host listens is watched as well", async () => {
        const host = randomLease();
        const process = await place.open();
        const lease = await openLease(process, { host });
        await process.listen({ host }, () => {});
        await process.close();
        expect(await store.reclaim(100)).toEqual({ fenced: [lease], released: 0 });
      });
    });

    describe("mail from outside", () => {
      test("whom to tell: the lease that holds it, nobody, or it is over", async () => {
        const { no, lease } = await startClaimed(store, "a");
        const [queued] = await store.start(1, 1, [startRow("b")]);
        const mail = (to: number) => ({ no: to, effect: 1, kind: eventKind.cancel, attempt: 0, payload: null });
        expect(await store.deliver([mail(queued!.no), mail(no), mail(99_999)])).toEqual([
          { no, lease },
          { no: queued!.no, lease: null },
        ]);
        expect(await store.deliver([])).toEqual([]);
      });

      test("it does not start a delayed start early, nor what has never run", async () => {
        const program = await putProgram(store);
        const [later] = await store.start(program, 1, [startRow("later", { startAt: Date.now() + hour })]);
        await store.deliver([{ no: later!.no, effect: 1, kind: eventKind.cancel, attempt: 0, payload: null }]);
        const lease = await openLease(store);
        expect(await store.claim(lease, 1, 9, 9)).toEqual([]);
        expect(await store.results(["later"])).toMatchObject([{ status: "queued" }]);
      });

      test("to one instance many times in a call: all arrive, in order", async () => {
        const { no, lease } = await startClaimed(store);
        await store.deliver(
          [5, 3, 9].map((effect) => ({ no, effect, kind: eventKind.done, attempt: 1, payload: bytes(`${effect}`) })),
        );
        const [box] = await store.mail(lease, [no]);
        expect(box!.mail).toBe(3);
        expect(box!.rows.map(({ effect, payload }) => [effect, text(payload)])).toEqual([
          [5, "5"],
          [3, "3"],
          [9, "9"],
        ]);
      });
    });

    describe("terminate", () => {
      test("ends what never ran, and nothing else", async () => {
        const running = await startClaimed(store, "running");
        const program = await putProgram(store);
        const [queued, delayed] = await store.start(program, 1, [
          startRow("queued"),
          startRow("delayed", { startAt: Date.now() + hour }),
        ]);
        const ended = await store.terminate([running.no, delayed!.no, queued!.no, 99_999], bytes("cancelled"));
        expect(new Set(ended)).toEqual(new Set([queued!.no, delayed!.no]));
        const [result] = await store.results(["queued"]);
        expect([result!.status, text(result!.outcome)]).toEqual(["cancelled", "cancelled"]);
        expect(await store.terminate([queued!.no], null)).toEqual([]);
        expect(await store.claim(running.lease, 1, 9, 9)).toEqual([]);
        expect(await store.results(["running"])).toMatchObject([{ status: "running" }]);
      });

      test("the parent of a child that never ran learns of it", async () => {
        const parent = await startClaimed(store, "parent");
        const program = await putProgram(store);
        const [child] = await store.start(program, 1, [
          startRow("child", { parent: { instance: parent.no, effect: 4 } }),
        ]);
        expect(await store.terminate([child!.no], bytes("cancelled"))).toEqual([child!.no]);
        const [box] = await store.mail(parent.lease, [parent.no]);
        expect(box).toMatchObject({ mail: 1, rows: [{ effect: 4, kind: eventKind.failed }] });
        expect(text(box!.rows[0]!.payload)).toBe("cancelled");
      });
    });

    describe("results", () => {
      test("every status by its name", async () => {
        const program = await putProgram(store);
        await store.start(program, 1, [startRow("a")]);
        const status = async () => (await store.results(["a"]))[0]!.status;
        expect(await status()).toBe("queued");
        const lease = await openLease(store);
        const { no } = (await store.claim(lease, 1, 9, 9))[0]!;
        expect(await status()).toBe("running");
        await store.commit(lease, batch({ leave: [{ no, epoch: 1, mail: 0, what: "evict", due: null, seq: 0 }] }));
        expect(await status()).toBe("waiting");
        expect(await store.results([])).toEqual([]);
      });

      test("a client that asks late is remembered beside the others", async () => {
        const { no, lease } = await startClaimed(store, "a", { waiter: "first" });
        await store.results(["a"], "second");
        await store.results(["a"], "first");
        expect((await store.load(lease, [no]))[0]!.waiter).toBe("second first");
        for (let index = 0; index < 20; index++) await store.results(["a"], `w${index}`);
        expect((await store.load(lease, [no]))[0]!.waiter!.split(" ")).toEqual(
          Array.from({ length: 16 }, (_, index) => `w${index + 4}`),
        );
      });
    });

    describe("notices", () => {
      test("work reaches every host, mail the host of the lease, results the client that waits", async () => {
        const [one, two] = [randomLease(), randomLease()];
        const other = await place.open();
        const lease = await openLease(store, { host: two });
        const heard: [string, Notice][] = [];
        let done: () => void = () => {};
        const all = new Promise<void>((resolve) => {
          done = resolve;
        });
        const hear = (who: string) => (notice: Notice) => {
          heard.push([who, notice]);
          const ids = of("me").flatMap((each) => (each.kind === "result" ? each.ids : []));
          if (of("one").length === 1 && of("two").length === 2 && of("you").length === 1 && new Set(ids).size === 2)
            done();
        };
        const of = (who: string) => heard.filter(([name]) => name === who).map(([, notice]) => notice);
        await store.listen({ host: one }, hear("one"));
        await other.listen({ host: two }, hear("two"));
        await other.listen({ client: "me" }, hear("me"));
        await other.listen({ client: "you" }, hear("you"));
        await store.notify([
          { kind: "work" },
          { kind: "mail", leases: [lease] },
          { kind: "mail", leases: [randomLease()] },
          { kind: "result", waiter: "me", ids: ["a", "b"] },
          { kind: "result", waiter: "you me", ids: ["b"] },
          { kind: "result", waiter: "nobody", ids: ["b"] },
        ]);
        await all;
        expect(of("one")).toEqual([{ kind: "work" }]);
        expect(of("two")).toHaveLength(2);
        expect(of("two")).toContainEqual({ kind: "work" });
        expect(of("two")).toContainEqual({ kind: "mail", leases: [lease] });
        const ids = of("me").flatMap((notice) => (notice.kind === "result" ? notice.ids : []));
        expect([...new Set(ids)].sort()).toEqual(["a", "b"]);
        expect(of("you")).toEqual([{ kind: "result", ids: ["b"] }]);
      });

      test("a closed listener hears nothing more", async () => {
        const host = randomLease();
        const heard: Notice[] = [];
        const listening = await store.listen({ host }, (notice) => heard.push(notice));
        await listening.close();
        await store.notify([{ kind: "work" }]);
        // Another listener hears a later notice: by then an earlier one would have arrived.
        await new Promise<void>((resolve) => {
          void store.listen({ host: randomLease() }, () => resolve()).then(() => store.notify([{ kind: "work" }]));
        });
        expect(heard).toEqual([]);
      });
    });
  });
}
