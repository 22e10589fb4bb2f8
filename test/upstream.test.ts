// The predecessor's fixtures, by their names, written as TypeScript people would write. Each runs natively, through the
// engine, and with a crash after every event: one result. Several of these were miscompiled there, silently.
import { describe, expect, test } from "vitest";
import { action, sleep as pause, sleep, type Workflow, workflow } from "waymark";
import { testRun } from "waymark/testing";
import { Accumulator, ValueError } from "./upstream/helpers.ts";

const add = action("upAdd", async (a: number, b: number) => a + b);
const multiply = action("upMultiply", async (value: number, by = 2) => value * by);
const greetPerson = action(
  "upGreet",
  async ({ name, greeting = "Hello" }: { name: string; greeting?: string }) => `${greeting}, ${name}`,
);
const isEven = action("upIsEven", async (value: number) => value % 2 === 0);
const upper = action("upUpper", async (text: string) => text.toUpperCase());
const reverse = action("upReverse", async (text: string) => [...text].reverse().join(""));
const keyed = action("upKeyed", async (item: string) => [item, item.length] as const);
const risky = action("upRisky", async (value: number) => {
  if (value < 0) throw new ValueError(`${value} is negative`, value);
  if (value === 0) throw new TypeError("zero");
  return value;
});
const describeError = action("upDescribe", async (error: unknown) => (error as Error).message);
const combine = action(
  "upCombine",
  async (results: PromiseSettledResult<number>[]) => results.filter((r) => r.status === "fulfilled").length,
);

interface User {
  id: string;
  name: string;
  active: boolean;
}
const users: User[] = [
  { id: "a", name: "Ada", active: true },
  { id: "b", name: "Bob", active: false },
  { id: "c", name: "Cleo", active: true },
];
const getUsers = action("upUsers", async () => users);

let serial = 0;
function fixture<A extends unknown[]>(fn: (...args: A) => Promise<unknown>, ...runs: A[]) {
  return { flow: workflow(`up${++serial}`, fn), runs } as unknown as {
    flow: Workflow<never[], unknown>;
    runs: never[][];
  };
}

