// The VM as a host sees it: a realm of its own made with node:vm, the interpreter evaluated inside it, and this adapter
// in between. Into the realm go numbers, strings and bytes that it copies; out of it comes data that is copied here,
// field by field. No host function is ever visible inside.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createContext, Script } from "node:vm";
import { WaymarkError } from "../base/failure.ts";
import type { Activation, Effect, Machine, Suspended, VmEvent } from "../vm/machine.ts";

export interface MachineOptions {
  /** The text of the realm script. Default: the one built next to this file. */
  script?: string;
}

/** The realm's answers, as its door declares them; all plain records of the realm. */
type Answer<T> = { ok: true; value: T } | { ok: false; code: string; message: string; hint: string };

interface Door {
  load(body: Uint8Array, debug: Uint8Array | null): Answer<number>;
  create(program: number): Answer<number>;
  restore(program: number, snapshot: Uint8Array): Answer<number>;
  deliver(
    state: number,
    kind: string,
    at: number,
    effect: number,
    attempt: number,
    dueAt: number,
    first: Uint8Array | null,
    second: Uint8Array | null,
  ): Answer<Activation>;
  pending(state: number): Answer<Effect[]>;
  snapshot(state: number): Answer<Uint8Array>;
  inspect(program: number, snapshot: Uint8Array): Answer<Suspended[]>;
  drop(state: number): void;
  unload(program: number): void;
}

/** A realm and its machine. One for each shard: nothing in a realm is shared between instances but what is frozen. */
export function createMachine(options: MachineOptions = {}): Machine {
  const door = openRealm(
    options.script === undefined ? builtScript() : new Script(options.script, { filename: "waymark-vm.js" }),
  );
  return {
    load: (body, debug) => opened(door.load(body, debug)),
    create: (program) => opened(door.create(program)),
    restore: (program, snapshot) => opened(door.restore(program, snapshot)),
    deliver: (state, event) => activation(opened(send(door, state, event))),
    pending: (state) => list(opened(door.pending(state)), effect),
    snapshot: (state) => bytes(opened(door.snapshot(state))),
    inspect: (program, snapshot) => list(opened(door.inspect(program, snapshot)), suspended),
    drop: (state) => door.drop(state),
    unload: (program) => door.unload(program),
  };
}

let built: Script | undefined;

/** Compiled once for all realms of the process. */
function builtScript(): Script {
  if (built !== undefined) return built;
  const file = fileURLToPath(new URL("../../dist/vm/realm.script.js", import.meta.url));
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new WaymarkError("WM447", `The VM's script is missing: ${file}`, { hint: "Run `npm run build`.", cause });
  }
  built = new Script(text, { filename: "waymark-vm.js" });
  return built;
}

function openRealm(script: Script): Door {
  const sandbox = Object.create(null) as Record<string, unknown>;
  const context = createContext(sandbox, { codeGeneration: { strings: false, wasm: false } });
  script.runInContext(context);
  const door = sandbox.waymarkVm as Door;
  // What runs inside must not find the door: it would be a way to other instances.
  delete sandbox.waymarkVm;
  return door;
}

function opened<T>(answer: Answer<T>): T {
  if (answer.ok) return answer.value;
  throw new WaymarkError(answer.code, answer.message, answer.hint === "" ? {} : { hint: answer.hint });
}

function send(door: Door, state: number, event: VmEvent): Answer<Activation> {
  const { kind, at } = event;
  switch (event.kind) {
    case "start":
      return door.deliver(state, kind, at, 0, 0, 0, event.seed, event.input);
    case "done":
      return door.deliver(state, kind, at, event.effect, event.attempt, 0, event.value, null);
    case "failed":
      return door.deliver(state, kind, at, event.effect, event.attempt, 0, event.error, null);
    case "retry":
      return door.deliver(state, kind, at, event.effect, event.attempt, event.dueAt, event.error, null);
    case "fired":
      return door.deliver(state, kind, at, event.effect, 0, 0, null, null);
    case "cancel":
      return door.deliver(state, kind, at, 0, 0, 0, event.reason, null);
  }
}

// -- copies of what came out

const bytes = (from: Uint8Array): Uint8Array => new Uint8Array(from);
const bytesOrNull = (from: Uint8Array | null): Uint8Array | null => (from === null ? null : bytes(from));

function activation(from: Activation): Activation {
  const { outcome, fatal } = from;
  return {
    effects: list(from.effects, effect),
    dropped: list(from.dropped, (no) => no),
    logs: list(from.logs, ({ level, text }) => ({ level, text })),
    outcome: outcome === null ? null : { kind: outcome.kind, payload: bytes(outcome.payload) },
    fatal: fatal === null ? null : { code: fatal.code, message: fatal.message },
  };
}

function list<A, B>(from: A[], copy: (item: A) => B): B[] {
  const made: B[] = [];
  for (let i = 0; i < from.length; i++) made.push(copy(from[i] as A));
  return made;
}

function effect(from: Effect): Effect {
  const { no, function: index, pc } = from;
  switch (from.kind) {
    case "action":
      return {
        kind: "action",
        no,
        function: index,
        pc,
        name: from.name,
        args: bytes(from.args),
        policy: bytesOrNull(from.policy),
        attempt: from.attempt,
        dueAt: from.dueAt,
        firstAt: from.firstAt,
        details: bytesOrNull(from.details),
      };
    case "timer":
      return { kind: "timer", no, function: index, pc, dueAt: from.dueAt };
    case "child":
      return {
        kind: "child",
        no,
        function: index,
        pc,
        name: from.name,
        args: bytes(from.args),
        options: bytesOrNull(from.options),
        wait: from.wait,
      };
  }
}

function suspended(from: Suspended): Suspended {
  const { name, function: index, pc, at } = from;
  return {
    name,
    function: index,
    pc,
    at: at === null ? null : { file: at.file, line: at.line, column: at.column },
    locals: list(from.locals, (local) => ({ name: local.name, value: local.value })),
  };
}
