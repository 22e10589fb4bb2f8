// Captured objects and arrays whose members are functions, classes and actions, used as values.
import { expect, test } from "vitest";
import { action, workflow } from "waymark";
import { CompileError, compileWorkflow } from "waymark/compiler";
import { testRun } from "waymark/testing";

const double = action("objectsDouble", async (n: number) => n * 2);
const triple = (n: number) => n * 3;
class Box {
  readonly held: number;
  constructor(held: number) {
    this.held = held;
  }
}
const tools = { double, triple, nested: { Box, limit: 7 }, plain: [1, 2] };
const steps = [triple, (n: number) => n + 1, double];
const looped: Record<string, unknown> = { triple };
looped.self = looped;

const byName = workflow("objectsByName", async (name: "double" | "triple", n: number) => tools[name](n));
const inOrder = workflow("objectsInOrder", async (n: number) => {
  let value: number = n;
  for (const step of steps) value = await step(value);
  return [value, steps.length];
});
const whole = workflow("objectsWhole", async () => {
  const { nested, ...rest } = tools;
  const before = tools;
  await double(1);
  return [new nested.Box(nested.limit).held, Object.keys(rest), before === tools, Object.isFrozen(tools)];
});
const write = workflow("objectsWrite", async () => {
  (steps as unknown[]).push(1);
});
const cyclic = workflow("objectsCyclic", async () => Object.keys(looped));

for (const crashAt of [undefined, "every-event"] as const) {
  const options = { clock: "skip", ...(crashAt && { crashAt }) } as const;

  test(`a member is found by a name known only at run time (${crashAt ?? "straight"})`, async () => {
    expect((await testRun(byName, ["double", 4], options)).result).toBe(8);
    expect((await testRun(byName, ["triple", 4], options)).result).toBe(12);
  });

  test(`an array of functions and actions is walked (${crashAt ?? "straight"})`, async () => {
    expect((await testRun(inOrder, [2], options)).result).toEqual([14, 3]);
  });

  test(`the whole is one frozen object (${crashAt ?? "straight"})`, async () => {
    expect((await testRun(whole, [], options)).result).toEqual([7, ["double", "triple", "plain"], true, true]);
    await expect(testRun(write, [], options)).rejects.toThrow(/objectsWrite/);
  });
}

test("an object that holds itself is refused by name", () => {
  expect(() => compileWorkflow(cyclic)).toThrow(CompileError);
  expect(() => compileWorkflow(cyclic)).toThrow(/WM126 `looped`/);
});
