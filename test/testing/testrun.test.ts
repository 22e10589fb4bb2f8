// `waymark/testing`: workflows in memory, with skipped or hand-moved time, straight and with a crash after every event.
import { describe, expect, test } from "vitest";
import { action, now, sleep, workflow } from "waymark";
import { evaluate, testRun } from "waymark/testing";

const add = action("t.add", async (a: number, b: number) => a + b);
const fragile = action(
  "t.fragile",
  { retry: { attempts: 3 }, backoff: { baseDelay: "1h" } },
  async (name: string, failures: number) => {
    const made = (tries.get(name) ?? 0) + 1;
    tries.set(name, made);
    if (made <= failures) throw new RangeError(`${name} failed ${made} times`);
    return made;
  },
);
const tries = new Map<string, number>();
const hang = action("t.hang", { timeout: "30m", timeouts: { attempts: 2 } }, async () => new Promise<never>(() => {}));

const sums = workflow("t.sums", async (n: number) => {
  let total = 0;
  for (let i = 0; i < n; i++) total = await add(total, i);
  console.log(`total ${total}`);
  const fan = await Promise.all([1, 2, 3].map((i) => add(i, i)));
  return { total, fan };
});

const long = workflow("t.long", async () => {
  const before = now();
  await sleep("24h");
  await sleep("5s");
  return now() - before;
});

const retried = workflow("t.retried", async (name: string, failures: number) => fragile(name, failures));

const timing = workflow("t.timing", async () => {
  try {
    await hang();
    return "?";
  } catch (error) {
    return (error as Error).name;
  }
});

const child = workflow("t.child", async (n: number) => {
  await sleep("1h");
  if (n < 0) throw new RangeError("negative");
  return add(n, 1);
});
const parent = workflow("t.parent", async () => {
  const values = await Promise.all([child.run(1), child.run(2)]);
  let error = "";
  try {
    await child.run(-1);
  } catch (thrown) {
    error = `${(thrown as Error).name}: ${(thrown as Error).message}`;
  }
  return { values, error };
});

describe.each([
  ["straight", {}],
  ["crashing after every event", { crashAt: "every-event" as const }],
])("%s", (name, options) => {
  test("results, calls and logs come back", async () => {
    const { result, calls, logs } = await testRun(sums, [3], { clock: "skip", ...options });
    expect(result).toEqual({ total: 3, fan: [2, 4, 6] });
    expect(calls.map(({ action, args, outcome }) => [action, args, outcome])).toEqual([
      ["t.add", [0, 0], { kind: "done", value: 0 }],
      ["t.add", [0, 1], { kind: "done", value: 1 }],
      ["t.add", [1, 2], { kind: "done", value: 3 }],
      ["t.add", [1, 1], { kind: "done", value: 2 }],
      ["t.add", [2, 2], { kind: "done", value: 4 }],
      ["t.add", [3, 3], { kind: "done", value: 6 }],
    ]);
    expect(logs).toEqual([{ level: "info", text: "total 3" }]);
  });

  test("a day passes in no time", async () => {
    const { result } = await testRun(long, [], { clock: "skip", ...options });
    expect(result).toBeGreaterThanOrEqual(86_405_000);
    expect(result).toBeLessThan(86_406_000);
  });

  test("a retry waits its hours and then succeeds", async () => {
    const { result, calls } = await testRun(retried, [name, 2], { clock: "skip", ...options });
    expect(result).toBe(3);
    expect(calls.map(({ attempt, outcome }) => [attempt, outcome.kind])).toEqual([
      [1, "failed"],
      [2, "failed"],
      [3, "done"],
    ]);
  });

  test("it rejects as run() does, with the original error", async () => {
    const run = testRun(retried, [`${name} for good`, 9], { clock: "skip", ...options });
    await expect(run).rejects.toMatchObject({
      name: "WorkflowFailed",
      cause: { name: "RangeError", message: `${name} for good failed 3 times` },
    });
  });

  test("children run, and their errors arrive", async () => {
    const { result } = await testRun(parent, [], { clock: "skip", ...options });
    expect(result).toEqual({ values: [2, 3], error: "RangeError: negative" });
  });

  test("a timeout is an ActionTimeout, once no try is left", async () => {
    const { clock, result, calls } = await testRun(timing, [], { clock: "manual", ...options });
    await clock.advance("2h");
    expect(await result).toBe("ActionTimeout");
    expect(calls.map(({ outcome }) => outcome.kind)).toEqual(["timeout", "timeout"]);
  });
});

describe("manual", () => {
  test("time moves only when told to", async () => {
    const { clock, result } = await testRun(long, [], { clock: "manual" });
    let ended = false;
    void result.then(() => {
      ended = true;
    });
    await clock.advance("24h");
    expect(ended).toBe(false);
    await clock.advance("5s");
    expect(await result).toBe(86_405_000);
  });
});

test("without a database, run() executes here and skips time", async () => {
  expect(await long.run()).toBeGreaterThanOrEqual(86_405_000);
  expect(await Promise.all([sums.run(2), sums.run(3)])).toMatchObject([{ total: 1 }, { total: 3 }]);
  const handle = await sums.start(1);
  expect(await handle.result()).toEqual({ total: 0, fan: [2, 4, 6] });
  expect(await handle.status()).toBe("completed");
});

test("evaluate gives the value of a script", () => {
  expect(evaluate("const x = await Promise.resolve(20); x * 2 + 2").value).toBe(42);
});
