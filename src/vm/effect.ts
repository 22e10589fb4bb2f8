// What a workflow asks of the world: actions, timers, children; and the durable functions that need no world (`now`,
// `random`, `uuid`). Arguments become bytes at the call: what is sent is what stood there then.

import { type Duration, parseDuration } from "../base/duration.ts";
import { WaymarkError } from "../base/failure.ts";
import { mergePolicy, type PolicyData, toPolicyData } from "../program/policy.ts";
import type { Reference } from "../program/program.ts";
import { type StartData, toStartData } from "../program/start.ts";
import { decodeValue, encodeValue } from "../program/value.ts";
import { builtin, define, install } from "./builtin.ts";
import { limits } from "./limits.ts";
import { fault } from "./loop.ts";
import { dateValue, hidden } from "./primordial.ts";
import { newPromise, promiseResolve } from "./promise.ts";
import { Builtin, type Callable, closureOf, innerOf, promiseOf } from "./stamp.ts";
import { type PendingEffect, running, vm } from "./state.ts";

// -- emitting

function emit(
  effect: Omit<PendingEffect, "no" | "function" | "pc" | "promise" | "firstAt" | "attempt" | "details">,
): object {
  const state = running();
  if (state.effects.size >= limits.pendingEffects)
    fault("WM444", `More than ${limits.pendingEffects} effects wait at once.`);
  const site = vm.top;
  const made: PendingEffect = {
    ...effect,
    no: state.nextEffect++,
    function: site === null ? 0 : site.code.index,
    pc: site === null ? 0 : site.pc,
    attempt: 1,
    firstAt: state.now,
    details: null,
    promise: newPromise(),
  };
  state.effects.set(made.no, made);
  state.emitted[state.emitted.length] = made;
  return made.promise;
}

const listed = (args: ArrayLike<unknown>): unknown[] => {
  const list = new Array<unknown>(args.length);
  for (let i = 0; i < args.length; i++) list[i] = args[i];
  return list;
};

const bare = { policy: null, options: null, wait: true, dueAt: null };

// -- actions

/** Slots: reference index, policy given with `.with` (or null). */
const actionCall = define("effect.action", 0, (slots, _self, args) => {
  const reference = referenceAt(slots[0] as number) as Extract<Reference, { kind: "action" }>;
  const bytes = encodeValue(listed(args), { what: `the arguments of "${reference.name}"` });
  const given = slots[1] as PolicyData | null;
  return emit({
    ...bare,
    kind: "action",
    name: reference.name,
    args: bytes,
    policy: joinPolicy(reference.policy, given),
  });
});

const referenceAt = (index: number): Reference => running().loaded.program.references[index]!;

function joinPolicy(declared: Uint8Array | null, given: PolicyData | null): Uint8Array | null {
  if (given === null) return declared;
  const base = declared === null ? {} : (decodeValue(declared) as PolicyData);
  return encodeValue(mergePolicy(base, given), { what: "the policy" });
}

/** Error classes in a policy's filters, by the name the class has in the program. */
const nameOf = (filter: unknown): string | undefined => {
  const code = closureOf(filter)?.code;
  if (code !== undefined && code.name !== "") return code.name;
  const name = typeof filter === "function" ? Object.getOwnPropertyDescriptor(filter, "name")?.value : filter;
  return typeof name === "string" && name !== "" ? name : undefined;
};

// -- children

/** Slots: reference index, start options (or null). The function itself is not callable; `run` and `start` are. */
const workflowCall = define("effect.workflow", 0, (slots) => {
  const { name } = referenceAt(slots[0] as number) as { name: string };
  throw new WaymarkError("WM461", `The workflow "${name}" was called as a function.`, {
    hint: `Use ${name}.run(...) to wait for its result, or ${name}.start(...) to go on.`,
  });
});

function child(self: unknown, args: ArrayLike<unknown>, wait: boolean): object {
  const slots = slotsOf(self, workflowCall, wait ? "run" : "start");
  const { name } = referenceAt(slots[0] as number) as { name: string };
  const bytes = encodeValue(listed(args), { what: `the arguments of "${name}"` });
  const options = slots[1] === null ? null : encodeValue(slots[1], { what: "the start options" });
  return emit({ ...bare, kind: "child", name, args: bytes, options, wait });
}

const handleResult = define(
  "effect.handleResult",
  0,
  (slots) => {
    throw new WaymarkError(
      "WM462",
      `Waiting for the started instance "${String(slots[0])}" is not supported inside a workflow yet.`,
      {
        hint: "Use child.run(...), without awaiting it at once, where the result is needed.",
      },
    );
  },
  "result",
);

/** What `child.start()` resolves to. */
export function makeHandle(id: unknown): object {
  return { id, result: builtin(handleResult, [id]) };
}

// -- durable functions

const durables: Record<Extract<Reference, { kind: "durable" }>["name"], Callable> = {
  sleep: {
    sleep(duration: unknown): unknown {
      return emit({ ...bare, kind: "timer", name: "", args: new Uint8Array(0), dueAt: dueAt(duration) });
    },
  }.sleep as Callable,
  now: {
    now(): unknown {
      return running().now;
    },
  }.now as Callable,
  random: {
    random(): unknown {
      return random();
    },
  }.random as Callable,
  uuid: {
    uuid(): unknown {
      return uuid();
    },
  }.uuid as Callable,
  runAction: {
    runAction(call: unknown, policy: unknown): unknown {
      return joinEffect(call, policy);
    },
  }.runAction as Callable,
};

