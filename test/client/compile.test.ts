// From what `workflow()` returned to what the client stores: the compiler's program, and those of the children.

import { expect, test } from "vitest";
import { workflowBrand } from "../../src/author/definition.ts";
import type { WorkflowFunction } from "../../src/author/registry.ts";
import { compile } from "../../src/client/direct.ts";
import { action, workflow } from "../../src/index.ts";

class CardDeclined extends Error {}
const charge = action("client-compile-charge", async (cents: number) => cents);
const child = workflow("client-compile-child", async (n: number) => charge(n));
const parent = workflow("client-compile-parent", async (n: number) => (await child.run(n)) + (await charge(n)));
const scoped = workflow("client-compile-scoped", { scope: () => ({ CardDeclined, charge }) }, async (n: number) => {
  try {
    return await charge(n);
  } catch (error) {
    return error instanceof CardDeclined ? 0 : 1;
  }
});
const reflected = workflow("client-compile-reflected", async (n: number) => {
  if (n < 0) throw new CardDeclined("no money");
  return n;
});
const compiled = (flow: unknown) => compile(flow as WorkflowFunction);

test("a workflow's row has its name, bytes and hash, the same each time", () => {
  const { row, children } = compiled(child);
  expect(row).toMatchObject({ workflow: "client-compile-child", format: 1 });
  expect(row.hash).toHaveLength(32);
  expect(row.body.length).toBeGreaterThan(0);
  expect(children).toEqual([]);
  expect(compiled(child).row.hash).toEqual(row.hash);
});

test("the workflows it starts are its children", () => {
  expect(compiled(parent).children.map((each) => each[workflowBrand].name)).toEqual(["client-compile-child"]);
});

test("error classes that the workflow's code knows are known to its client", () => {
  for (const flow of [scoped, reflected])
    expect([...compiled(flow).errorClasses()]).toEqual([["CardDeclined", CardDeclined]]);
  expect(compiled(child).errorClasses().size).toBe(0);
});
