import { expect, test } from "vitest";
import { decodeValue, encodeValue } from "../../src/program/value.ts";
import { assemble, flags } from "./assemble.ts";
import { machine } from "./realm.ts";

const seed = new Uint8Array(16).fill(7);

const addOne = assemble(
  [
    {
      name: "main",
      parameters: 1,
      registers: 6,
      flags: flags.async,
      lines: [
        ["REF", 1, 0],
        ["MOVE", 2, 0],
        ["CALL", 3, 1, -1, 2, 1],
        ["AWAIT", 4, 3],
        ["ADDI", 4, 4, 1],
        ["RETURN", 4],
      ],
    },
  ],
  { references: [{ kind: "action", name: "fetch", policy: null }] },
);

test("a workflow emits an action, waits, and returns what came of it", async () => {
  const vm = await machine();
  const program = vm.load(addOne.body, addOne.debug);
  const state = vm.create(program);
  const first = vm.deliver(state, { kind: "start", at: 1000, seed, input: encodeValue([41]) });
  expect(first.fatal).toBe(null);
  expect(first.outcome && decodeValue(first.outcome.payload)).toBe(null);
  expect(first.effects).toMatchObject([{ kind: "action", no: 1, name: "fetch", attempt: 1, function: 0, pc: 6 }]);
  expect(decodeValue(first.effects[0]!.kind === "action" ? first.effects[0]!.args : seed)).toEqual([41]);
  const second = vm.deliver(state, { kind: "done", at: 2000, effect: 1, attempt: 1, value: encodeValue(9) });
  expect(second.outcome?.kind).toBe("completed");
  expect(decodeValue(second.outcome!.payload)).toBe(10);
});

test("a snapshot taken while waiting goes on in another realm, and encodes to the same bytes", async () => {
  const one = await machine();
  const state = one.create(one.load(addOne.body, addOne.debug));
  one.deliver(state, { kind: "start", at: 1000, seed, input: encodeValue([41]) });
  const bytes = one.snapshot(state);
  const two = await machine();
  const restored = two.restore(two.load(addOne.body, addOne.debug), bytes);
  expect(two.snapshot(restored)).toEqual(bytes);
  expect(two.pending(restored)).toEqual(one.pending(state));
  const end = two.deliver(restored, { kind: "done", at: 2000, effect: 1, attempt: 1, value: encodeValue(9) });
  expect(decodeValue(end.outcome!.payload)).toBe(10);
});
