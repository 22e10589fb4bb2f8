// The client against the store in memory: what is stored, what is refused, how results and errors come back.

import { createHash } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { workflowBrand } from "../../src/author/definition.ts";
import type { WorkflowFunction } from "../../src/author/registry.ts";
import { useRuntime } from "../../src/author/runtime.ts";
import { openClient } from "../../src/client/client.ts";
import type { Compile, ErrorClass } from "../../src/client/programs.ts";
import { NonRetryableError, WorkflowCancelled, WorkflowFailed, workflow } from "../../src/index.ts";
import { memoryState, openMemory } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { type Ending, TinyHost } from "./host.ts";

let count = 0;
const declare = (name = `client-${++count}`) =>
  workflow(name, async (..._args: unknown[]): Promise<unknown> => undefined);

class CardDeclined extends Error {
  readonly card: string;
  constructor(message: string, card: string) {
    super(message);
    this.name = "CardDeclined";
    this.card = card;
  }
}

// A client asks the compiler for bytes and a hash; these are as good as any to a store, which never looks inside.
const compile: Compile = ({ [workflowBrand]: { name } }) => ({
  row: {
    hash: createHash("sha256").update(name).digest(),
    workflow: name,
    format: 1,
    body: Buffer.from(name),
    debug: null,
  },
  children: [],
  errorClasses: () => new Map<string, ErrorClass>([["CardDeclined", CardDeclined]]),
});

function watched(store: Store) {
  const calls: { [Name in keyof Store]?: Parameters<Store[Name]>[] } = {};
  const proxy = new Proxy(store, {
    get(target, name: keyof Store) {
      return (...args: never[]) => {
        (calls as Record<string, unknown[]>)[name] ??= [];
        (calls as Record<string, unknown[]>)[name]!.push(args);
        return (target[name] as (...all: never[]) => unknown).apply(target, args);
      };
    },
  });
  return { proxy, calls };
}

async function setUp(options: { skipWait?: boolean; wrap?: (store: Store) => Store } = {}) {
  const state = memoryState();
  const open = () => openMemory(Date.now, state);
  const { proxy, calls } = watched(open());
  const client = openClient({ store: options.wrap?.(proxy) ?? proxy, compile, skipWait: options.skipWait ?? false });
  useRuntime(client);
  const host = await new TinyHost(open()).open();
  return { client, host, calls, state, store: host.store };
}

const claimAll = async (host: TinyHost, ids: number) => {
  const claimed: string[] = [];
  await vi.waitFor(async () => {
    claimed.push(...(await host.claim()));
    expect(claimed).toHaveLength(ids);
  });
  return claimed;
};
const completed = (value: unknown) => (): Ending => ({ status: "completed", value });
const refusal = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

afterEach(async () => {
  vi.useRealTimers();
  await useRuntime(undefined)?.then((runtime) => runtime.close());
});

