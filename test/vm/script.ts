// A text is run twice: by Node itself, and by the VM with its state written and read back in another realm after every
// event. Both must give the same transcript. Actions: `echo(x)` answers x, `fail(text)` throws an Error, `log(x)` only
// records. `main` is the entry.
import { deepStrictEqual } from "node:assert";
import { Builder, compileScriptBody, type Leaf, type Unit } from "../../src/compile/emit.ts";
import { parseScript } from "../../src/compile/parse.ts";
import { analyse } from "../../src/compile/scope.ts";
import { encodeProgram } from "../../src/program/encode.ts";
import { programFormat } from "../../src/program/program.ts";
import { decodeValue, encodeError, encodeValue } from "../../src/program/value.ts";
import type { Activation, Effect, Machine } from "../../src/vm/machine.ts";
import { machine } from "./realm.ts";

const actions = ["echo", "fail", "log"];
const durables = ["sleep", "now", "random", "uuid", "runAction"] as const;

export function compileText(text: string): { body: Uint8Array; debug: Uint8Array } {
  const tree = parseScript(`${text}\nmain();`);
  const builder = new Builder();
  const lines = text.split("\n");
  const unit: Unit = {
    text: `${text}\nmain();`,
    source: 0,
    statics: -1,
    analysis: analyse(tree),
    sites: new Map(),
    leaves: new Map(),
    overrides: new Map(),
    at: (node) => place(lines, node.start),
    offset: (offset) => place(lines, offset),
    place: (node) => ({ file: "/src/test.ts", ...place(lines, node.start) }),
    frame: () => "",
    isGlobal: () => true,
    resolve: (name) => ({
      taken: 0,
      link: (): Leaf => {
        const durable = durables.find((known) => known === name);
        const reference = actions.includes(name)
          ? ({ kind: "action", name, policy: null } as const)
          : durable !== undefined
            ? ({ kind: "durable", name: durable } as const)
            : name === "child"
              ? ({ kind: "workflow", name } as const)
              : undefined;
        if (name === "undefined") return { kind: "primitive", value: undefined };
        if (reference === undefined) return { kind: "global", path: [name] };
        const known = builder.references.findIndex((item) => item.name === name);
        const index = known >= 0 ? known : builder.references.push(reference) - 1;
        return { kind: "reference", index, reference };
      },
    }),
    report: (code) => {
      throw new Error(`diagnostic ${code}`);
    },
  };
  compileScriptBody(builder, unit, tree.body);
  return encodeProgram({
    format: programFormat,
    workflow: "main",
    functions: builder.functions,
    constants: builder.constants,
    templates: builder.templates,
    statics: builder.statics,
    data: builder.data,
    references: builder.references,
    debug: { sources: [{ file: "/src/test.ts", text }], functions: builder.debug, graph: { nodes: [], edges: [] } },
  });
}

function place(lines: string[], offset: number): { line: number; column: number } {
  let rest = offset;
  for (let i = 0; i < lines.length; i++) {
    if (rest <= lines[i]!.length) return { line: i + 1, column: rest + 1 };
    rest -= lines[i]!.length + 1;
  }
  return { line: lines.length, column: 1 };
}

export interface Transcript {
  calls: unknown[];
  outcome: unknown;
}

const shown = (error: unknown): unknown =>
  error instanceof Error ? { error: error.name, message: error.message } : { thrown: error };

/** By Node itself: actions answer one after the other, in the order they were called, each in a turn of its own. */
export async function native(text: string): Promise<Transcript> {
  const calls: unknown[] = [];
  const queue: (() => void)[] = [];
  const call =
    (name: string) =>
    (...args: unknown[]) => {
      const copy = decodeValue(encodeValue(args)) as unknown[];
      calls.push([name, ...copy]);
      return new Promise((resolve, reject) =>
        queue.push(() => (name === "fail" ? reject(new Error(String(copy[0]))) : resolve(copy[0]))),
      );
    };
  const sleep = () => new Promise<void>((resolve) => queue.push(resolve));
  const AsyncFunction = (async () => {}).constructor as new (
    ...args: string[]
  ) => (...args: unknown[]) => Promise<unknown>;
  const run = new AsyncFunction("echo", "fail", "log", "sleep", `"use strict"; ${text}\nreturn await main();`);
  let outcome: unknown;
  let ended = false;
  run(call("echo"), call("fail"), call("log"), sleep).then(
    (value) => {
      outcome = { value };
      ended = true;
    },
    (error) => {
      outcome = shown(error);
      ended = true;
    },
  );
  for (;;) {
    await new Promise((resolve) => setImmediate(resolve));
    if (ended) return { calls, outcome };
    const next = queue.shift();
    if (next === undefined) throw new Error("nothing left to wait for");
    next();
  }
}

let realms: [Machine, Machine] | undefined;

export async function durable(text: string): Promise<Transcript & { logs: unknown[] }> {
  realms ??= [await machine(), await machine()];
  const { body, debug } = compileText(text);
  const programs = [realms[0].load(body, debug), realms[1].load(body, debug)] as const;
  let side = 0;
  let state = realms[0].create(programs[0]);
  const calls: unknown[] = [];
  const logs: unknown[] = [];
  const queue: Effect[] = [];
  let at = 1000;
  let result: Activation = realms[0].deliver(state, {
    kind: "start",
    at,
    seed: new Uint8Array(16),
    input: encodeValue([]),
  });
  for (;;) {
    if (result.fatal !== null) throw new Error(`${result.fatal.code} ${result.fatal.message}`);
    logs.push(...result.logs.map((line) => line.text));
    for (const effect of result.effects) {
      queue.push(effect);
      if (effect.kind === "action") calls.push([effect.name, ...(decodeValue(effect.args) as unknown[])]);
    }
    if (result.outcome !== null) {
      const value = decodeValue(result.outcome.payload);
      return { calls, outcome: result.outcome.kind === "completed" ? { value } : shown(value), logs };
    }
    const bytes = realms[side]!.snapshot(state);
    realms[side]!.drop(state);
    side = 1 - side;
    state = realms[side]!.restore(programs[side]!, bytes);
    deepStrictEqual(realms[side]!.snapshot(state), bytes);
    const effect = queue.shift();
    if (effect === undefined) throw new Error("nothing left to wait for");
    at += 1000;
    if (effect.kind === "timer") result = realms[side]!.deliver(state, { kind: "fired", at, effect: effect.no });
    else if (effect.kind === "action") {
      const args = decodeValue(effect.args) as unknown[];
      result =
        effect.name === "fail"
          ? realms[side]!.deliver(state, {
              kind: "failed",
              at,
              effect: effect.no,
              attempt: 1,
              error: encodeError(new Error(String(args[0]))),
            })
          : realms[side]!.deliver(state, {
              kind: "done",
              at,
              effect: effect.no,
              attempt: 1,
              value: encodeValue(args[0]),
            });
    } else throw new Error("no children here");
  }
}

/** Both, and the same. */
export async function same(text: string): Promise<Transcript> {
  const expected = await native(text);
  const { calls, outcome } = await durable(text);
  deepStrictEqual({ calls, outcome }, expected);
  return expected;
}
