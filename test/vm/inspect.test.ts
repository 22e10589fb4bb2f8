import { expect, test } from "vitest";
import { encodeValue } from "../../src/program/value.ts";
import { machine } from "./realm.ts";
import { compileText } from "./script.ts";

test("a snapshot tells where each function stands and what its locals hold", async () => {
  const vm = await machine();
  const { body, debug } = compileText(
    "async function inner(order) {\n  const total = order.price * 2;\n  await echo(total);\n  return total;\n}\nasync function main() { const id = 'o1'; return [await inner({ price: 4 }), id]; }",
  );
  const program = vm.load(body, debug);
  const state = vm.create(program);
  vm.deliver(state, { kind: "start", at: 1, seed: new Uint8Array(16), input: encodeValue([]) });
  const frames = vm.inspect(program, vm.snapshot(state));
  const inner = frames.find((frame) => frame.name === "inner");
  expect(inner?.at).toMatchObject({ file: "/src/test.ts", line: 3 });
  expect(inner?.locals).toContainEqual({ name: "total", value: "8" });
  expect(frames.find((frame) => frame.name === "main")?.locals).toContainEqual({ name: "id", value: "o1" });
});