describe("starting", () => {
  test("start() stores the instance and gives a handle", async () => {
    const { calls, host } = await setUp();
    const flow = declare();
    const handle = await flow.start("a", { b: 1n });
    expect(handle).toMatchObject({ id: expect.stringMatching(/^[0-9a-f-]{36}$/), workflow: flow.workflowName });
    expect(await handle.status()).toBe("queued");
    expect(await host.claim()).toEqual([handle.id]);
    expect(await handle.status()).toBe("running");
    expect(calls.notify).toEqual([[[{ kind: "work" }]]]);
  });

  test("a thousand starts of one turn are a few statements, and the program is put once", async () => {
    const { calls } = await setUp();
    const flow = declare();
    const handles = await Promise.all(Array.from({ length: 2_500 }, (_, index) => flow.start(index)));
    expect(new Set(handles.map(({ id }) => id)).size).toBe(2_500);
    expect(calls.start!.length).toBeLessThanOrEqual(4);
    expect(calls.putProgram).toHaveLength(1);
    expect(calls.notify!.length).toBeLessThanOrEqual(4);
  });

  test("the arguments are taken as they are at the call", async () => {
    const { host, store } = await setUp();
    const flow = declare();
    const order = { items: [1] };
    const starting = flow.start(order);
    order.items.push(2);
    const handle = await starting;
    await host.claim();
    await host.end(completed(0));
    const [entry] = await handle.history();
    expect(entry).toMatchObject({ seq: 1, event: "start", effect: null, attempt: null, value: [{ items: [1] }] });
    expect(await store.results([handle.id])).toHaveLength(1);
  });

  test("priority and delay reach the store", async () => {
    const { calls } = await setUp();
    const flow = declare();
    const at = new Date(Date.now() + 60_000);
    const before = Date.now();
    await flow.with({ priority: 7, delay: at }).start();
    await flow.with({ delay: "1h" }).start();
    const [first, second] = calls.start!.map(([, , rows]) => rows[0]!);
    expect(first).toMatchObject({ priority: 7, startAt: at.getTime() });
    expect(second!.startAt! - before).toBeGreaterThanOrEqual(3_600_000);
    expect(second!.startAt! - Date.now()).toBeLessThanOrEqual(3_600_000);
  });

  test("a workflow that does not compile is refused, and nothing is stored", async () => {
    const problem = new Error("does not compile");
    const { proxy, calls } = watched(openMemory());
    const client = openClient({
      store: proxy,
      compile: () => {
        throw problem;
      },
    });
    useRuntime(client);
    await expect(declare().start()).rejects.toBe(problem);
    await expect(declare().run()).rejects.toBe(problem);
    expect(Object.keys(calls)).toEqual([]);
  });

  test("the programs of children are stored with their parent's", async () => {
    const child = declare() as unknown as WorkflowFunction;
    const family: Compile = (each) => ({ ...compile(each), children: each === child ? [] : [each, child] });
    const { proxy, calls } = watched(openMemory());
    useRuntime(openClient({ store: proxy, compile: family }));
    const flow = declare();
    await flow.start();
    expect(calls.putProgram!.map(([row]) => row.workflow)).toEqual([flow.workflowName, child[workflowBrand].name]);
  });

  test("a program that could not be put is tried again by the next start", async () => {
    let failures = 1;
    await setUp({
      wrap: (store) =>
        new Proxy(store, {
          get: (target, name: keyof Store) =>
            name === "putProgram" && failures-- > 0
              ? () => Promise.reject(new Error("away"))
              : (target[name] as (...all: never[]) => unknown).bind(target),
        }),
    });
    const flow = declare();
    await expect(flow.start()).rejects.toThrow("away");
    await expect(flow.start()).resolves.toBeDefined();
  });
});

describe("ids", () => {
  test("the same id with the same input joins the instance", async () => {
    const { host } = await setUp();
    const flow = declare();
    const id = `signup-${count}`;
    const [one, two] = await Promise.all([flow.with({ id }).start("u1"), flow.with({ id }).start("u1")]);
    expect([one.id, two.id]).toEqual([id, id]);
    expect(await host.claim()).toEqual([id]);
    await host.end(completed("done"));
    await expect(flow.with({ id }).run("u1")).resolves.toBe("done");
    await expect(one.result()).resolves.toBe("done");
  });

  test("the same id with another input is an error", async () => {
    await setUp();
    const flow = declare();
    await flow.with({ id: "x" }).start("u1");
    await expect(flow.with({ id: "x" }).start("u2")).rejects.toThrow(
      refusal("WM302", /instance "x" already, of workflow .* with other arguments/),
    );
  });

  test("the same id of another workflow is an error", async () => {
    await setUp();
    const one = declare();
    const two = declare();
    await one.with({ id: "x" }).start("u1");
    await expect(two.with({ id: "x" }).start("u1")).rejects.toThrow(
      refusal("WM302", new RegExp(`of workflow "${one.workflowName}", not "${two.workflowName}"`)),
    );
  });

  test("a start that is refused does not disturb who waits for the same id", async () => {
    const { host } = await setUp();
    const flow = declare();
    const running = flow.with({ id: "x" }).run("u1");
    await claimAll(host, 1);
    await expect(flow.with({ id: "x" }).run("u2")).rejects.toThrow(refusal("WM302", /other arguments/));
    await host.end(completed("still here"));
    await expect(running).resolves.toBe("still here");
  });

  test("an id that nobody started is an error by name", async () => {
    const { client } = await setUp();
    const flow = declare();
    const handle = client.handle("nobody", flow as unknown as WorkflowFunction);
    for (const ask of [handle.result(), handle.status(), handle.cancel(), handle.history()]) {
      await expect(ask).rejects.toThrow(refusal("WM304", /no instance "nobody"/));
    }
  });
});

