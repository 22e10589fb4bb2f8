// Which objects are the VM's own, and what stands behind each: a private field put on an object from outside. Nothing a
// workflow can do reads, forges or copies it; looking costs 2 ns where a WeakMap costs 7, putting it on 10 ns instead of 590.

import type { Code, Frame, Registers } from "./frame.ts";

/** What a function made from program code is. */
export class Closure {
  readonly code: Code;
  readonly cells: Registers;
  home: object | null = null;
  /** Of a class: the closure that initialises fields. */
  fields: Callable | null = null;
  constructor(code: Code, cells: Registers) {
    this.code = code;
    this.cells = cells;
  }
}

/** A function of ours whose state is only (definition, slots), so that it can be written to a snapshot. */
export class Builtin {
  readonly definition: BuiltinDefinition;
  readonly slots: unknown[];
  constructor(definition: BuiltinDefinition, slots: unknown[]) {
    this.definition = definition;
    this.slots = slots;
  }
}

export interface BuiltinDefinition {
  /** Stored in snapshots: never rename. */
  readonly id: string;
  readonly name: string;
  readonly length: number;
  readonly run: (slots: unknown[], self: unknown, args: ArrayLike<unknown>) => unknown;
}

export type Callable = (...args: unknown[]) => unknown;

/** States of a promise. */
export const pending = 0;
export const fulfilled = 1;
export const rejected = 2;

export class PromiseRecord {
  state = pending;
  value: unknown = undefined;
  reactions: Reaction[] | null = null;
  handled = false;
}

export type Reaction =
  /** A frame that awaits. */
  | { kind: "await"; frame: Frame }
  /** `then`: the handlers, and who gets the result (null: nobody). */
  | { kind: "then"; onFulfilled: unknown; onRejected: unknown; result: Capability | null }
  /** A promise resolved with this one. */
  | { kind: "forward"; promise: object };

/** The promise of a `then`, with its resolving functions where it is of a class of the user's. */
export interface Capability {
  promise: object;
  resolve: unknown;
  reject: unknown;
}

/** suspended at start, suspended at a yield, running, finished; the last two are of async generators only. */
export type GeneratorStatus = "start" | "yield" | "running" | "done" | "returning";

export class GeneratorRecord {
  frame: Frame | null;
  status: GeneratorStatus = "start";
  constructor(frame: Frame) {
    this.frame = frame;
  }
}

/** One call of next (0), return (1) or throw (2) on an async generator. */
export interface GeneratorRequest {
  mode: number;
  value: unknown;
  promise: object;
}

export class AsyncGeneratorRecord {
  frame: Frame | null;
  status: GeneratorStatus = "start";
  requests: GeneratorRequest[] = [];
  constructor(frame: Frame) {
    this.frame = frame;
  }
}

/** What an iterator gives: keys, values, or pairs. */
export const keysOf = 0;
export const valuesOf = 1;
export const entriesOf = 2;

export class ArrayCursor {
  /** undefined once at the end. */
  target: object | undefined;
  index = 0;
  readonly kind: number;
  constructor(target: object, kind: number) {
    this.target = target;
    this.kind = kind;
  }
}

/** Over a Map or Set: the native iterator knows how to follow changes, and its position can be counted. */
export class TableCursor {
  target: Map<unknown, unknown> | Set<unknown> | undefined;
  native: Iterator<unknown>;
  readonly kind: number;
  constructor(target: Map<unknown, unknown> | Set<unknown> | undefined, native: Iterator<unknown>, kind: number) {
    this.target = target;
    this.native = native;
    this.kind = kind;
  }
}

export class StringCursor {
  readonly text: string;
  index = 0;
  constructor(text: string) {
    this.text = text;
  }
}

/** A sync iterator seen as an async one. */
export class AsyncFromSync {
  readonly iterator: object;
  readonly next: unknown;
  constructor(iterator: object, next: unknown) {
    this.iterator = iterator;
    this.next = next;
  }
}

export type Inner =
  | Closure
  | Builtin
  | PromiseRecord
  | GeneratorRecord
  | AsyncGeneratorRecord
  | ArrayCursor
  | TableCursor
  | StringCursor
  | AsyncFromSync;

class Identity {
  constructor(object: object) {
    // biome-ignore lint/correctness/noConstructorReturn: returning another object is what puts the field on it
    return object;
  }
}

class Stamp extends Identity {
  #inner: Inner;
  constructor(object: object, inner: Inner) {
    super(object);
    this.#inner = inner;
  }
  static inner(object: object): Inner | undefined {
    return #inner in object ? object.#inner : undefined;
  }
}

/** Put the record behind an object. */
export function stamp<T extends object>(object: T, inner: Inner): T {
  new Stamp(object, inner);
  return object;
}

/** The record behind an object of ours. */
export const innerOf: (object: object) => Inner | undefined = Stamp.inner;

export function closureOf(value: unknown): Closure | undefined {
  if (typeof value !== "function") return undefined;
  const inner = innerOf(value);
  return inner instanceof Closure ? inner : undefined;
}

export function promiseOf(value: unknown): PromiseRecord | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const inner = innerOf(value);
  return inner instanceof PromiseRecord ? inner : undefined;
}
