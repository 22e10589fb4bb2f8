// One program, two readers: Node itself, and the VM with its state encoded and decoded after every event. Both give a
// transcript of what was printed, which actions were called with what, and how it ended.

import type { Compiled } from "../../src/compile/compile.ts";
import { compileScript } from "../../src/compile/compile.ts";
import type { Reference } from "../../src/program/program.ts";
import { decodeValue, encodeError, encodeValue } from "../../src/program/value.ts";
import type { Effect, Machine, VmEvent } from "../../src/vm/machine.ts";

/** `act(x)` gives x back; `fail(message)` throws it; both are actions. `sleep` is durable. `print` shows any value. */
const prelude = `const show = (v, d = 0) => { if (typeof v === "string") return d ? JSON.stringify(v) : v; if (typeof v === "bigint") return v + "n"; if (Object.is(v, -0)) return "-0"; if (typeof v === "symbol") return v.toString(); if (typeof v === "function") return "[function " + v.name + "]"; if (v === null || typeof v !== "object") return String(v); if (d > 4) return "..."; if (v instanceof Error) return v.name + ": " + v.message; if (Array.isArray(v)) { const parts = []; for (let i = 0; i < v.length; i++) parts.push(i in v ? show(v[i], d + 1) : "<hole>"); return "[" + parts.join(", ") + "]"; } if (v instanceof Map) return "Map" + show([...v], d + 1); if (v instanceof Set) return "Set" + show([...v], d + 1); return "{" + Reflect.ownKeys(v).map((k) => String(k) + ": " + show(v[k], d + 1)).join(", ") + "}"; }; const print = (...xs) => console.log(xs.map((x) => show(x)).join(" ")); `;

const references: Record<string, Reference> = {
  act: { kind: "action", name: "act", policy: null },
  fail: { kind: "action", name: "fail", policy: null },
  sleep: { kind: "durable", name: "sleep" },
};

const AsyncFunction = (async () => {}).constructor as new (
  ...text: string[]
) => (...args: unknown[]) => Promise<unknown>;

export async function natively(source: string): Promise<string[]> {
  const lines: string[] = [];
  const queue: (() => void)[] = [];
  let running = false;
  const pump = () => {
    const next = queue.shift();
    if (next === undefined) running = false;
    else {
      next();
      setImmediate(pump);
    }
  };
  const later = <T>(settle: () => T) =>
    new Promise<T>((resolve, reject) => {
      queue.push(() => {
        try {
          resolve(settle());
        } catch (error) {
          reject(error);
        }
      });
      if (!running) {
        running = true;
        setImmediate(pump);
      }
    });
  const copy = (value: unknown) => decodeValue(encodeValue(value));
  const act = (value: unknown) => {
    lines.push(`call act ${JSON.stringify(value)}`);
    const sent = copy(value);
    return later(() => sent);
  };
  const fail = (message: string) => {
    lines.push(`call fail ${JSON.stringify(message)}`);
    return later(() => {
      throw new RangeError(message);
    });
  };
  const sleep = () => {
    lines.push("sleep");
    return later(() => undefined);
  };
  const log = { log: (text: string) => lines.push(text) };
  const body = new AsyncFunction("console", "act", "fail", "sleep", `"use strict"; ${prelude}${source}`);
  try {
    await body(log, act, fail, sleep);
    lines.push("completed");
  } catch (error) {
    lines.push(`failed ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`);
  }
  return lines;
}

export function compileProgram(source: string, file: string): Compiled {
  return compileScript(prelude + source, { references, file });
}

export function throughVm(machine: Machine, { body, debug }: Compiled, restoring = true): string[] {
  const lines: string[] = [];
  const program = machine.load(body, debug);
  let state = machine.create(program);
  const queue: Effect[] = [];
  let event: VmEvent = { kind: "start", at: 1_700_000_000_000, seed: new Uint8Array(16), input: encodeValue([]) };
  try {
    for (let turn = 0; turn < 500; turn++) {
      const { effects, logs, outcome, fatal, dropped } = machine.deliver(state, event);
      // Calls and prints of one turn are compared in the order of each kind; the native transcript is sorted alike.
      for (const { text } of logs) lines.push(text);
      for (const effect of effects) {
        lines.push(
          effect.kind === "action"
            ? `call ${effect.name} ${JSON.stringify((decodeValue(effect.args) as unknown[])[0])}`
            : "sleep",
        );
        queue.push(effect);
      }
      if (fatal !== null) return [...lines, `fatal ${fatal.code} ${fatal.message}`];
      if (outcome !== null) {
        const value = decodeValue(outcome.payload);
        lines.push(
          outcome.kind === "completed"
            ? "completed"
            : `${outcome.kind} ${value instanceof Error ? `${value.name}: ${value.message}` : String(value)}`,
        );
        return lines;
      }
      let next = queue.shift();
      while (next !== undefined && dropped.includes(next.no)) next = queue.shift();
      if (next === undefined) return [...lines, "stuck"];
      if (restoring) {
        const snapshot = machine.snapshot(state);
        machine.drop(state);
        state = machine.restore(program, snapshot);
        const again = machine.snapshot(state);
        if (Buffer.compare(snapshot, again) !== 0) lines.push("snapshot is not stable");
      }
      const at = 1_700_000_000_000 + turn;
      if (next.kind === "timer") event = { kind: "fired", at, effect: next.no };
      else if (next.kind === "action") {
        const [argument] = decodeValue(next.args) as unknown[];
        event =
          next.name === "fail"
            ? {
                kind: "failed",
                at,
                effect: next.no,
                attempt: next.attempt,
                error: encodeError(new RangeError(String(argument))),
              }
            : { kind: "done", at, effect: next.no, attempt: next.attempt, value: encodeValue(argument) };
      } else return [...lines, `unexpected ${next.kind}`];
    }
    return [...lines, "does not end"];
  } finally {
    machine.drop(state);
    machine.unload(program);
  }
}

/** Prints and effects of a turn come separately from the VM, so both transcripts are compared kind by kind. */
export function byKind(lines: readonly string[]): { printed: string[]; effects: string[]; end: string | undefined } {
  const isEffect = (line: string) => /^(call (act|fail) |sleep$)/.test(line);
  return {
    printed: lines.slice(0, -1).filter((line) => !isEffect(line)),
    effects: lines.slice(0, -1).filter(isEffect),
    end: lines.at(-1),
  };
}
