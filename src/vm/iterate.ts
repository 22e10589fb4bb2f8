// Iteration: the protocol as the VM itself uses it, and the iterators of arrays, Maps, Sets and strings, which are ours
// because the engine's cannot be written to a snapshot. Ours replace the engine's for natives too (`new Map(array)`).

import { builtin, define, install } from "./builtin.ts";
import { Fault } from "./fault.ts";
import {
  hidden,
  mapEntries,
  mapIteratorNext,
  setIteratorNext,
  setValues,
  TypedArray,
  typedArrayLength,
  typedArrayTag,
} from "./primordial.ts";
import { fulfilPromise, newPromise, promiseResolve, react, rejectPromise } from "./promise.ts";
import {
  ArrayCursor,
  AsyncFromSync,
  type Callable,
  entriesOf,
  innerOf,
  keysOf,
  StringCursor,
  stamp,
  TableCursor,
  valuesOf,
} from "./stamp.ts";
import { addTrace, describe } from "./trace.ts";

export interface IteratorPair {
  iterator: object;
  next: unknown;
}

/** GetIterator. `text` names the value in the error, where the program knows it. */
export function iteratorOf(value: unknown, text?: string): IteratorPair {
  const method =
    value === undefined || value === null ? undefined : (value as Record<symbol, unknown>)[Symbol.iterator];
  if (typeof method !== "function") throw notIterable(value, text, "iterable");
  const iterator =
    method === arrayValues && Array.isArray(value) ? arrayIterator(value, valuesOf) : Reflect.apply(method, value, []);
  if (!isObject(iterator)) throw new TypeError(`Result of the Symbol.iterator method is not an object`);
  return { iterator, next: (iterator as { next: unknown }).next };
}

export function asyncIteratorOf(value: unknown, text?: string): IteratorPair {
  const method =
    value === undefined || value === null ? undefined : (value as Record<symbol, unknown>)[Symbol.asyncIterator];
  if (method === undefined || method === null) {
    const syncMethod =
      value === undefined || value === null ? undefined : (value as Record<symbol, unknown>)[Symbol.iterator];
    if (typeof syncMethod !== "function") throw notIterable(value, text, "async iterable");
    const sync = iteratorOf(value, text);
    const iterator = stamp(
      Object.create(asyncFromSyncPrototype) as object,
      new AsyncFromSync(sync.iterator, sync.next),
    );
    return { iterator, next: (asyncFromSyncPrototype as { next: unknown }).next };
  }
  if (typeof method !== "function") throw notIterable(value, text, "async iterable");
  const iterator = Reflect.apply(method, value, []) as unknown;
  if (!isObject(iterator)) throw new TypeError(`Result of the Symbol.asyncIterator method is not an object`);
  return { iterator, next: (iterator as { next: unknown }).next };
}

const notIterable = (value: unknown, text: string | undefined, what: string): TypeError =>
  new TypeError(`${text ?? (value === undefined || value === null ? String(value) : describe(value))} is not ${what}`);

/** The next result, or null at the end. */
export function iteratorStep(pair: IteratorPair): { value: unknown } | null {
  const result = callNext(pair.iterator, pair.next);
  return result.done ? null : result;
}

export function callNext(iterator: unknown, next: unknown): { value: unknown; done?: unknown } {
  if (typeof next !== "function") throw new TypeError(`${describe(next)} is not a function`);
  const result = Reflect.apply(next, iterator, []) as unknown;
  if (!isObject(result)) throw new TypeError(`Iterator result ${describe(result)} is not an object`);
  return result as { value: unknown };
}

/** `aborted`: a throw is under way, whatever return() throws is swallowed. */
export function closeIterator(pair: IteratorPair, aborted: boolean): void {
  try {
    const method = (pair.iterator as { return?: unknown }).return;
    if (method === undefined || method === null) return;
    if (typeof method !== "function") throw new TypeError(`${describe(method)} is not a function`);
    const result = Reflect.apply(method, pair.iterator, []) as unknown;
    if (!aborted && !isObject(result)) throw new TypeError(`${describe(result)} is not an object`);
  } catch (error) {
    if (!aborted || error instanceof Fault) throw error;
  }
}

export const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function";

// -- arrays

export function arrayIterator(target: object, kind: number): object {
  return stamp(Object.create(hidden.arrayIterator) as object, new ArrayCursor(target, kind));
}