describe("waiting", () => {
  test("run() is told of the end, without polling", async () => {
    const { host, calls } = await setUp();
    const flow = declare();
    const running = flow.run("a");
    await claimAll(host, 1);
    await host.end(completed({ at: new Date(5), big: 5n }));
    await expect(running).resolves.toEqual({ at: new Date(5), big: 5n });
    expect(calls.results).toHaveLength(1);
  });

  test("the ends of thousands of instances are read in a few queries", async () => {
    const { host, calls } = await setUp();
    const flow = declare();
    const running = Array.from({ length: 3_000 }, (_, index) => flow.run(index));
    await claimAll(host, 3_000);
    await host.end(completed(1));
    expect(await Promise.all(running)).toHaveLength(3_000);
    expect(calls.results!.length).toBeLessThan(12);
    expect(calls.listen).toHaveLength(1);
  });

  test("a lost notice is made up for by the poll", async () => {
    const { host } = await setUp();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const running = declare().run();
    while ((await host.claim()).length === 0) await new Promise((turn) => setImmediate(turn));
    await host.end(completed("found"), false);
    await vi.advanceTimersByTimeAsync(2_500);
    await expect(running).resolves.toBe("found");
  });

  test("after the listening connection was lost everything is read again", async () => {
    let lost = () => {};
    const { host } = await setUp({
      wrap: (store) =>
        new Proxy(store, {
          get: (target, name: keyof Store) =>
            name === "listen"
              ? (who: never, hear: never, again: () => void) => {
                  lost = again;
                  return target.listen(who, hear, again);
                }
              : (target[name] as (...all: never[]) => unknown).bind(target),
        }),
    });
    const running = declare().run();
    await claimAll(host, 1);
    await host.end(completed("read again"), false);
    lost();
    await expect(running).resolves.toBe("read again");
  });

  test("a read that fails is made again", async () => {
    let failures = 2;
    const { host } = await setUp({
      wrap: (store) =>
        new Proxy(store, {
          get: (target, name: keyof Store) =>
            name === "results" && failures-- > 0
              ? () => Promise.reject(new Error("away"))
              : (target[name] as (...all: never[]) => unknown).bind(target),
        }),
    });
    const running = declare().run();
    await claimAll(host, 1);
    await host.end(completed("in the end"));
    await expect(running).resolves.toBe("in the end");
    expect(failures).toBeLessThan(0);
  });

  test("result() of a handle waits as run() does, any number of times", async () => {
    const { host } = await setUp();
    const handle = await declare().start();
    const results = [handle.result(), handle.result()];
    await claimAll(host, 1);
    await host.end(completed(5));
    expect(await Promise.all([...results, handle.result()])).toEqual([5, 5, 5]);
    expect(await handle.status()).toBe("completed");
  });

  test("run() returns at once where waiting is turned off", async () => {
    const { host } = await setUp({ skipWait: true });
    await expect(declare().run()).resolves.toBeUndefined();
    expect(await host.claim()).toHaveLength(1);
  });

  test("who still waits at a shutdown is told so", async () => {
    const { client } = await setUp();
    const running = declare().run();
    const heard = expect(running).rejects.toThrow(refusal("WM307", /shut down/));
    await new Promise((turn) => setImmediate(turn));
    await client.close();
    await heard;
  });

  test("an instance in quarantine rejects with its reason", async () => {
    const { host } = await setUp();
    const running = declare().run();
    await claimAll(host, 1);
    await host.end(() => ({ status: "quarantined", value: 'no worker has action "pay"' }));
    await expect(running).rejects.toThrow(refusal("WM308", /cannot go on: no worker has action "pay"/));
  });
});

