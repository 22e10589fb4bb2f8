// Captured classes, functions and data in the VM: one identity each, across snapshots.
import { expect, test } from "vitest";
import { compileWorkflow } from "../../src/compile/compile.ts";
import { action, workflow } from "../../src/index.ts";
import { decodeValue, encodeError, encodeValue } from "../../src/program/value.ts";
import { machine } from "./realm.ts";

class CardDeclined extends Error {
  override readonly name = "CardDeclined";
  readonly reason: string;
  constructor(reason: string) {
    super(`declined: ${reason}`);
    this.reason = reason;
  }
}

const config = { mail: { from: "a@b.c", tags: ["x", "y"] }, limits: new Map([["max", 3]]) };
const double = (x: number): number => x * 2;

const charge = action("vm-charge", { retry: { attempts: 2 } }, async (amount: number): Promise<number> => amount);

const pay = workflow("vm-pay", async (amount: number) => {
  const mail = config.mail;
  try {
    await charge(double(amount));
    return "paid";
  } catch (error) {
    const same = mail === config.mail;
    await charge(1);
    let pushed = "pushed";
    try {
      mail.tags.push("z");
    } catch {
      pushed = "frozen";
    }
    return [
      error instanceof CardDeclined && error.reason,
      error instanceof Error,
      same,
      mail === config.mail,
      pushed,
      config.limits.get("max"),
    ];
  }
});

test("an action's error is an instance of the captured class, and captured data keeps its identity", async () => {
  const { body, debug } = compileWorkflow(pay);
  let vm = await machine();
  let program = vm.load(body, debug);
  let state = vm.create(program);
  const again = async () => {
    const bytes = vm.snapshot(state);
    vm = await machine();
    program = vm.load(body, debug);
    state = vm.restore(program, bytes);
    expect(vm.snapshot(state)).toEqual(bytes);
  };
  const first = vm.deliver(state, { kind: "start", at: 1, seed: new Uint8Array(16), input: encodeValue([21]) });
  expect(first.fatal).toBe(null);
  expect(first.effects).toMatchObject([{ kind: "action", name: "vm-charge" }]);
  await again();
  const second = vm.deliver(state, {
    kind: "failed",
    at: 2,
    effect: 1,
    attempt: 2,
    error: encodeError(new CardDeclined("empty")),
  });
  expect(second.fatal).toBe(null);
  await again();
  const end = vm.deliver(state, { kind: "done", at: 3, effect: 2, attempt: 1, value: encodeValue(1) });
  expect(decodeValue(end.outcome!.payload)).toEqual(["empty", true, true, true, "frozen", 3]);
});

class Orders {
  seen: number[] = [];
  async run(n: number): Promise<number[]> {
    for (let i = 0; i < n; i++) await this.one(i);
    return this.seen;
  }
  async one(i: number): Promise<void> {
    this.seen.push(await charge(i));
  }
}
const orders = workflow("vm-orders", Orders);

test("a class with run() is the workflow", async () => {
  const { body, debug } = compileWorkflow(orders);
  const vm = await machine();
  const program = vm.load(body, debug);
  let state = vm.create(program);
  let result = vm.deliver(state, { kind: "start", at: 1, seed: new Uint8Array(16), input: encodeValue([3]) });
  for (let i = 1; i <= 3; i++) {
    expect(result.effects).toHaveLength(1);
    state = vm.restore(program, vm.snapshot(state));
    result = vm.deliver(state, { kind: "done", at: 1 + i, effect: i, attempt: 1, value: encodeValue(i * 10) });
  }
  expect(decodeValue(result.outcome!.payload)).toEqual([10, 20, 30]);
});

test("a program that was tampered with is refused when it is loaded", async () => {
  const { body, debug } = compileWorkflow(pay);
  const vm = await machine();
  const broken = body.slice(0, body.length - 3);
  expect(() => vm.load(broken, debug)).toThrow(/WM30|damaged|verify/);
});