/** Moves the cursor; false at the end. The element is then at `index - 1`. */
export function arrayStep(cursor: ArrayCursor): boolean {
  const { target } = cursor;
  if (target === undefined) return false;
  // A typed array's own length, whatever a property of that name says.
  const length =
    ArrayBuffer.isView(target) && typedArrayTag(target) !== undefined
      ? typedArrayLength(target)
      : toLength((target as ArrayLike<unknown>).length);
  if (cursor.index >= length) {
    cursor.target = undefined;
    return false;
  }
  cursor.index++;
  return true;
}

const toLength = (value: unknown): number => {
  if (typeof value === "number" && value >= 0 && value <= 4294967295) return value;
  const n = Math.trunc(Number(value)) || 0;
  return Math.min(Math.max(n, 0), Number.MAX_SAFE_INTEGER);
};

export const arrayNext = {
  next(this: unknown): unknown {
    const cursor = isObject(this) ? innerOf(this) : undefined;
    if (!(cursor instanceof ArrayCursor))
      throw new TypeError(`Method Array Iterator.prototype.next called on incompatible receiver ${describe(this)}`);
    const target = cursor.target as ArrayLike<unknown>;
    if (!arrayStep(cursor)) return { value: undefined, done: true };
    const index = cursor.index - 1;
    if (cursor.kind === keysOf) return { value: index, done: false };
    return { value: cursor.kind === valuesOf ? target[index] : [index, target[index]], done: false };
  },
}.next as Callable;

const toObject = (value: unknown): object => {
  if (value === undefined || value === null) throw new TypeError("Cannot convert undefined or null to object");
  return Object(value) as object;
};
const typed = (value: unknown): object => {
  if (!isObject(value) || typedArrayTag(value) === undefined) throw new TypeError("this is not a typed array.");
  return value;
};

const arrayMethods = {
  keys(this: unknown) {
    return arrayIterator(toObject(this), keysOf);
  },
  values(this: unknown) {
    return arrayIterator(toObject(this), valuesOf);
  },
  entries(this: unknown) {
    return arrayIterator(toObject(this), entriesOf);
  },
};
export const arrayValues = arrayMethods.values as Callable;
const typedMethods = {
  keys(this: unknown) {
    return arrayIterator(typed(this), keysOf);
  },
  values(this: unknown) {
    return arrayIterator(typed(this), valuesOf);
  },
  entries(this: unknown) {
    return arrayIterator(typed(this), entriesOf);
  },
};

// -- Map and Set

function tableIterator(map: boolean, kind: number) {
  return {
    m(this: unknown): object {
      const native = map ? mapEntries(this) : setValues(this); // throws on what is neither
      return stamp(
        Object.create(map ? hidden.mapIterator : hidden.setIterator) as object,
        new TableCursor(this as Map<unknown, unknown>, native, kind),
      );
    },
  }.m as Callable;
}

function tableNext(map: boolean): Callable {
  const native = map ? mapIteratorNext : setIteratorNext;
  return {
    next(this: unknown): unknown {
      const cursor = isObject(this) ? innerOf(this) : undefined;
      if (!(cursor instanceof TableCursor))
        throw new TypeError(`next method called on incompatible receiver ${describe(this)}`);
      if (cursor.target === undefined) return { value: undefined, done: true };
      const step = native(cursor.native);
      if (step.done) {
        cursor.target = undefined;
        return { value: undefined, done: true };
      }
      if (map) {
        const pair = step.value as [unknown, unknown];
        return { value: cursor.kind === entriesOf ? pair : pair[cursor.kind], done: false };
      }
      return { value: cursor.kind === entriesOf ? [step.value, step.value] : step.value, done: false };
    },
  }.next as Callable;
}

// -- strings

const stringMethods = {
  iterator(this: unknown): object {
    if (this === undefined || this === null)
      throw new TypeError("String.prototype[Symbol.iterator] called on null or undefined");
    return stamp(Object.create(hidden.stringIterator) as object, new StringCursor(String(this)));
  },
  next(this: unknown): unknown {
    const cursor = isObject(this) ? innerOf(this) : undefined;
    if (!(cursor instanceof StringCursor))
      throw new TypeError(`Method String Iterator.prototype.next called on incompatible receiver ${describe(this)}`);
    if (cursor.index >= cursor.text.length) return { value: undefined, done: true };
    const point = cursor.text.codePointAt(cursor.index) as number;
    const value = String.fromCodePoint(point);
    const lone = point >= 0xd800 && point <= 0xdfff;
    const text = lone ? cursor.text.charAt(cursor.index) : value;
    cursor.index += text.length;
    return { value: text, done: false };
  },
};

