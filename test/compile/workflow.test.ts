// A declared workflow becomes a program: references, constants, helpers and classes from its module, and every refusal
// with its place.

import { expect, test } from "vitest";
import { action } from "../../src/author/action.ts";
import { workflow } from "../../src/author/workflow.ts";
import { CompileError, compileWorkflow } from "../../src/compile/compile.ts";
import { disassemble } from "../../src/program/disassemble.ts";
import { decodeValue, encodeValue } from "../../src/program/value.ts";
import type { Machine } from "../../src/vm/machine.ts";
import { machine as newMachine } from "../vm/realm.ts";

const config = { mail: { from: "us@example.org", retries: 3 }, other: { big: "x".repeat(1000) } };
const double = (x: number): number => x * config.mail.retries;
function isEven(n: number): boolean {
  return n === 0 ? true : isOdd(n - 1);
}
function isOdd(n: number): boolean {
  return n === 0 ? false : isEven(n - 1);
}
class Shape {
  static made = 0;
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
  describe(): string {
    return `${this.name} of ${this.area()}`;
  }
  area(): number {
    return 0;
  }
}
class Square extends Shape {
  #side: number;
  constructor(side: number) {
    super("square");
    this.#side = side;
  }
  override area(): number {
    return this.#side ** 2;
  }
}
class Declined extends Error {
  override name = "Declined";
}
const send = action("compile-send", async (to: string, from: string) => `${from} -> ${to}`);

const everything = workflow("compile-everything", async (ids: string[]) => {
  const sent = await Promise.all(ids.map((id) => send(id, config.mail.from)));
  let caught = "";
  try {
    throw new Declined("no");
  } catch (error) {
    if (error instanceof Declined && error instanceof Error) caught = `${error.name}: ${error.message}`;
  }
  return { sent, doubled: double(7), even: isEven(10), shape: new Square(4).describe(), caught };
});

class Order {
  total = 0;
  async run(amounts: number[]): Promise<string> {
    for (const amount of amounts) await this.add(amount);
    return `total ${this.total}`;
  }
  private async add(amount: number): Promise<void> {
    this.total += (await send(String(amount), "x")).length;
  }
}
const order = workflow("compile-order", Order);

function run(machine: Machine, target: unknown, ...args: unknown[]): unknown {
  const { body, debug } = compileWorkflow(target as never);
  const program = machine.load(body, debug);
  let state = machine.create(program);
  let answer = machine.deliver(state, { kind: "start", at: 1, seed: new Uint8Array(16), input: encodeValue(args) });
  const queue = [...answer.effects];
  while (answer.outcome === null) {
    if (answer.fatal) throw new Error(answer.fatal.message);
    const effect = queue.shift();
    if (effect?.kind !== "action") throw new Error("stuck");
    state = machine.restore(program, machine.snapshot(state));
    const [to, from] = decodeValue(effect.args) as string[];
    answer = machine.deliver(state, {
      kind: "done",
      at: 2,
      effect: effect.no,
      attempt: 1,
      value: encodeValue(`${from} -> ${to}`),
    });
    queue.push(...answer.effects);
  }
  const value = decodeValue(answer.outcome.payload);
  if (answer.outcome.kind !== "completed") throw value;
  return value;
}

test("constants, helpers, classes and actions of the module are in the program", async () => {
  expect(run(await newMachine(), everything, ["a", "b"])).toEqual({
    sent: ["us@example.org -> a", "us@example.org -> b"],
    doubled: 21,
    even: true,
    shape: "square of 16",
    caught: "Declined: no",
  });
});

test("a class with run() is an instance of the class in the VM", async () => {
  expect(run(await newMachine(), order, [10, 200])).toBe(`total ${"x -> 10".length + "x -> 200".length}`);
});

test("only the string at the end of a path is stored", () => {
  const { captured, body } = compileWorkflow(everything as never);
  expect(captured.map((one) => one.path)).toContain("config.mail.from");
  expect(Buffer.from(body).toString("latin1")).not.toContain("xxxxxxxxxx");
});

test("the same workflow gives the same bytes and is compiled once", () => {
  expect(compileWorkflow(everything as never)).toBe(compileWorkflow(everything as never));
  expect(compileWorkflow(everything as never).hash.length).toBe(32);
});

test("the graph names the actions and their call sites", () => {
  const { program } = compileWorkflow(everything as never);
  const found = program.debug.graph.nodes.filter((node) => node.kind === "action");
  expect(found.map((node) => node.label)).toEqual(["compile-send"]);
  expect(found[0]!.sites.length).toBe(1);
  expect(program.debug.graph.nodes.map((node) => node.kind)).toContain("fanout");
  expect(disassemble(program)).toContain("REF");
});

let counter = 0;
const bad = workflow("compile-bad", async () => {
  counter++;
  const { now } = Date;
  // biome-ignore lint/complexity/useLiteralKeys: the computed form is what is tested
  const at = [Date.now(), new Date(), Date["now"](), Math.random(), now()];
  const answer = await fetch("https://example.org");
  setTimeout(() => {}, 10);
  return [at, answer, process.env.HOME, new Date(5)];
});

test("every problem is reported, each at its place in the source", () => {
  let error: unknown;
  try {
    compileWorkflow(bad as never);
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(CompileError);
  const { diagnostics, message, code } = error as CompileError;
  expect(code).toBe("WM100");
  expect(diagnostics.map((one) => one.code).sort()).toEqual([
    "WM104",
    "WM104",
    "WM104",
    "WM104",
    "WM105",
    "WM106",
    "WM107",
    "WM107",
    "WM120",
  ]);
  expect(diagnostics.every((one) => one.at?.file.endsWith("workflow.test.ts"))).toBe(true);
  expect(message).toContain("counter++");
  expect(counter).toBe(0);
});
