// The whole VM in its sealed realm: nothing to reach that the list does not name.
import { createContext, Script } from "node:vm";
import { expect, test } from "vitest";
import { bundle } from "./realm.ts";

test("the sealed realm holds nothing outside the list, and everything in it is frozen", async () => {
  const sandbox = Object.create(null) as { waymarkVm: { audit(): string } };
  new Script(await bundle()).runInContext(createContext(sandbox, { codeGeneration: { strings: false, wasm: false } }));
  const { violations, functions } = JSON.parse(sandbox.waymarkVm.audit()) as {
    violations: string[];
    functions: number;
  };
  expect(violations).toEqual([]);
  expect(functions).toBeGreaterThan(400);
});