const fixtures = {
  action_kwargs: fixture(async () => greetPerson({ name: "World", greeting: "Hi" }), []),
  action_mixed_args: fixture(async () => multiply(await add(5, 10), 2), []),
  action_no_assignment: fixture(async () => {
    await upper("starting");
    const r = await add(1, 2);
    await upper("finished");
    return r;
  }, []),
  action_variable_args: fixture(
    async (factor: number) => {
      const base = await add(20, 22);
      return multiply(base, factor);
    },
    [3],
  ),
  literal_return: fixture(async () => {
    await upper("x");
    return 42;
  }, []),
  list_comprehension_assignment: fixture(async () => (await getUsers()).filter((u) => u.active), []),
  list_comprehension_ifexp: fixture(async () => (await getUsers()).map((u) => (u.active ? u.name : "inactive")), []),
  dict_comprehension_assignment: fixture(
    async () => Object.fromEntries((await getUsers()).filter((u) => u.active).map((u) => [u.id, u.name])),
    [],
  ),
  dict_comprehension_tuple: fixture(async () => new Map((await getUsers()).map(({ id, name }) => [id, name])), []),
  if_await_action_condition: fixture(
    async (value: number) => {
      if (await isEven(value)) return 1;
      return 0;
    },
    [2],
    [3],
  ),
  if_multiple_calls: fixture(
    async (value: number) => {
      if (value > 0) {
        const a = await add(value, 1);
        return multiply(a);
      }
      return 0;
    },
    [4],
    [-1],
  ),
  if_simple: fixture(
    async (flag: boolean) => {
      const r = flag ? await upper("t") : await upper("f");
      return r;
    },
    [true],
    [false],
  ),
  if_elif_else: fixture(
    async (value: number) => {
      let size: string;
      if (value > 100) size = "huge";
      else if (value > 10) size = "large";
      else if (value > 1) size = "small";
      else size = "tiny";
      switch (size) {
        case "huge":
        case "large":
          return upper(size);
        default:
          return size;
      }
    },
    [1000],
    [50],
    [5],
    [0],
  ),
  if_no_else_continue: fixture(
    async (items: number[]) => {
      let count = 0;
      if (items.length) count = await add(items.length, 0);
      return multiply(count + 1);
    },
    [[]],
    [[1, 2]],
  ),
  if_with_accumulator: fixture(
    async (flag: boolean) => {
      const results: string[] = [];
      if (flag) results.push(await upper("yes"));
      else results.push(await upper("no"));
      return results[0];
    },
    [true],
    [false],
  ),
  for_multi_action: fixture(
    async (items: number[]) => {
      const results: number[] = [];
      for (const item of items) results.push(await multiply(await add(item, 1)));
      return results;
    },
    [[1, 2, 3]],
  ),
  while_simple: fixture(
    async (limit: number) => {
      let i = 0;
      while (i < limit) i = await add(i, 1);
      return i;
    },
    [3],
  ),
  for_concat_accumulator: fixture(
    async (items: number[]) => {
      let results: number[] = [];
      for (const item of items) results = [...results, await multiply(item)];
      return results;
    },
    [[1, 2]],
  ),
  for_counter_accumulator: fixture(
    async (items: number[]) => {
      let n = 0;
      for (const item of items) if (await isEven(item)) n++;
      return n;
    },
    [[1, 2, 4]],
  ),
  for_dict_accumulator: fixture(
    async (items: string[]) => {
      const result: Record<string, number> = {};
      for (const item of items) {
        const [key, value] = await keyed(item);
        result[key] = value;
      }
      return result;
    },
    [["a", "bcd"]],
  ),
  for_multi_accumulator: fixture(
    async (items: number[]) => {
      const valid: number[] = [];
      const invalid: number[] = [];
      for (const item of items) ((await isEven(item)) ? valid : invalid).push(item);
      return { valid, invalid };
    },
    [[1, 2, 3, 4]],
  ),
  for_break: fixture(
    async (items: number[]) => {
      let found: number | undefined;
      for (const item of items) {
        if (await isEven(item)) {
          found = item;
          break;
        }
      }
      return found;
    },
    [[1, 3, 6, 8]],
    [[1]],
  ),
  for_continue: fixture(
    async (items: number[]) => {
      let total = 0;
      for (const item of items) {
        if (item < 0) continue;
        total += await multiply(item);
      }
      return total;
    },
    [[1, -2, 3]],
  ),
  gather_simple: fixture(async () => {
    const [a, b] = await Promise.all([add(1, 2), upper("b")]);
    return { a, b };
  }, []),
  gather_nested: fixture(
    async (values: number[]) => combine(await Promise.allSettled(values.map((v) => risky(v)))),
    [[1, -1, 2]],
  ),
  gather_listcomp: fixture(
    async (items: number[], by: number) => Promise.all(items.map((item) => multiply(item, by))),
    [[1, 2, 3], 10],
    [[], 1],
  ),
  gather_listcomp_filter: fixture(
    async () => Promise.all((await getUsers()).filter((u) => u.active).map((u) => upper(u.name))),
    [],
  ),
  gather_listcomp_tuple_unpack: fixture(
    async (pairs: [string, number][]) =>
      Promise.all(pairs.map(([name, score]) => greetPerson({ name: `${name}${score}` }))),
    [
      [
        ["x", 1],
        ["y", 2],
      ],
    ],
  ),
  gather_run_action_spread: fixture(
    async (items: number[]) => Promise.all(items.map((i) => risky.with({ retry: { attempts: 3 }, timeout: "30s" })(i))),
    [[1, 2]],
  ),
  gather_run_action_static: fixture(
    async () =>
      Promise.all([
        risky.with({ retry: { attempts: 3 }, timeout: "2m" })(1),
        risky.with({ retry: { attempts: 2 } })(2),
        risky(3),
      ]),
    [],
  ),
  gather_unsupported_variable: fixture(
    async (items: number[]) => {
      const tasks: Promise<number>[] = [];
      for (const item of items) tasks.push(multiply(item));
      return Promise.all(tasks);
    },
    [[1, 2, 3]],
  ),
  pydantic_simple: fixture(async () => {
    const value = await add(1, 2);
    return { value, message: "done" } satisfies { value: number; message: string };
  }, []),
  pydantic_nested: fixture(async () => ({ items: [{ at: await add(1, 1), tags: { a: 1 } }] }), []),
  integration_crash_recovery: fixture(
    async (start: number) => add(await add(await add(await add(start, 1), 2), 3), 4),
    [10],
  ),
  integration_exception_custom: fixture(
    async (value: number) => {
      try {
        return await risky(value);
      } catch (e) {
        if (e instanceof ValueError) return `custom: ${e.value}`;
        throw e;
      }
    },
    [-5],
    [7],
  ),
  sleep_variants: fixture(async () => {
    const a = await add(1, 1);
    await sleep(5);
    await pause("5ms");
    await sleep({ milliseconds: 1 });
    return a;
  }, []),
  try_multi_except: fixture(
    async (value: number) => {
      try {
        return await risky(value);
      } catch (e) {
        if (e instanceof ValueError) return "value";
        if (e instanceof TypeError) return "type";
        return "other";
      }
    },
    [-1],
    [0],
    [1],
  ),
  try_except_capture: fixture(
    async (value: number) => {
      try {
        return await risky(value);
      } catch (e) {
        return describeError(e);
      }
    },
    [-1],
  ),
  try_stateful_outputs: fixture(
    async (value: number) => {
      let attempted = false;
      let recovered = false;
      let message = "";
      try {
        attempted = true;
        await risky(value);
        message = "fine";
      } catch {
        recovered = true;
        message = "recovered";
      } finally {
        message += "!";
      }
      return { attempted, recovered, message };
    },
    [1],
    [-1],
  ),
  fstring_usage: fixture(async (name: string) => `Hello ${await upper(name)} and ${1 + 1}`, ["ada"]),
  match_workflow: fixture(
    async (kind: string) => {
      switch (kind) {
        case "a":
          return upper("first");
        case "b":
          return upper("second");
        default:
          return "none";
      }
    },
    ["a"],
    ["b"],
    ["z"],
  ),
  silent_miscompiles: fixture(
    async (n: number) => {
      const log: string[] = [];
      const skipped = n > 100 && (await isEven(n));
      const xs = [1];
      const ys = xs;
      ys.push(2);
      const [h, ...t] = [1, 2, 3];
      const d: Record<string, Record<string, number>> = { a: { b: 1 } };
      d.a!.b! += 4;
      const merged = { ...d.a, k: 1 };
      let p = 0;
      let q = 0;
      p = q = await add(1, 2);
      try {
        log.push("body");
      } finally {
        log.push("finally");
      }
      return {
        skipped,
        xs,
        h,
        t,
        d,
        merged,
        p,
        q,
        log,
        half: 7 / 2,
        rem: -7 % 3,
        length: "é".length,
        inf: 1 / 0,
        total: (await add(1, 1)) + (await add(2, 2)),
      };
    },
    [5],
  ),
  workflow_default_args: fixture(
    async (value: number, by = 10, note: string | null = null) => [await multiply(value, by), note],
    [2],
    [2, 3],
    [2, undefined, "n"] as never,
  ),
  data_pipeline: fixture(
    async (source: string, threshold: number) => {
      const rows = [150, 90, 300, 310].map((amount, index) => ({ source, index, amount }));
      const kept = rows.filter((row) => row.amount > threshold);
      const total = await add(
        kept.reduce((sum, row) => sum + row.amount, 0),
        90,
      );
      return `total:${total},count:${rows.length},filtered:${kept.length},avg:${total / rows.length}`;
    },
    ["sales", 100],
  ),
  string_processing: fixture(
    async (text: string) => ({ length: text.length, reversed: await reverse(await upper(text)) }),
    ["Alpha123"],
  ),
  many_actions: fixture(
    async () => (await Promise.all(Array.from({ length: 50 }, (_, i) => multiply(i)))).reduce((a, b) => a + b, 0),
    [],
  ),
  looping_sleep: fixture(async () => {
    const at: number[] = [];
    for (let i = 0; i < 3; i++) {
      await sleep(1);
      at.push(await add(i, 1));
    }
    return at;
  }, []),
};