// -- a sync iterator as an async one

export const asyncFromSyncPrototype = Object.create(hidden.asyncIterator) as object;

const unwrap = define("iterate.unwrap", 1, (slots, _self, args) => {
  fulfilPromise(slots[0] as object, { value: args[0], done: slots[1] });
});
const closeAndReject = define("iterate.closeAndReject", 1, (slots, _self, args) => {
  const sync = slots[1] as object;
  closeIterator({ iterator: sync, next: undefined }, true);
  rejectPromise(slots[0] as object, args[0]);
});
const plainReject = define("iterate.reject", 1, (slots, _self, args) => rejectPromise(slots[0] as object, args[0]));

/** AsyncFromSyncIteratorContinuation: the value is awaited, and a rejection closes the iterator where one is open. */
function goOn(result: { value: unknown; done?: unknown }, promise: object, sync: object, close: boolean): object {
  const done = Boolean(result.done);
  let value: object;
  try {
    value = promiseResolve(result.value);
  } catch (error) {
    if (!(error instanceof Fault) && !done && close) closeIterator({ iterator: sync, next: undefined }, true);
    throw error;
  }
  react(value, {
    kind: "then",
    onFulfilled: builtin(unwrap, [promise, done]),
    onRejected: done || !close ? builtin(plainReject, [promise]) : builtin(closeAndReject, [promise, sync]),
    result: null,
  });
  return promise;
}

function forwarding(name: "next" | "return" | "throw") {
  return {
    m(this: unknown, value: unknown): object {
      const promise = newPromise();
      try {
        const inner = innerOf(this as object) as AsyncFromSync;
        const { iterator } = inner;
        // biome-ignore lint/complexity/noArguments: whether a value was given matters
        const args = arguments.length === 0 ? [] : [value];
        const method = name === "next" ? inner.next : (iterator as Record<string, unknown>)[name];
        if (name !== "next" && (method === undefined || method === null)) {
          if (name === "return") {
            fulfilPromise(promise, { value, done: true });
            return promise;
          }
          closeIterator({ iterator, next: undefined }, false);
          throw new TypeError("The iterator does not provide a 'throw' method");
        }
        const result = Reflect.apply(method as Callable, iterator, args) as unknown;
        if (!isObject(result)) throw new TypeError(`Iterator result ${describe(result)} is not an object`);
        return goOn(result as { value: unknown }, promise, iterator, name !== "return");
      } catch (error) {
        if (error instanceof Fault) throw error;
        addTrace(error);
        rejectPromise(promise, error);
        return promise;
      }
    },
  }.m as Callable;
}

/** Make the realm's iterators ours. Before the seal. */
export function installIterators(): void {
  // No `for..of` in here: it would run on iterators that are half replaced.
  install(hidden.arrayIterator, "next", arrayNext, 0);
  const names = ["keys", "entries", "values"] as const;
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!;
    install(Array.prototype, name, arrayMethods[name] as Callable, 0);
    install(TypedArray.prototype, name, typedMethods[name] as Callable, 0);
  }
  alias(Array.prototype, Symbol.iterator, arrayMethods.values);
  alias(TypedArray.prototype, Symbol.iterator, typedMethods.values);

  for (let i = 0; i < 2; i++) {
    const map = i === 0;
    const prototype = map ? Map.prototype : Set.prototype;
    const iterator = map ? hidden.mapIterator : hidden.setIterator;
    install(iterator, "next", tableNext(map), 0);
    install(prototype, "entries", tableIterator(map, entriesOf), 0);
    install(prototype, "values", tableIterator(map, valuesOf), 0);
    if (map) install(prototype, "keys", tableIterator(map, keysOf), 0);
  }
  alias(Map.prototype, Symbol.iterator, Map.prototype.entries);
  alias(Set.prototype, "keys", Set.prototype.values);
  alias(Set.prototype, Symbol.iterator, Set.prototype.values);

  install(hidden.stringIterator, "next", stringMethods.next as Callable, 0);
  install(String.prototype, Symbol.iterator, stringMethods.iterator as Callable, 0);

  install(asyncFromSyncPrototype, "next", forwarding("next"), 1);
  install(asyncFromSyncPrototype, "return", forwarding("return"), 1);
  install(asyncFromSyncPrototype, "throw", forwarding("throw"), 1);
}

const alias = (holder: object, key: PropertyKey, value: unknown): void => {
  Object.defineProperty(holder, key, { value, writable: true, enumerable: false, configurable: true });
};
