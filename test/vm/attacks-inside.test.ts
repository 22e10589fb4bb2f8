// The same attacks by workflows: compiled, executed by the VM in its realm, and the border that values cross. Whatever a
// program does, the audit finds the realm as it was, and the host gets plain data of its own.
import { createContext, Script } from "node:vm";
import { beforeAll, describe, expect, test } from "vitest";
import { decodeValue, describeError, encodeError, encodeValue } from "../../src/program/value.ts";
import type { Activation } from "../../src/vm/machine.ts";
import type { Audit } from "../../src/vm/seal.ts";
import { groups, helpers } from "./attacks.ts";
import { bundle, machine } from "./realm.ts";
import { compileText } from "./script.ts";

interface Door {
  audit(): string;
  load(body: Uint8Array, debug: Uint8Array): { ok: boolean; value: number; code: string; message: string };
  create(program: number): { value: number };
  deliver(
    state: number,
    kind: string,
    at: number,
    effect: number,
    attempt: number,
    dueAt: number,
    first: Uint8Array,
    second: Uint8Array,
  ): {
    ok: boolean;
    message: string;
    value: Activation;
  };
}

let door: Door;
beforeAll(async () => {
  const sandbox = Object.create(null) as { waymarkVm: Door };
  new Script(await bundle()).runInContext(createContext(sandbox, { codeGeneration: { strings: false, wasm: false } }));
  door = sandbox.waymarkVm;
});

const audit = (): Audit => JSON.parse(door.audit()) as Audit;

/** What the workflow answers, or the error it ends with. */
function answer(text: string): string {
  const { body, debug } = compileText(`async function main() { ${text} }`);
  const loaded = door.load(body, debug);
  if (!loaded.ok) return `refused ${loaded.code} ${loaded.message}`;
  const started = door.deliver(
    door.create(loaded.value).value,
    "start",
    1,
    0,
    0,
    0,
    new Uint8Array(16),
    encodeValue([]),
  );
  if (!started.ok) return `refused ${started.message}`;
  const { outcome, fatal } = started.value;
  if (fatal !== null) return `fatal ${fatal.code} ${fatal.message}`;
  if (outcome === null) return "waiting";
  if (outcome.kind === "completed") return String(decodeValue(outcome.payload));
  const { names, message } = describeError(outcome.payload);
  return `${names[0]} ${message}`;
}

describe.each(Object.entries(groups))("%s", (_group, attacks) => {
  test.each(Object.entries(attacks))("%s", (_name, code) => {
    const before = audit();
    // A name nobody declared is a ReferenceError, `typeof` or not: the compiler refuses it earlier.
    const text = answer(`${helpers}; ${code}`).replace(/^ReferenceError (eval|process) is not defined$/, "held");
    expect(text).not.toMatch(/ESCAPED|SyntaxError|ReferenceError|internal|WM900/);
    expect(audit()).toEqual(before);
    expect(before.violations).toEqual([]);
  });
});

describe("the border", () => {
  async function deliver(text: string, settle: "done" | "failed", payload: Uint8Array): Promise<unknown> {
    const vm = await machine();
    const { body, debug } = compileText(text);
    const state = vm.create(vm.load(body, debug));
    const started = vm.deliver(state, { kind: "start", at: 1, seed: new Uint8Array(16), input: encodeValue([]) });
    const effect = started.effects[0]!.no;
    const { outcome } =
      settle === "done"
        ? vm.deliver(state, { kind: "done", at: 2, effect, attempt: 1, value: payload })
        : vm.deliver(state, { kind: "failed", at: 2, effect, attempt: 1, error: payload });
    return decodeValue(outcome!.payload);
  }

  test("a delivered object belongs to the realm: its constructor's constructor refuses", async () => {
    const text = `async function main() {
      const r = await echo({});
      try { return r.constructor.constructor("return process")() } catch (e) { return e.code }
    }`;
    expect(await deliver(text, "done", encodeValue({}))).toBe("WM108");
  });

  test("so does a delivered error's", async () => {
    const text = `async function main() {
      try { await fail("no") } catch (thrown) {
        try { return thrown.constructor.constructor("return process")() } catch (e) { return e.code }
      }
    }`;
    expect(await deliver(text, "failed", encodeError(new TypeError("no")))).toBe("WM108");
  });

  test("an error that console.log, an action or the codec throws inwards is the realm's", () => {
    for (const call of [
      "echo(() => 0)",
      "structuredClone(Symbol())",
      "console.log({ get x() { throw 1 } })",
      "sleep('nonsense')",
    ]) {
      const text = answer(
        `try { ${call}; return "held" } catch (e) { try { return e.constructor.constructor("return 7")() } catch (f) { return "held " + f.code } }`,
      );
      expect(text).toMatch(/^held/);
    }
  });

  test("no code of a workflow runs when the host looks at its result", () => {
    expect(answer("return { get x() { echo(1); return 1 } }")).toMatch(/a getter `x` at \.x/);
    expect(answer("return { toJSON() { echo(1) } }")).toMatch(/a function `toJSON` at \.toJSON/);
  });

  test("what comes out is plain data of the host", async () => {
    const vm = await machine();
    const { body, debug } = compileText(
      "async function main() { console.log({ a: 1 }); await Promise.all([echo({ a: [1] }), sleep('1s')]) }",
    );
    const state = vm.create(vm.load(body, debug));
    const activation = vm.deliver(state, { kind: "start", at: 1, seed: new Uint8Array(16), input: encodeValue([]) });
    const known = new Set<unknown>([Object.prototype, Array.prototype, Uint8Array.prototype]);
    const visit = (value: unknown): void => {
      if (typeof value === "function") throw new Error("a function came out");
      if (typeof value !== "object" || value === null) return;
      expect(known.has(Object.getPrototypeOf(value))).toBe(true);
      if (!(value instanceof Uint8Array)) for (const each of Object.values(value)) visit(each);
    };
    visit(activation);
    visit(vm.pending(state));
    visit(vm.snapshot(state));
    expect(activation.effects.length).toBe(2);
  });
});
