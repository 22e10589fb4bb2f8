// Every program of the corpus means in the VM what it means in Node.

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, expect, test } from "vitest";
import type { Machine } from "../../src/vm/machine.ts";
import { machine as newMachine } from "../vm/realm.ts";
import { byKind, compileProgram, natively, throughVm } from "./lens.ts";

const folder = path.join(import.meta.dirname, "../programs");
const programs = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".js"))
  .sort();

let machine: Machine;
beforeAll(async () => {
  machine = await newMachine();
});

test.each(programs)("%s", async (name) => {
  const source = readFileSync(path.join(folder, name), "utf8");
  const native = byKind(await natively(source));
  const compiled = compileProgram(source, name);
  expect(byKind(throughVm(machine, compiled))).toEqual(native);
  expect(byKind(throughVm(machine, compiled, false))).toEqual(native);
  expect(native.printed.length + native.effects.length, "a program that shows nothing proves nothing").toBeGreaterThan(
    0,
  );
});
