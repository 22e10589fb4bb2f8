// The door of the sealed realm: bundled with everything it imports into one classic script and evaluated inside a realm
// of its own. Only primitives and bytes come in and only data goes out; a host object handed in would carry its own
// realm's constructors with it, and that is a way out of the seal.

import { WaymarkError } from "../base/failure.ts";
import { decodeProgram } from "../program/encode.ts";
import { verifyProgram } from "../program/verify.ts";
import { deliver as deliverTo, pendingOf } from "./activate.ts";
import { actionPrototype, durableRoots, workflowPrototype } from "./effect.ts";
import { Loaded } from "./frame.ts";
import { inspect as inspectSnapshot } from "./inspect.ts";
import { asyncFromSyncPrototype } from "./iterate.ts";
import type { Activation, Effect, Suspended, VmEvent } from "./machine.ts";
import { installReplacements } from "./replace.ts";
import { auditRealm, seal } from "./seal.ts";
import { decodeState, encodeState } from "./snapshot.ts";
import { State } from "./state.ts";
import { wrap } from "./wrappers.ts";

installReplacements();
wrap(globalThis as unknown as Record<string, unknown>);
seal(globalThis, {
  roots: {
    "%ActionPrototype%": actionPrototype,
    "%WorkflowPrototype%": workflowPrototype,
    "%AsyncFromSyncIteratorPrototype%": asyncFromSyncPrototype,
    ...durableRoots(),
  },
  rows: {
    "%ActionPrototype%": "with",
    "%WorkflowPrototype%": "with run start inline",
    "%AsyncFromSyncIteratorPrototype%": "next return throw",
  },
  keep: ["waymarkVm"],
});

const programs = new Map<number, Loaded>();
const states = new Map<number, State>();
let nextHandle = 1;

export type Answer<T> = { ok: true; value: T } | { ok: false; code: string; message: string; hint: string };

/** Nothing is thrown at the host: it gets data. */
function guarded<T>(make: () => T): Answer<T> {
  try {
    return { ok: true, value: make() };
  } catch (thrown) {
    if (thrown instanceof WaymarkError)
      return { ok: false, code: thrown.code, message: thrown.message, hint: thrown.hint ?? "" };
    if (typeof thrown === "object" && thrown !== null && "code" in thrown && "message" in thrown) {
      return { ok: false, code: String(thrown.code), message: String(thrown.message), hint: "" };
    }
    return {
      ok: false,
      code: "WM900",
      message: `internal: ${thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown)}`,
      hint: "",
    };
  }
}

/** A copy of the host's bytes that belongs to this realm. */
const copied = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

const programAt = (handle: number): Loaded => {
  const found = programs.get(handle);
  if (found === undefined) throw new WaymarkError("WM445", `There is no loaded program ${handle}.`);
  return found;
};
const stateAt = (handle: number): State => {
  const found = states.get(handle);
  if (found === undefined) throw new WaymarkError("WM445", `There is no state ${handle}.`);
  return found;
};

export const load = (body: Uint8Array, debug: Uint8Array | null): Answer<number> =>
  guarded(() => {
    const program = decodeProgram(copied(body), debug === null ? null : copied(debug));
    const fault = verifyProgram(program);
    if (fault !== null)
      throw new WaymarkError("WM411", `The program does not verify: ${fault}`, {
        hint: "Its row was damaged or changed by hand. Restore it from a backup.",
      });
    programs.set(nextHandle, new Loaded(program));
    return nextHandle++;
  });

export const create = (program: number): Answer<number> =>
  guarded(() => {
    states.set(nextHandle, new State(programAt(program)));
    return nextHandle++;
  });

export const restore = (program: number, snapshot: Uint8Array): Answer<number> =>
  guarded(() => {
    states.set(nextHandle, decodeState(programAt(program), copied(snapshot)));
    return nextHandle++;
  });

export const snapshot = (state: number): Answer<Uint8Array> => guarded(() => encodeState(stateAt(state)));

export const inspect = (program: number, snapshot: Uint8Array): Answer<Suspended[]> =>
  guarded(() => inspectSnapshot(programAt(program), copied(snapshot)));

/** What the walk of the sealed realm finds wrong, as JSON. */
export const audit = (): string => JSON.stringify(auditRealm());

/** Events come in flattened: kind, at, number, attempt, due, two byte strings. */
export const deliver = (
  state: number,
  kind: string,
  at: number,
  effect: number,
  attempt: number,
  dueAt: number,
  first: Uint8Array | null,
  second: Uint8Array | null,
): Answer<Activation> =>
  guarded(() => {
    const one = first === null ? null : copied(first);
    const two = second === null ? null : copied(second);
    return deliverTo(stateAt(state), eventOf(kind, at, effect, attempt, dueAt, one, two));
  });

function eventOf(
  kind: string,
  at: number,
  effect: number,
  attempt: number,
  dueAt: number,
  one: Uint8Array | null,
  two: Uint8Array | null,
): VmEvent {
  const bytes = one ?? new Uint8Array(0);
  switch (kind) {
    case "start":
      return { kind, at, seed: bytes, input: two ?? new Uint8Array(0) };
    case "done":
      return { kind, at, effect, attempt, value: bytes };
    case "failed":
      return { kind, at, effect, attempt, error: bytes };
    case "retry":
      return { kind, at, effect, attempt, dueAt, error: one };
    case "fired":
      return { kind, at, effect };
    case "cancel":
      return { kind, at, reason: one };
    default:
      throw new WaymarkError("WM446", `The VM knows no event "${kind}".`);
  }
}

export const pending = (state: number): Answer<Effect[]> => guarded(() => pendingOf(stateAt(state)));

export const drop = (state: number): void => {
  states.delete(state);
};

export const unload = (program: number): void => {
  programs.delete(program);
};
