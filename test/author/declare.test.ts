// Declaring actions and workflows, and calling them as plain functions.

import { afterEach, expect, test, vi } from "vitest";
import {
  type ActionDefinition,
  actionBrand,
  durableBrand,
  type WorkflowDefinition,
  workflowBrand,
} from "../../src/author/definition.ts";
import { isNonRetryable, retryAfterMs } from "../../src/author/errors.ts";
import {
  action,
  actionContext,
  NonRetryableError,
  now,
  RetryAfter,
  random,
  registeredActions,
  registeredWorkflows,
  runAction,
  sleep,
  uuid,
  workflow,
} from "../../src/index.ts";

let count = 0;
const fresh = () => `declared-${++count}`;
const definitionOf = (fn: unknown) => (fn as { [actionBrand]: ActionDefinition })[actionBrand];
const refusal = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

afterEach(() => vi.useRealTimers());

test("an action called as a function runs the user's function with its own arguments", async () => {
  const add = action(fresh(), (a: number, b: number) => a + b);
  await expect(add(1, 2)).resolves.toBe(3);
});

test("a synchronous throw becomes a rejection, with the very error", async () => {
  const thrown = new Error("no");
  const fail = action(fresh(), () => {
    throw thrown;
  });
  await expect(fail()).rejects.toBe(thrown);
});

test("dependencies are injected as the last parameter and cleaned up after the call", async () => {
  const log: string[] = [];
  async function* getDb() {
    log.push("open");
    yield { find: (id: string) => `user ${id}` };
    log.push("close");
  }
  const find = action(fresh(), { deps: { db: getDb } }, async (id: string, { db }) => db.find(id));
  await expect(find("u1")).resolves.toBe("user u1");
  expect(log).toEqual(["open", "close"]);
});

test("a direct call has a local context", async () => {
  const name = fresh();
  const look = action(name, () => ({ ...actionContext(), signal: undefined }));
  expect(await look()).toMatchObject({ action: name, attempt: 1, instanceId: "local" });
});

test("a declared policy is stored as data, and .with() merges over it without changing it", async () => {
  const charge = action(fresh(), { retry: { attempts: 3 }, timeout: "2m" }, async (cents: number) => cents);
  const patient = charge.with({ retry: { attempts: 50 }, backoff: { baseDelay: "1s" } });
  expect(definitionOf(charge).policy).toEqual({ retry: { attempts: 3 }, timeoutMs: 120_000 });
  expect(definitionOf(patient).policy).toEqual({
    retry: { attempts: 50 },
    timeoutMs: 120_000,
    backoff: { baseDelayMs: 1_000 },
  });
  expect(patient.actionName).toBe(charge.actionName);
  await expect(patient(5)).resolves.toBe(5);
  expect(registeredActions().get(charge.actionName)).toBe(definitionOf(charge));
});

test("a wrong policy is refused where it is declared, with the action's name", () => {
  const name = fresh();
  expect(() => action(name, { retry: { attempts: 0 } }, async () => 1)).toThrow(
    refusal("WM202", new RegExp(`action "${name}": retry.attempts cannot be 0`)),
  );
  const ok = action(name, async () => 1);
  expect(() => ok.with({ timeout: "soon" })).toThrow(refusal("WM201", new RegExp(`action "${name}": timeout: "soon"`)));
});

test("a declaration says where it stands", () => {
  const here = action(fresh(), async () => 1);
  expect(definitionOf(here).declaredAt).toMatch(/declare\.test\.ts:\d+:\d+$/);
});

test("one name for two definitions is an error that shows both places", () => {
  const name = fresh();
  action(name, async () => 1);
  expect(() => action(name, async () => 2)).toThrow(
    refusal("WM203", /declare\.test\.ts:\d+:\d+, and at .*declare\.test\.ts:\d+:\d+/),
  );
  const flow = fresh();
  workflow(flow, async () => 1);
  expect(() => workflow(flow, async () => 2)).toThrow(refusal("WM203", /two workflows/));
});

test("a helper that declares one name for two callers is an error as well", () => {
  const name = fresh();
  const declare = (value: number) => action(name, async () => value);
  declare(1);
  expect(() => declare(2)).toThrow(refusal("WM203", /two actions/));
});

test("the same declaration evaluated again replaces the first", async () => {
  const name = fresh();
  const evaluate = (value: number) => action(name, async () => value);
  const [first, second] = [1, 2].map(evaluate);
  expect(registeredActions().get(name)).toBe(definitionOf(second));
  await expect(first!()).resolves.toBe(1);
});

test("an edited declaration of the same file replaces the first in a later turn", async () => {
  const name = fresh();
  action(name, async () => "before");
  await Promise.resolve();
  const after = action(name, async () => "after");
  expect(registeredActions().get(name)).toBe(definitionOf(after));
});

test("the same workflow bundled into two files is one workflow; another one is refused", async () => {
  const name = fresh();
  const source = (result: number) =>
    `export const wf = (workflow) => workflow(${JSON.stringify(name)}, async () => ${result});`;
  const load = async (text: string, tag: string) =>
    (await import(/* @vite-ignore */ `data:text/javascript,${encodeURIComponent(text)}//${tag}`)) as {
      wf: (declare: typeof workflow) => unknown;
    };
  const [one, two, other] = await Promise.all([load(source(1), "a"), load(source(1), "b"), load(source(2), "c")]);
  one.wf(workflow);
  two.wf(workflow);
  expect(() => other.wf(workflow)).toThrow(refusal("WM203", /two workflows/));
});