class Report extends Accumulator {
  #lines: string[] = [];
  async run(items: number[]) {
    for (const item of items) await this.take(item, (n) => multiply(n));
    this.#lines.push(this.summary("total"));
    return this.#lines;
  }
}
const classes = {
  workflow_helper_inheritance: {
    flow: workflow("upReport", Report) as unknown as Workflow<never[], unknown>,
    runs: [[[1, 2]]] as never[][],
  },
};

describe.each(Object.entries({ ...fixtures, ...classes }))("%s", (_name, { flow, runs }) => {
  test.each(runs.map((args, index) => [index, args] as const))("run %i", async (_index, args) => {
    const native = await flow.inline(...args);
    const straight = await testRun(flow, args, { clock: "skip" });
    const crashed = await testRun(flow, args, { clock: "skip", crashAt: "every-event" });
    expect(straight.result).toEqual(native);
    expect(crashed.result).toEqual(native);
    expect(crashed.calls.map(({ action, args: given }) => [action, given])).toEqual(
      straight.calls.map(({ action, args: given }) => [action, given]),
    );
  });
});

test("timeout: only the kind of error is promised", async () => {
  const slow = action(
    "upSlow",
    { timeout: "20ms", timeouts: { attempts: 1 } },
    async () => new Promise<never>(() => {}),
  );
  const timed = workflow("upTimed", async () => slow());
  await expect(testRun(timed, [], { clock: "skip" })).rejects.toMatchObject({ cause: { name: "ActionTimeout" } });
});
