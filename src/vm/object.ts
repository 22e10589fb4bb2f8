// What instructions about objects and classes do where it takes more than a line, after the specification's abstract
// operations of the same names.

import { builtin, define } from "./builtin.ts";
import { arrayValues, isObject } from "./iterate.ts";
import { hasOwn } from "./primordial.ts";
import { Builtin, type Callable, type Closure, closureOf, innerOf } from "./stamp.ts";
import { describe } from "./trace.ts";
import { isOverride } from "./wrappers.ts";

export type Bag = Record<PropertyKey, unknown>;

/**
 * A failed strict assignment. In a realm that is not frozen, `error.name = "X"` makes an own property although a
 * prototype has that name; the freeze must not change it: where the holder is an intrinsic's data property, define.
 */
export function overrideSet(target: unknown, key: PropertyKey, value: unknown, error: unknown): void {
  if (!isObject(target) || !isOverride(target, key)) throw error;
  Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}

/** CreateDataPropertyOrThrow. */
export function defineData(target: object, key: PropertyKey, value: unknown): void {
  if (!(key in target)) (target as Bag)[key] = value;
  else Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}

/** CopyDataProperties. */
export function copyData(target: object, source: unknown, except: unknown): void {
  if (source === undefined || source === null) return;
  const from = Object(source) as Bag;
  const keys = Reflect.ownKeys(from);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as PropertyKey;
    if (except !== undefined && includes(except as unknown[], key)) continue;
    const found = Object.getOwnPropertyDescriptor(from, key);
    if (found?.enumerable) defineData(target, key, from[key]);
  }
}

function includes(keys: unknown[], key: PropertyKey): boolean {
  for (let i = 0; i < keys.length; i++)
    if (keys[i] === key || (typeof keys[i] === "number" && String(keys[i]) === key)) return true;
  return false;
}

export function toKey(value: unknown): PropertyKey {
  if (typeof value === "string" || typeof value === "symbol") return value;
  if (!isObject(value)) return String(value);
  return Reflect.ownKeys({ [value as unknown as string]: 0 })[0] as PropertyKey;
}

/** SetFunctionName; a class with a static `name` of its own keeps it. */
export function setName(made: unknown, key: unknown, kind: number): void {
  if (typeof made !== "function") return;
  const own =
    typeof key === "symbol"
      ? key.description === undefined
        ? ""
        : `[${key.description}]`
      : isObject(key)
        ? ((key as { text?: string }).text ?? "")
        : String(key);
  const name = kind === 1 ? `get ${own}` : kind === 2 ? `set ${own}` : own;
  const found = Object.getOwnPropertyDescriptor(made, "name");
  if (
    found !== undefined &&
    (found.value === name || !found.configurable || found.writable || typeof found.value !== "string")
  )
    return;
  Object.defineProperty(made, "name", { value: name, writable: false, enumerable: false, configurable: true });
}

/** METHOD: home, name, definition. */
export function defineMethod(target: object, key: PropertyKey, made: Callable, kind: number): void {
  const inner = closureOf(made);
  if (inner !== undefined) inner.home = target;
  const enumerable = (kind & 4) !== 0;
  const shape = kind & 3;
  setName(made, key, shape);
  if (shape === 0) Object.defineProperty(target, key, { value: made, writable: true, enumerable, configurable: true });
  else if (shape === 1) Object.defineProperty(target, key, { get: made, enumerable, configurable: true });
  else Object.defineProperty(target, key, { set: made as (v: unknown) => void, enumerable, configurable: true });
}

const constructors = new WeakMap<object, boolean>();

export function isConstructor(value: unknown): value is Callable {
  if (typeof value !== "function") return false;
  const inner = innerOf(value);
  if (inner !== undefined) {
    if (inner instanceof Builtin) return inner.definition === boundFunction && isConstructor(inner.slots[0]);
    return (inner as Closure).code.constructs;
  }
  const known = constructors.get(value);
  if (known !== undefined) return known;
  let answer = true;
  try {
    Reflect.construct(Object, [], value);
  } catch {
    answer = false;
  }
  constructors.set(value, answer);
  return answer;
}

/** A class's constructor and prototype over its heritage (undefined: none). */
export function linkClass(made: Callable, heritage: unknown, extending: boolean): object {
  let above: object | null = Object.prototype;
  if (extending) {
    if (heritage === null) above = null;
    else {
      if (!isConstructor(heritage))
        throw new TypeError(
          `Class extends value ${isObject(heritage) ? describe(heritage) : String(heritage)} is not a constructor or null`,
        );
      above = (heritage as unknown as { prototype: object | null }).prototype;
      if (above !== null && !isObject(above))
        throw new TypeError(`Class extends value does not have valid prototype property ${String(above)}`);
      Object.setPrototypeOf(made, heritage as object);
    }
  }
  const prototype = Object.create(above) as object;
  Object.defineProperty(prototype, "constructor", {
    value: made,
    writable: true,
    enumerable: false,
    configurable: true,
  });
  Object.defineProperty(made, "prototype", {
    value: prototype,
    writable: false,
    enumerable: false,
    configurable: false,
  });
  (closureOf(made) as Closure).home = prototype;
  return prototype;
}

/** What `new` makes before a base constructor runs. */
export function createThis(newTarget: unknown): object {
  const prototype = (newTarget as { prototype: unknown }).prototype;
  return Object.create(isObject(prototype) ? prototype : Object.prototype) as object;
}

export function argumentsObject(args: ArrayLike<unknown>): object {
  const made = Reflect.apply(bareArguments, undefined, args) as object;
  Object.defineProperty(made, Symbol.iterator, {
    value: arrayValues,
    writable: true,
    enumerable: false,
    configurable: true,
  });
  return made;
}

export function bareArguments(): object {
  // biome-ignore lint/complexity/noArguments: the object itself is wanted
  return arguments;
}

// -- bound functions

export const boundFunction = define("function.bound", 0, (slots, _self, args) => {
  const [target, self, first] = slots as [Callable, unknown, unknown[]];
  return Reflect.apply(target, self, joined(first, args));
});

export function joined(first: ArrayLike<unknown>, second: ArrayLike<unknown>): unknown[] {
  const all = new Array<unknown>(first.length + second.length);
  for (let i = 0; i < first.length; i++) all[i] = first[i];
  for (let i = 0; i < second.length; i++) all[first.length + i] = second[i];
  return all;
}

export function bind(target: unknown, self: unknown, first: unknown[]): Callable {
  if (typeof target !== "function") throw new TypeError("Bind must be called on a function");
  const made = builtin(boundFunction, [target, self, first]);
  const length = hasOwn(target, "length") ? (target as { length: unknown }).length : 0;
  const name = (target as { name?: unknown }).name;
  const left = typeof length === "number" ? Math.max(0, Math.trunc(length) - first.length) || 0 : 0;
  Object.defineProperty(made, "length", { value: left, writable: false, enumerable: false, configurable: true });
  Object.defineProperty(made, "name", {
    value: `bound ${typeof name === "string" ? name : ""}`,
    writable: false,
    enumerable: false,
    configurable: true,
  });
  const above = Object.getPrototypeOf(target) as object;
  if (above !== Object.getPrototypeOf(made)) Object.setPrototypeOf(made, above);
  return made;
}