const badNames: [unknown, RegExp][] = [
  ["", /not a name/],
  [" x", /blanks/],
  ["a\nb", /control characters/],
  ["x".repeat(201), /at most 200/],
  [async () => 1, /is its name, not/],
];

test.each(badNames)("%o is not a name", (name, message) => {
  expect(() => action(name as string, async () => 1)).toThrow(refusal("WM204", message));
  expect(() => workflow(name as string, async () => 1)).toThrow(refusal("WM204", message));
});

test("what is not a function is refused", () => {
  expect(() => action(fresh(), 5 as never)).toThrow(refusal("WM204", /needs a function, not 5/));
  expect(() => workflow(fresh(), class {} as never)).toThrow(refusal("WM204", /a class without run/));
  expect(() => workflow(fresh(), { timeout: 5 } as never, async () => 1)).toThrow(
    refusal("WM204", /"timeout" is not an option/),
  );
});

test("a workflow run inline is the plain function", async () => {
  const double = action(fresh(), async (n: number) => n * 2);
  const flow = workflow(fresh(), async (n: number) => (await double(n)) + 1);
  await expect(flow.inline(4)).resolves.toBe(9);
  expect(registeredWorkflows().get(flow.workflowName)).toBe(flow);
});

test("a class with run() is a workflow", async () => {
  const flow = workflow(
    fresh(),
    class {
      readonly #factor = 3;
      async run(n: number) {
        return this.#times(n);
      }
      #times(n: number) {
        return n * this.#factor;
      }
    },
  );
  await expect(flow.inline(4)).resolves.toBe(12);
  expect((flow as unknown as { [workflowBrand]: WorkflowDefinition })[workflowBrand].isClass).toBe(true);
});

test("a workflow called as a function says what to write", () => {
  const flow = workflow(fresh(), async () => 1);
  expect(() => (flow as unknown as () => void)()).toThrow(refusal("WM204", /cannot be called as a function/));
});

test("arguments that cannot be stored are refused before anything is opened, with the path", async () => {
  const flow = workflow(fresh(), async (_order: unknown) => 1);
  await expect(flow.run({ items: [{ price: () => 1 }] })).rejects.toThrow(refusal("WM401", /at .*items\[0\]\.price/));
  await expect(flow.start({ items: [{ price: () => 1 }] })).rejects.toThrow(refusal("WM401", /items\[0\]\.price/));
});

const badOptions: [object, RegExp][] = [
  [{ id: "" }, /id cannot be ""/],
  [{ id: 5 }, /id cannot be 5/],
  [{ id: "a\0b" }, /zero character/],
  [{ id: "x".repeat(256) }, /255 is the limit/],
  [{ priority: 1.5 }, /priority cannot be 1\.5/],
  [{ priority: 1e6 }, /priority cannot be 1000000/],
  [{ delay: "soon" }, /"soon" is not a duration/],
  [{ delay: new Date(Number.NaN) }, /invalid date/],
  [{ tx: {} }, /not in this version/],
  [{ retries: 3 }, /"retries" is not an option/],
];

test.each(badOptions)("a workflow does not start with %o", (options, message) => {
  const flow = workflow(fresh(), async () => 1);
  expect(() => flow.with(options)).toThrow(expect.objectContaining({ message: expect.stringMatching(message) }));
});

test("the durable functions have their native meaning", async () => {
  vi.useFakeTimers();
  const slept = vi.fn();
  void sleep("40d").then(slept); // longer than one timer can hold
  await vi.advanceTimersByTimeAsync(39 * 86_400_000);
  expect(slept).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(86_400_000);
  expect(slept).toHaveBeenCalledOnce();
  expect(now()).toBe(Date.now());
  await sleep(new Date(0));
  vi.useRealTimers();
  expect(random()).toBeGreaterThanOrEqual(0);
  expect(random()).toBeLessThan(1);
  expect(uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  await expect(runAction(Promise.resolve(5), { retry: { attempts: 2 } })).resolves.toBe(5);
  await expect(runAction(Promise.resolve(5), { retry: { attempts: 0 } })).rejects.toThrow(refusal("WM202", /attempts/));
  await expect(sleep(-1)).rejects.toThrow(refusal("WM201", /negative/));
  for (const fn of [sleep, now, random, uuid, runAction]) {
    expect((fn as unknown as { [durableBrand]: { name: string } })[durableBrand]).toEqual({ name: fn.name });
  }
});

test("NonRetryableError and RetryAfter are known by name, subclasses included", () => {
  class Declined extends NonRetryableError {}
  expect(isNonRetryable(new Declined("no"))).toBe(true);
  expect(isNonRetryable(new Error("no"))).toBe(false);
  expect(isNonRetryable(undefined)).toBe(false);
  expect(retryAfterMs(new RetryAfter("30s"), 0)).toBe(30_000);
  expect(retryAfterMs(new RetryAfter(new Date(5_000)), 2_000)).toBe(3_000);
  expect(retryAfterMs(new RetryAfter(new Date(5_000)), 9_000)).toBe(0);
  expect(retryAfterMs(new Error("no"), 0)).toBeUndefined();
  const cause = new Error("429");
  expect(new RetryAfter(5, { cause }).cause).toBe(cause);
});