function dueAt(duration: unknown): number {
  if (duration instanceof Date) {
    const at = dateValue(duration);
    if (Number.isNaN(at)) throw new RangeError("sleep() was given an invalid date");
    return at;
  }
  return running().now + parseDuration(duration as Duration);
}

/** `runAction(charge(order), policy)`: the effect has been made but not sent, so its policy can still be changed. */
function joinEffect(call: unknown, policy: unknown): unknown {
  const { emitted } = running();
  const effect = promiseOf(call) === undefined ? undefined : find(emitted, call as object);
  if (effect === undefined || effect.kind !== "action") {
    throw new WaymarkError("WM463", "runAction() needs the call of an action that has not been sent yet.", {
      hint: "Write `runAction(charge(order), policy)`, or give the policy with `charge.with(policy)(order)`.",
    });
  }
  if (policy !== undefined) effect.policy = joinPolicy(effect.policy, toPolicyData(policy, nameOf));
  return promiseResolve(call);
}

function find(emitted: PendingEffect[], promise: object): PendingEffect | undefined {
  for (let i = emitted.length - 1; i >= 0; i--) if (emitted[i]!.promise === promise) return emitted[i];
  return undefined;
}

// -- randomness: sfc32, seeded by the instance, its four words in the state

function next(): number {
  const s = running().seed as unknown as { 0: number; 1: number; 2: number; 3: number };
  const t = (((s[0] + s[1]) >>> 0) + s[3]) >>> 0;
  s[3] = s[3] + 1;
  s[0] = s[1] ^ (s[1] >>> 9);
  s[1] = s[2] + (s[2] << 3);
  s[2] = ((s[2] << 21) | (s[2] >>> 11)) + t;
  return t;
}

/** In [0, 1), of 53 bits. */
function random(): number {
  return ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
}

function uuid(): string {
  const words = [next(), next(), next(), next()];
  words[1] = (words[1]! & 0xffff0fff) | 0x4000;
  words[2] = (words[2]! & 0x3fffffff) | 0x80000000;
  let hex = "";
  for (let i = 0; i < 4; i++) hex += (words[i]! >>> 0).toString(16).padStart(8, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function seedRandom(bytes: Uint8Array): void {
  const { seed } = running();
  for (let i = 0; i < 16; i++) seed[i >> 2] = (seed[i >> 2]! << 8) | (bytes[i] ?? 0);
  for (let i = 0; i < 12; i++) next();
}

// -- references as values

export const actionPrototype = Object.create(hidden.functionPrototype) as object;
export const workflowPrototype = Object.create(hidden.functionPrototype) as object;

function slotsOf(self: unknown, definition: unknown, method: string): unknown[] {
  const inner = typeof self === "function" ? innerOf(self) : undefined;
  if (!(inner instanceof Builtin) || inner.definition !== definition)
    throw new TypeError(`${method} was called on something else than what has it`);
  return inner.slots;
}

export function makeReference(reference: Reference, index: number): Callable {
  switch (reference.kind) {
    case "action":
      return dress(builtin(actionCall, [index, null]), actionPrototype, reference.name);
    case "workflow":
      return dress(builtin(workflowCall, [index, null]), workflowPrototype, reference.name);
    case "durable":
      return durables[reference.name];
  }
}

function dress(made: Callable, prototype: object, name: string): Callable {
  Object.setPrototypeOf(made, prototype);
  Object.defineProperty(made, "name", { value: name, writable: false, enumerable: false, configurable: true });
  return made;
}

const nameProperty = (made: object): string => String(Object.getOwnPropertyDescriptor(made, "name")?.value ?? "");

function refused(name: string): Callable {
  return {
    m(): unknown {
      throw new WaymarkError("WM464", `\`${name}\` is for callers outside workflows.`, {
        hint: "Inside a workflow use run(...), start(...) and with(...).",
      });
    },
  }.m;
}

/** The durable functions by the names the seal and snapshots know them by. */
export function durableRoots(): Record<string, object> {
  return {
    "%sleep%": durables.sleep,
    "%now%": durables.now,
    "%random%": durables.random,
    "%uuid%": durables.uuid,
    "%runAction%": durables.runAction,
  };
}

export function installEffects(): void {
  install(
    actionPrototype,
    "with",
    {
      with(this: unknown, policy: unknown): unknown {
        const slots = slotsOf(this, actionCall, "with");
        const given = toPolicyData(policy, nameOf);
        const merged = slots[1] === null ? given : mergePolicy(slots[1] as PolicyData, given);
        return dress(builtin(actionCall, [slots[0], merged]), actionPrototype, nameProperty(this as object));
      },
    }.with as Callable,
    1,
  );
  install(
    workflowPrototype,
    "with",
    {
      with(this: unknown, options: unknown): unknown {
        const slots = slotsOf(this, workflowCall, "with");
        const given = toStartData(options) as StartData;
        return dress(builtin(workflowCall, [slots[0], given]), workflowPrototype, nameProperty(this as object));
      },
    }.with as Callable,
    1,
  );
  install(
    workflowPrototype,
    "run",
    {
      run(this: unknown, ...args: unknown[]): unknown {
        return child(this, args, true);
      },
    }.run as Callable,
    0,
  );
  install(
    workflowPrototype,
    "start",
    {
      start(this: unknown, ...args: unknown[]): unknown {
        return child(this, args, false);
      },
    }.start as Callable,
    0,
  );
  install(workflowPrototype, "inline", refused("inline"), 0);
}
