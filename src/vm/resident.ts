// What a program brings or names, made at first use in an instance and the same ever after: captured statics, references
// to actions and workflows, template objects, and the globals of the realm.

import { decodeValue } from "../program/value.ts";
import { closure } from "./closure.ts";
import { makeReference } from "./effect.ts";
import { type Code, type Loaded, registers } from "./frame.ts";
import { runCode } from "./loop.ts";
import { realmGlobals } from "./seal.ts";
import { running } from "./state.ts";

export function globalNamed(name: string): unknown {
  const globals = realmGlobals();
  if (!globals.has(name)) throw new ReferenceError(`${name} is not defined`);
  return globals.get(name);
}

/** Stands for a class whose definition is running. */
const making = {};

export function staticOf(index: number): unknown {
  const { statics, loaded } = running();
  const known = statics[index];
  if (known === making) throw new ReferenceError(`Cannot access '${staticName(loaded, index)}' before initialization`);
  if (known !== undefined) return known;
  const definition = loaded.program.statics[index]!;
  switch (definition.kind) {
    case "function":
      statics[index] = closure(loaded.codes[definition.function]!, registers(0));
      break;
    case "class":
      statics[index] = making;
      try {
        statics[index] = runCode(loaded.codes[definition.function]!);
      } finally {
        if (statics[index] === making) statics[index] = undefined;
      }
      break;
    case "data":
      if (isShared(loaded, definition.data)) return dataOf(loaded, definition.data);
      statics[index] = ownData(loaded, definition.data);
  }
  return statics[index];
}

/** Captured data belongs to the program, frozen: decoded once, shared by its instances. */
export function dataOf(loaded: Loaded, index: number): unknown {
  if (!(index in loaded.data)) loaded.data[index] = decodeValue(loaded.program.data[index]!, { freeze: true });
  return loaded.data[index];
}

/**
 * Whether instances may share it. Freezing reaches neither the bytes of a typed array nor leaves a global RegExp usable
 * (`replace` writes its `lastIndex`), so data with one of them inside is made for each instance, as part of its state.
 */
export function isShared(loaded: Loaded, index: number): boolean {
  const known = loaded.shared[index];
  if (known !== undefined) return known;
  const shared = !reaches(dataOf(loaded, index), isOwn);
  loaded.shared[index] = shared;
  return shared;
}

function ownData(loaded: Loaded, index: number): unknown {
  const data = decodeValue(loaded.program.data[index]!);
  reaches(data, (object) => {
    const prototype = Object.getPrototypeOf(object);
    if (Array.isArray(object) || prototype === null || prototype === Object.prototype) Object.freeze(object);
    return false;
  });
  return data;
}

const isOwn = (object: object): boolean =>
  ArrayBuffer.isView(object) || object instanceof ArrayBuffer || object instanceof RegExp;

/** Whether `found` says yes to an object reachable from the value. */
function reaches(value: unknown, found: (object: object) => boolean): boolean {
  const seen = new Set<object>();
  const queue: unknown[] = [value];
  for (let i = 0; i < queue.length; i++) {
    const object = queue[i];
    if (typeof object !== "object" || object === null || seen.has(object)) continue;
    seen.add(object);
    if (found(object)) return true;
    if (ArrayBuffer.isView(object)) continue;
    if (object instanceof Map || object instanceof Set) {
      object.forEach((entry, key) => {
        queue[queue.length] = entry;
        queue[queue.length] = key;
      });
    }
    const keys = Reflect.ownKeys(object);
    for (let k = 0; k < keys.length; k++) {
      queue[queue.length] = Object.getOwnPropertyDescriptor(object, keys[k]!)!.value;
    }
  }
  return false;
}

export const staticName = (loaded: Loaded, index: number): string => {
  const definition = loaded.program.statics[index]!;
  return definition.kind === "data" ? "data" : loaded.program.functions[definition.function]!.name;
};

export function referenceOf(index: number): unknown {
  const state = running();
  state.references[index] ??= makeReference(state.loaded.program.references[index]!, index);
  return state.references[index];
}

/** One object for each site, as the language has it. */
export function templateOf(code: Code, pc: number, index: number): object {
  const { templates } = running();
  const site = `${code.index}:${pc}`;
  const known = templates.get(site);
  if (known !== undefined) return known;
  const made = makeTemplate(code.program, index);
  templates.set(site, made);
  return made;
}

export function makeTemplate(loaded: Loaded, index: number): object {
  const source = loaded.program.templates[index]!;
  const cooked: unknown[] = [];
  const raw: unknown[] = [];
  for (let i = 0; i < source.raw.length; i++) {
    cooked[i] = source.cooked[i];
    raw[i] = source.raw[i];
  }
  Object.defineProperty(cooked, "raw", {
    value: Object.freeze(raw),
    writable: false,
    enumerable: false,
    configurable: false,
  });
  return Object.freeze(cooked);
}