describe("failures", () => {
  const failing = async (thrown: unknown) => {
    const { host } = await setUp();
    const flow = declare();
    const running = flow.with({ id: `failing-${++count}` }).run();
    const caught = running.then(
      () => undefined,
      (error: unknown) => error,
    );
    await claimAll(host, 1);
    await host.end(() => ({ status: "failed", value: thrown }));
    const failed = await caught;
    expect(failed).toBeInstanceOf(WorkflowFailed);
    expect(failed).toMatchObject({ workflow: flow.workflowName, instanceId: `failing-${count}` });
    return failed as WorkflowFailed;
  };

  test("the error the workflow threw is the cause, with class, properties, stack and its own cause", async () => {
    const thrown = new CardDeclined("no money", "4242");
    thrown.cause = new TypeError("deeper", { cause: "deepest" });
    const { cause, message } = await failing(thrown);
    expect(message).toMatch(/^workflow "client-\d+" \(failing-\d+\) failed: CardDeclined: no money$/);
    expect(cause).toBeInstanceOf(CardDeclined);
    expect(cause).toMatchObject({ name: "CardDeclined", message: "no money", card: "4242", stack: thrown.stack });
    const inner = (cause as Error).cause as Error;
    expect(inner).toBeInstanceOf(TypeError);
    expect(inner).toMatchObject({ message: "deeper", cause: "deepest" });
  });

  test("an error of an unknown class keeps its name, and is of the nearest class that is known", async () => {
    class Unheard extends RangeError {
      override name = "Unheard";
    }
    class Declined extends NonRetryableError {}
    const unheard = (await failing(new Unheard("far"))).cause as Error;
    expect(unheard).toBeInstanceOf(RangeError);
    expect(unheard.name).toBe("Unheard");
    expect((await failing(new Declined("no"))).cause).toBeInstanceOf(NonRetryableError);
  });

  test("what is thrown need not be an error", async () => {
    expect(await failing("just text")).toMatchObject({
      cause: "just text",
      message: expect.stringMatching(/failed: just text$/),
    });
    expect((await failing({ code: 5 })).message).toMatch(/failed: \{"code":5\}$/);
    expect((await failing({ code: 5n })).message).toMatch(/failed: \[object Object\]$/);
  });
});

describe("cancelling", () => {
  test("what never ran ends at once", async () => {
    await setUp();
    const flow = declare();
    const handle = await flow.start();
    const waiting = handle.result().catch((error: unknown) => error);
    expect(await handle.cancel("not needed")).toBe(true);
    const cancelled = await waiting;
    expect(cancelled).toBeInstanceOf(WorkflowCancelled);
    expect(cancelled).toMatchObject({ reason: "not needed", workflow: flow.workflowName, instanceId: handle.id });
    expect(await handle.status()).toBe("cancelled");
    expect(await handle.cancel()).toBe(false);
  });

  test("what runs gets the request in its inbox, and its host is told", async () => {
    const { host, calls } = await setUp();
    const handle = await declare().start();
    await host.claim();
    expect(await handle.cancel({ why: "late" })).toBe(true);
    expect(calls.notify!.at(-1)).toEqual([[{ kind: "mail", leases: [expect.any(BigInt)] }]]);
    await host.end(() => ({ status: "cancelled", value: { why: "late" } }));
    await expect(handle.result()).rejects.toThrow(/was cancelled: \{"why":"late"\}/);
  });

  test("a reason that cannot be stored is refused", async () => {
    await setUp();
    const handle = await declare().start();
    await expect(handle.cancel(() => 1)).rejects.toThrow(refusal("WM401", /reason of a cancellation/));
    expect(await handle.status()).toBe("queued");
  });
});

test("signals are refused by name", async () => {
  await setUp();
  const handle = await declare().start();
  await expect(handle.signal("approve")).rejects.toThrow(refusal("WM306", /"approve"/));
});
