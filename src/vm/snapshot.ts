// biome-ignore-all lint/correctness/noVoidTypeReturn: `return this.byte(...)` ends a case where it is decided.
// A state as bytes, and back. Breadth first from the roots, so neither depth nor cycles matter; every object is told at
// its first mention (what is needed to make it) and again in its turn (what is in it). Encoding runs no workflow code:
// descriptors only, built-ins as they were before anything else. What cannot be written is refused by name.

import { WaymarkError } from "../base/failure.ts";
import { reparented } from "../program/value.ts";
import { builtin, definitionOf } from "./builtin.ts";
import { damaged, Reader, Writer } from "./bytes.ts";
import { closure } from "./closure.ts";
import { Cell, Frame, hole, type Loaded, registers } from "./frame.ts";
import { isObject } from "./iterate.ts";
import { limits } from "./limits.ts";
import { liveAfter } from "./live.ts";
import { Enumerator } from "./loop.ts";
import { argumentsObject } from "./object.ts";
import {
  dateValue,
  mapGet as get,
  hidden,
  mapEntries,
  mapIteratorNext,
  mapSet,
  mapSize,
  regexpGlobal,
  regexpSource,
  setAdd,
  setIteratorNext,
  setSize,
  setValues,
  TypedArray,
  typedArrayLength,
  typedArrayTag,
} from "./primordial.ts";
import { type Member, makeMembers, membersOf, PrivateName } from "./private.ts";
import { newPromise } from "./promise.ts";
import { dataOf, isShared } from "./resident.ts";
import { intrinsicName, intrinsicNames } from "./seal.ts";
import {
  ArrayCursor,
  AsyncFromSync,
  AsyncGeneratorRecord,
  Builtin,
  type Callable,
  Closure,
  GeneratorRecord,
  type GeneratorStatus,
  innerOf,
  PromiseRecord,
  promiseOf,
  type Reaction,
  StringCursor,
  stamp,
  TableCursor,
} from "./stamp.ts";
import { type PendingEffect, State } from "./state.ts";
import { urlKind } from "./url.ts";

/** First byte of a snapshot. */
export const snapshotFormat = 1;

// Tags of slots. Stored: never renumber.
const tag = {
  undefined: 0,
  null: 1,
  true: 2,
  false: 3,
  int: 4, // zigzag
  double: 5,
  bigint: 6,
  string: 7,
  hole: 8,
  reference: 9, // number of an object told before
  intrinsic: 10, // name
  data: 11, // captured data: index, ordinal
  symbol: 12, // unique: description or none
  wellKnown: 13,
  registered: 14,
  // made now, filled later
  plain: 20, // shape
  object: 21,
  array: 22, // length
  date: 23,
  regexp: 24,
  map: 25,
  set: 26,
  error: 27,
  buffer: 28, // bytes, maximum
  view: 29, // kind, buffer, offset, length
  closure: 30, // function
  builtin: 31, // id
  promise: 32,
  generator: 33,
  asyncGenerator: 34,
  arrayCursor: 35,
  tableCursor: 36, // map or set
  stringCursor: 37,
  asyncFromSync: 38,
  arguments: 39, // length
  boxed: 40, // the primitive
  cell: 41,
  privateName: 42,
  enumerator: 43,
  frame: 44, // function
  url: 45,
} as const;

const statuses: readonly GeneratorStatus[] = ["start", "yield", "running", "done", "returning"];
const viewKinds = [
  "Int8Array",
  "Uint8Array",
  "Uint8ClampedArray",
  "Int16Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float32Array",
  "Float64Array",
  "BigInt64Array",
  "BigUint64Array",
  "DataView",
] as const;
type ViewMaker = new (buffer: ArrayBuffer, offset: number, length: number) => object;
const viewMakers: readonly ViewMaker[] = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
] as never;
const wellKnown: readonly string[] = [
  "asyncIterator",
  "hasInstance",
  "isConcatSpreadable",
  "iterator",
  "match",
  "matchAll",
  "replace",
  "search",
  "species",
  "split",
  "toPrimitive",
  "toStringTag",
  "unscopables",
  "dispose",
  "asyncDispose",
];
const NativeDate = Date;
const taken = <F>(f: unknown): F => Function.prototype.call.bind(f as Callable) as F;
const getter = (prototype: object, key: string): unknown => Object.getOwnPropertyDescriptor(prototype, key)?.get;
const viewBuffer = taken<(v: unknown) => ArrayBuffer>(getter(TypedArray.prototype, "buffer"));
const viewOffset = taken<(v: unknown) => number>(getter(TypedArray.prototype, "byteOffset"));
const dataViewBuffer = taken<(v: unknown) => ArrayBuffer>(getter(DataView.prototype, "buffer"));
const dataViewOffset = taken<(v: unknown) => number>(getter(DataView.prototype, "byteOffset"));
const dataViewLength = taken<(v: unknown) => number>(getter(DataView.prototype, "byteLength"));
const bufferLength = taken<(v: unknown) => number>(getter(ArrayBuffer.prototype, "byteLength"));
const bufferMaximum = taken<(v: unknown) => number>(
  getter(ArrayBuffer.prototype, "maxByteLength") ?? getter(ArrayBuffer.prototype, "byteLength"),
);
const bufferResizable = taken<(v: unknown) => boolean>(getter(ArrayBuffer.prototype, "resizable") ?? (() => false));
const weakMapHas = taken<(v: unknown, key: object) => boolean>(WeakMap.prototype.has);
const weakSetHas = taken<(v: unknown, key: object) => boolean>(WeakSet.prototype.has);
const boxes = [
  taken<(v: unknown) => unknown>(Number.prototype.valueOf),
  taken<(v: unknown) => unknown>(String.prototype.valueOf),
  taken<(v: unknown) => unknown>(Boolean.prototype.valueOf),
  taken<(v: unknown) => unknown>(Symbol.prototype.valueOf),
  taken<(v: unknown) => unknown>(BigInt.prototype.valueOf),
];

const holds = (brand: (value: object) => unknown, value: object): boolean => {
  try {
    brand(value);
    return true;
  } catch {
    return false;
  }
};

// -- what an object is

/** The prototype an object of a tag has when it is made: only another one is written. */
function usualPrototype(kind: number, inner: unknown): object | null {
  switch (kind) {
    case tag.array:
      return Array.prototype;
    case tag.date:
      return NativeDate.prototype;
    case tag.regexp:
      return RegExp.prototype;
    case tag.map:
      return Map.prototype;
    case tag.set:
      return Set.prototype;
    case tag.error:
      return Error.prototype;
    case tag.promise:
      return Promise.prototype;
    case tag.arrayCursor:
      return hidden.arrayIterator;
    case tag.stringCursor:
      return hidden.stringIterator;
    case tag.url:
      return urlKind.prototype;
    case tag.closure: {
      const { kind: how } = (inner as Closure).code;
      return [hidden.functionPrototype, hidden.asyncFunction, hidden.generatorFunction, hidden.asyncGeneratorFunction][
        how
      ]!;
    }
    case tag.builtin:
      return hidden.functionPrototype;
    default:
      return Object.prototype;
  }
}

function kindOf(object: object): number {
  const inner = innerOf(object);
  if (inner !== undefined) {
    if (inner instanceof Closure) return tag.closure;
    if (inner instanceof Builtin) return tag.builtin;
    if (inner instanceof PromiseRecord) return tag.promise;
    if (inner instanceof GeneratorRecord) return tag.generator;
    if (inner instanceof AsyncGeneratorRecord) return tag.asyncGenerator;
    if (inner instanceof ArrayCursor) return tag.arrayCursor;
    if (inner instanceof TableCursor) return tag.tableCursor;
    if (inner instanceof StringCursor) return tag.stringCursor;
    return tag.asyncFromSync;
  }
  if (object instanceof Cell) return tag.cell;
  if (object instanceof Frame) return tag.frame;
  if (object instanceof PrivateName) return tag.privateName;
  if (object instanceof Enumerator) return tag.enumerator;
  if (typeof object === "function") throw refused("a built-in function without a name");
  if (Array.isArray(object)) return tag.array;
  const above = Object.getPrototypeOf(object) as object | null;
  if (above === null || above === Object.prototype) {
    if (!reparented.any || !reparented.has(object)) {
      const callee = above === null ? undefined : Object.getOwnPropertyDescriptor(object, "callee");
      return callee?.get !== undefined && callee.get === callee.set && intrinsicName(callee.get) === "%ThrowTypeError%"
        ? tag.arguments
        : tag.object;
    }
  }
  if (ArrayBuffer.isView(object)) return tag.view;
  if (urlKind.is(object)) return tag.url;
  // A brand check that fails costs a throw: only where the chain, or a changed prototype, makes it likely.
  const moved = reparented.any && reparented.has(object);
  for (
    let o: object | null = above;
    o !== null || moved;
    o = o === null ? null : (Object.getPrototypeOf(o) as object | null)
  ) {
    if ((moved || o === Map.prototype) && holds(mapSize, object)) return tag.map;
    if ((moved || o === Set.prototype) && holds(setSize, object)) return tag.set;
    if ((moved || o === NativeDate.prototype) && holds(dateValue, object)) return tag.date;
    if ((moved || o === RegExp.prototype) && object !== RegExp.prototype && holds(regexpGlobal, object))
      return tag.regexp;
    if ((moved || o === ArrayBuffer.prototype) && holds(bufferLength, object)) return tag.buffer;
    if ((moved || o === WeakMap.prototype) && holds((v) => weakMapHas(v, v), object))
      throw refused("a WeakMap", "Use a Map, or make the WeakMap after the await.");
    if ((moved || o === WeakSet.prototype) && holds((v) => weakSetHas(v, v), object))
      throw refused("a WeakSet", "Use a Set, or make the WeakSet after the await.");
    if (o === Error.prototype) return tag.error;
    if (
      moved ||
      o === Number.prototype ||
      o === String.prototype ||
      o === Boolean.prototype ||
      o === Symbol.prototype ||
      o === BigInt.prototype
    ) {
      for (let i = 0; i < boxes.length; i++) if (holds(boxes[i]!, object)) return tag.boxed;
    }
    if (o === hidden.regexpStringIterator)
      throw refused("the iterator of matchAll()", "Make it an array: [...text.matchAll(pattern)].");
    if (o !== null) {
      const name = intrinsicName(o);
      if (name === "%IteratorHelperPrototype%" || name === "%WrapForValidIteratorPrototype%")
        throw refused("an iterator helper", "Make it an array first: iterator.toArray().");
    }
    if (o === null) break;
  }
  return tag.object;
}

const refused = (what: string, hint = "Do not keep it across an await."): WaymarkError =>
  new WaymarkError("WM450", `The workflow waits while it holds ${what}, which cannot be stored.`, { hint });

// -- encoding

class Encoder {
  readonly out = new Writer();
  readonly numbers = new Map<unknown, number>();
  readonly queue: object[] = [];
  readonly kinds: number[] = [];
  readonly shapes = new Map<unknown, { number: number; keys: string[] }[]>();
  shapeCount = 0;
  readonly data: Map<object, [number, number]>;
  readonly loaded: Loaded;
  constructor(loaded: Loaded) {
    this.loaded = loaded;
    this.data = dataTable(loaded);
  }

  slot(value: unknown): void {
    const { out } = this;
    switch (typeof value) {
      case "undefined":
        return out.byte(tag.undefined);
      case "boolean":
        return out.byte(value ? tag.true : tag.false);
      case "number":
        if (Number.isInteger(value) && Math.abs(value) < 2 ** 51 && !Object.is(value, -0)) {
          out.byte(tag.int);
          return out.int(value < 0 ? -value * 2 - 1 : value * 2);
        }
        out.byte(tag.double);
        return out.double(value);
      case "bigint":
        out.byte(tag.bigint);
        return out.text(value.toString(36));
      case "string":
        out.byte(tag.string);
        return out.text(value);
      case "symbol":
        return this.symbol(value);
      default:
        if (value === null) return out.byte(tag.null);
        if (value === hole) return out.byte(tag.hole);
        return this.object(value as object);
    }
  }

  symbol(value: symbol): void {
    const { out } = this;
    const known = get(this.numbers, value);
    if (known !== undefined) {
      out.byte(tag.reference);
      return out.int(known);
    }
    for (let i = 0; i < wellKnown.length; i++) {
      if ((Symbol as unknown as Record<string, unknown>)[wellKnown[i]!] !== value) continue;
      out.byte(tag.wellKnown);
      return out.int(i);
    }
    const key = Symbol.keyFor(value);
    if (key !== undefined) {
      out.byte(tag.registered);
      return out.text(key);
    }
    this.number(value, null, tag.symbol);
    out.byte(tag.symbol);
    out.byte(value.description === undefined ? 0 : 1);
    if (value.description !== undefined) out.text(value.description);
  }

  /** Every number has a place in the queue; a symbol's has nothing to fill. */
  number(value: unknown, object: object | null, kind: number): void {
    mapSet(this.numbers, value, this.queue.length);
    this.kinds[this.queue.length] = kind;
    this.queue[this.queue.length] = object as object;
  }

  object(object: object): void {
    const { out } = this;
    const known = get(this.numbers, object);
    if (known !== undefined) {
      out.byte(tag.reference);
      return out.int(known);
    }
    const name = intrinsicName(object);
    if (name !== undefined) {
      out.byte(tag.intrinsic);
      return out.text(name);
    }
    const held = get(this.data as Map<unknown, [number, number]>, object);
    if (held !== undefined) {
      out.byte(tag.data);
      out.int(held[0]);
      return out.int(held[1]);
    }
    let kind = kindOf(object);
    if (kind === tag.object && isPlain(object)) kind = tag.plain;
    if (kind === tag.view) {
      // Its buffer has to be there first.
      out.byte(kind);
      const isData = typedArrayTag(object) === undefined;
      out.byte(isData ? 11 : viewKinds.indexOf(typedArrayTag(object) as "DataView"));
      this.slot(isData ? dataViewBuffer(object) : viewBuffer(object));
      out.int(isData ? dataViewOffset(object) : viewOffset(object));
      out.int(isData ? dataViewLength(object) : typedArrayLength(object));
      return this.number(object, object, kind);
    }
    this.number(object, object, kind);
    out.byte(kind);
    this.creation(object, kind);
  }

  creation(object: object, kind: number): void {
    const { out } = this;
    switch (kind) {
      case tag.plain:
        return this.shape(Object.keys(object));
      case tag.array:
        return out.int((object as unknown[]).length);
      case tag.date:
        return out.double(dateValue(object));
      case tag.regexp:
        out.text(regexpSource(object));
        return out.text(flagsOf(object));
      case tag.buffer: {
        const size = bufferLength(object);
        const copy = new Uint8Array(size);
        copy.set(new Uint8Array(object as ArrayBuffer));
        out.blob(copy);
        return out.int(bufferResizable(object) ? bufferMaximum(object) + 1 : 0);
      }
      case tag.closure:
        return out.int((innerOf(object) as Closure).code.index);
      case tag.builtin:
        return out.text((innerOf(object) as Builtin).definition.id);
      case tag.tableCursor:
        return out.byte((innerOf(object) as TableCursor).kind);
      case tag.arrayCursor:
        return out.byte((innerOf(object) as ArrayCursor).kind);
      case tag.stringCursor:
        return out.text((innerOf(object) as StringCursor).text);
      case tag.arguments:
        return out.int(usualLength(object) + 1);
      case tag.boxed:
        for (let i = 0; i < boxes.length; i++) {
          if (!holds(boxes[i]!, object)) continue;
          return this.slot(boxes[i]!(object));
        }
        return;
      case tag.privateName:
        return out.text((object as PrivateName).text);
      case tag.frame:
        return out.int((object as Frame).code.index);
      case tag.url:
        return out.text(urlKind.href(object));
    }
  }

  shape(keys: string[]): void {
    const { out } = this;
    // Shapes by their first key: few share it, and comparing keys is cheaper than making one text of them.
    const first = keys[0] ?? "";
    const candidates = get(this.shapes, first) ?? [];
    for (let i = 0; i < candidates.length; i++)
      if (sameKeys(candidates[i]!.keys, keys)) return out.int(candidates[i]!.number + 1);
    candidates[candidates.length] = { number: this.shapeCount++, keys };
    mapSet(this.shapes, first, candidates);
    out.int(0);
    out.int(keys.length);
    for (let i = 0; i < keys.length; i++) out.text(keys[i]!);
  }

  fill(): void {
    for (let i = 0; i < this.queue.length; i++) {
      if (this.kinds[i] !== tag.symbol) this.contents(this.queue[i]!, this.kinds[i]!);
      if (this.out.length > limits.snapshotBytes)
        throw new WaymarkError("WM448", `The state of the instance is larger than ${limits.snapshotBytes} bytes.`, {
          hint: "Keep large values in your own store and pass their keys.",
        });
    }
  }

  contents(object: object, kind: number): void {
    const { out } = this;
    const inner = innerOf(object);
    switch (kind) {
      case tag.plain: {
        const keys = Object.keys(object);
        for (let i = 0; i < keys.length; i++) this.slot((object as Record<string, unknown>)[keys[i]!]);
        return;
      }
      case tag.cell:
        return this.slot((object as Cell).value);
      case tag.privateName:
        return;
      case tag.enumerator: {
        const { target, keys, index } = object as Enumerator;
        this.slot(target);
        this.slot(keys);
        return out.int(index);
      }
      case tag.frame:
        return this.frame(object as Frame);
      case tag.map: {
        out.int(mapSize(object));
        const entries = mapEntries(object);
        for (let step = mapIteratorNext(entries); !step.done; step = mapIteratorNext(entries)) {
          const pair = step.value as [unknown, unknown];
          this.slot(pair[0]);
          this.slot(pair[1]);
        }
        break;
      }
      case tag.set: {
        out.int(setSize(object));
        const values = setValues(object);
        for (let step = setIteratorNext(values); !step.done; step = setIteratorNext(values)) this.slot(step.value);
        break;
      }
      case tag.closure: {
        const { cells, home, fields } = inner as Closure;
        out.int(cells.length);
        for (let i = 0; i < cells.length; i++) this.slot(cells[i]);
        this.slot(home);
        this.slot(fields);
        break;
      }
      case tag.builtin: {
        const { slots } = inner as Builtin;
        out.int(slots.length);
        for (let i = 0; i < slots.length; i++) this.slot(slots[i]);
        break;
      }
      case tag.promise:
        this.promise(inner as PromiseRecord);
        break;
      case tag.generator:
      case tag.asyncGenerator: {
        const record = inner as GeneratorRecord | AsyncGeneratorRecord;
        out.byte(statuses.indexOf(record.status));
        this.slot(record.frame);
        if (record instanceof AsyncGeneratorRecord) {
          out.int(record.requests.length);
          for (let i = 0; i < record.requests.length; i++) {
            const request = record.requests[i]!;
            out.byte(request.mode);
            this.slot(request.value);
            this.slot(request.promise);
          }
        }
        break;
      }
      case tag.arrayCursor:
        this.slot((inner as ArrayCursor).target);
        out.int((inner as ArrayCursor).index);
        break;
      case tag.tableCursor:
        this.slot((inner as TableCursor).target);
        if ((inner as TableCursor).target !== undefined) out.int(position(inner as TableCursor));
        break;
      case tag.stringCursor:
        out.int((inner as StringCursor).index);
        break;
      case tag.asyncFromSync:
        this.slot((inner as AsyncFromSync).iterator);
        this.slot((inner as AsyncFromSync).next);
        break;
    }
    this.extras(object, kind, inner);
  }

  /** Prototype, properties, extensibility and private members, of any object. */
  extras(object: object, kind: number, inner: unknown): void {
    const { out } = this;
    const above = Object.getPrototypeOf(object) as object | null;
    const moved = above !== usualPrototype(kind, inner);
    const fixed = !Object.isExtensible(object);
    const members = membersOf(object);
    const keys = this.ownKeys(object, kind, inner);
    out.byte((moved ? 1 : 0) | (fixed ? 2 : 0) | (members !== undefined ? 4 : 0) | (keys.length > 0 ? 8 : 0));
    if (moved) this.slot(above);
    if (keys.length > 0) {
      out.int(keys.length);
      for (let i = 0; i < keys.length; i++) this.property(object, keys[i]!);
    }
    if (members !== undefined) {
      out.int(mapSize(members));
      const entries = mapEntries(members);
      for (let step = mapIteratorNext(entries); !step.done; step = mapIteratorNext(entries)) {
        const [name, member] = step.value as [PrivateName, Member];
        this.slot(name);
        out.byte(member.kind === "field" ? 0 : member.kind === "method" ? 1 : 2);
        if (member.kind !== "accessor") this.slot(member.value);
        else {
          this.slot(member.get);
          this.slot(member.set);
        }
      }
    }
  }

  /** Own keys to write: without those the object has by being made. */
  ownKeys(object: object, kind: number, inner: unknown): PropertyKey[] {
    const all = Reflect.ownKeys(object);
    const keys: PropertyKey[] = [];
    for (let i = 0; i < all.length; i++) {
      const key = all[i]!;
      if (kind === tag.view && typeof key === "string" && /^\d+$/.test(key)) continue;
      if (
        kind === tag.boxed &&
        typeof key === "string" &&
        (key === "length" || /^\d+$/.test(key)) &&
        holds(boxes[1]!, object)
      )
        continue;
      const found = Object.getOwnPropertyDescriptor(object, key)!;
      if (kind === tag.arguments) {
        if (key === "callee" || (key === "length" && usualLength(object) >= 0)) continue;
        if (key === Symbol.iterator && found.value === Array.prototype.values && found.writable && !found.enumerable)
          continue;
      }
      if (kind === tag.array && key === "length" && found.writable) continue;
      if (kind === tag.regexp && key === "lastIndex" && found.writable && found.value === 0) continue;
      if (
        (kind === tag.closure || kind === tag.builtin) &&
        !found.writable &&
        found.configurable &&
        !found.enumerable
      ) {
        const made = kind === tag.closure ? (inner as Closure).code : (inner as Builtin).definition;
        if (key === "name" && found.value === made.name) continue;
        if (key === "length" && found.value === made.length) continue;
      }
      keys[keys.length] = key;
    }
    return keys;
  }

  property(object: object, key: PropertyKey): void {
    const found = Object.getOwnPropertyDescriptor(object, key)!;
    this.slot(key);
    const accessor = !("value" in found);
    this.out.byte(
      (found.writable ? 1 : 0) | (found.enumerable ? 2 : 0) | (found.configurable ? 4 : 0) | (accessor ? 8 : 0),
    );
    if (accessor) {
      this.slot(found.get);
      this.slot(found.set);
    } else this.slot(found.value);
  }

  promise(record: PromiseRecord): void {
    const { out } = this;
    out.byte(record.state | (record.handled ? 4 : 0));
    if (record.state !== 0) return this.slot(record.value);
    const reactions = record.reactions ?? [];
    out.int(reactions.length);
    for (let i = 0; i < reactions.length; i++) {
      const reaction = reactions[i]!;
      switch (reaction.kind) {
        case "await":
          out.byte(0);
          this.slot(reaction.frame);
          break;
        case "forward":
          out.byte(1);
          this.slot(reaction.promise);
          break;
        case "then":
          out.byte(2);
          this.slot(reaction.onFulfilled);
          this.slot(reaction.onRejected);
          this.slot(reaction.result);
      }
    }
  }

  frame(frame: Frame): void {
    const { out } = this;
    out.int(frame.pc);
    this.slot(frame.callee);
    this.slot(frame.self);
    this.slot(frame.newTarget);
    this.slot(frame.promise);
    out.byte(frame.args === null ? 0 : 1);
    if (frame.args !== null) {
      out.int(frame.args.length);
      for (let i = 0; i < frame.args.length; i++) this.slot(frame.args[i]);
    }
    const live = liveAfter(frame.code, frame.pc);
    let held = 0;
    for (let i = 0; i < live.length; i++) if (frame.regs[live[i]!] !== undefined) held++;
    out.int(held);
    for (let i = 0; i < live.length; i++) {
      const value = frame.regs[live[i]!];
      if (value === undefined) continue;
      out.int(live[i]!);
      this.slot(value);
    }
  }
}

function sameKeys(a: string[], b: string[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** An arguments object's length, or -1 if it is no longer as it was made. */
function usualLength(object: object): number {
  const found = Object.getOwnPropertyDescriptor(object, "length");
  const usual = found?.writable && found.configurable && !found.enumerable && typeof found.value === "number";
  return usual && Number.isInteger(found.value) && (found.value as number) >= 0 ? (found.value as number) : -1;
}

/** Like the engine's own getter, but never asks a property of the workflow's. */
function flagsOf(regexp: object): string {
  let flags = "";
  for (const [letter, name] of flagNames) if (flagGetters[name]!(regexp)) flags += letter;
  return flags;
}
const flagNames = [
  ["d", "hasIndices"],
  ["g", "global"],
  ["i", "ignoreCase"],
  ["m", "multiline"],
  ["s", "dotAll"],
  ["u", "unicode"],
  ["v", "unicodeSets"],
  ["y", "sticky"],
] as const;
const flagGetters: Record<string, (regexp: object) => boolean> = {};
for (let i = 0; i < flagNames.length; i++)
  flagGetters[flagNames[i]![1]] = taken(getter(RegExp.prototype, flagNames[i]![1]) ?? (() => false));

/** Only enumerable, writable data under string keys, on Object.prototype. */
function isPlain(object: object): boolean {
  if (
    Object.getPrototypeOf(object) !== Object.prototype ||
    !Object.isExtensible(object) ||
    membersOf(object) !== undefined
  )
    return false;
  const keys = Reflect.ownKeys(object);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    if (typeof key !== "string" || key === "__proto__") return false;
    const found = Object.getOwnPropertyDescriptor(object, key)!;
    if (!found.writable || !found.enumerable || !found.configurable) return false;
  }
  return true;
}

/** A native cursor tells its position only by what is left: drain it, count, and make a new one at the same place. */
function position(cursor: TableCursor): number {
  const map = holds(mapSize, cursor.target as object);
  const next = map ? mapIteratorNext : setIteratorNext;
  let left = 0;
  while (!next(cursor.native).done) left++;
  const at = (map ? mapSize(cursor.target) : setSize(cursor.target)) - left;
  cursor.native = cursorAt(cursor.target as object, map, at);
  return at;
}

function cursorAt(target: object, map: boolean, at: number): Iterator<unknown> {
  const native = (map ? mapEntries(target) : setValues(target)) as Iterator<unknown>;
  for (let i = 0; i < at; i++) (map ? mapIteratorNext : setIteratorNext)(native);
  return native;
}

/** Objects of the captured data by (data index, ordinal of a breadth-first walk). */
const dataTables = new WeakMap<Loaded, { objects: object[][]; places: Map<object, [number, number]> }>();

function dataWalk(loaded: Loaded): { objects: object[][]; places: Map<object, [number, number]> } {
  const known = dataTables.get(loaded);
  if (known !== undefined) return known;
  const table = { objects: [] as object[][], places: new Map<object, [number, number]>() };
  for (let index = 0; index < loaded.program.data.length; index++) {
    const list: object[] = [];
    const visit = (value: unknown): void => {
      if (!isObject(value) || intrinsicName(value) !== undefined || get(table.places, value) !== undefined) return;
      mapSet(table.places, value, [index, list.length]);
      list[list.length] = value;
    };
    if (isShared(loaded, index)) visit(dataOf(loaded, index));
    for (let i = 0; i < list.length; i++) {
      const object = list[i]!;
      if (holds(mapSize, object)) {
        const entries = mapEntries(object);
        for (let step = mapIteratorNext(entries); !step.done; step = mapIteratorNext(entries)) {
          visit((step.value as unknown[])[0]);
          visit((step.value as unknown[])[1]);
        }
      } else if (holds(setSize, object)) {
        const values = setValues(object);
        for (let step = setIteratorNext(values); !step.done; step = setIteratorNext(values)) visit(step.value);
      }
      if (ArrayBuffer.isView(object))
        visit(typedArrayTag(object) === undefined ? dataViewBuffer(object) : viewBuffer(object));
      else {
        const keys = Reflect.ownKeys(object);
        for (let k = 0; k < keys.length; k++) visit(Object.getOwnPropertyDescriptor(object, keys[k]!)?.value);
      }
    }
    table.objects[index] = list;
  }
  dataTables.set(loaded, table);
  return table;
}
const dataTable = (loaded: Loaded): Map<object, [number, number]> => dataWalk(loaded).places;

export function encodeState(state: State): Uint8Array {
  if (state.ended || !state.started)
    throw new WaymarkError("WM449", "Only an instance that is waiting has a snapshot.");
  const encoder = new Encoder(state.loaded);
  const { out } = encoder;
  out.byte(snapshotFormat);
  out.byte(state.cancelling ? 1 : 0);
  out.double(state.now);
  for (let i = 0; i < 4; i++) out.int(state.seed[i]!);
  for (let i = 0; i < 16; i++) out.byte(state.seedBytes[i]!);
  out.int(state.nextEffect);
  encoder.slot(state.main);
  encoder.slot(state.cancelError);
  out.int(state.effects.size);
  const effects = [...state.effects.values()];
  for (let i = 0; i < effects.length; i++) writeEffect(encoder, effects[i]!);
  sparse(encoder, state.statics);
  sparse(encoder, state.references);
  const sites = [...state.templates.entries()];
  out.int(sites.length);
  for (let i = 0; i < sites.length; i++) {
    out.text(sites[i]![0]);
    encoder.slot(sites[i]![1]);
  }
  encoder.fill();
  return out.done();
}

function sparse(encoder: Encoder, list: unknown[]): void {
  let count = 0;
  for (let i = 0; i < list.length; i++) if (list[i] !== undefined) count++;
  encoder.out.int(count);
  for (let i = 0; i < list.length; i++) {
    if (list[i] === undefined) continue;
    encoder.out.int(i);
    encoder.slot(list[i]);
  }
}

const effectKinds = ["action", "timer", "child"] as const;

function writeEffect(encoder: Encoder, effect: PendingEffect): void {
  const { out } = encoder;
  out.int(effect.no);
  out.byte(effectKinds.indexOf(effect.kind) | (effect.wait ? 4 : 0));
  out.text(effect.name);
  out.int(effect.function);
  out.int(effect.pc);
  out.blob(effect.args);
  out.optional(effect.policy);
  out.optional(effect.options);
  out.int(effect.attempt);
  encoder.slot(effect.dueAt);
  out.double(effect.firstAt);
  out.optional(effect.details);
  encoder.slot(effect.promise);
}

// -- decoding

let byName: Map<string, object> | null = null;

function intrinsicNamed(name: string): object {
  if (byName === null) {
    byName = new Map();
    for (const [object, path] of intrinsicNames()) byName.set(path, object);
  }
  const found = byName.get(name);
  if (found === undefined)
    throw new WaymarkError(
      "WM452",
      `The snapshot needs the built-in ${name}, which this version of Node does not have.`,
    );
  return found;
}

class Decoder {
  readonly input: Reader;
  readonly loaded: Loaded;
  readonly objects: unknown[] = [];
  readonly kinds: number[] = [];
  readonly shapes: string[][] = [];
  readonly shapeOf: number[] = [];
  readonly later: (() => void)[] = [];
  constructor(loaded: Loaded, bytes: Uint8Array) {
    this.loaded = loaded;
    this.input = new Reader(bytes);
  }

  made<T>(kind: number, value: T): T {
    this.kinds[this.objects.length] = kind;
    this.objects[this.objects.length] = value;
    return value;
  }

  slot(): unknown {
    const { input } = this;
    const kind = input.byte();
    switch (kind) {
      case tag.undefined:
        return undefined;
      case tag.null:
        return null;
      case tag.true:
        return true;
      case tag.false:
        return false;
      case tag.int: {
        const value = input.int();
        return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
      }
      case tag.double:
        return input.double();
      case tag.bigint:
        return bigintOf(input.text());
      case tag.string:
        return input.text();
      case tag.hole:
        return hole;
      case tag.reference: {
        const index = input.int();
        if (index >= this.objects.length) throw damaged("it refers to an object that it has not told");
        return this.objects[index];
      }
      case tag.intrinsic:
        return intrinsicNamed(input.text());
      case tag.data: {
        const index = input.int();
        const found = dataWalk(this.loaded).objects[index]?.[input.int()];
        if (found === undefined) throw damaged("it refers to captured data that the program does not have");
        return found;
      }
      case tag.wellKnown: {
        const found = (Symbol as unknown as Record<string, symbol | undefined>)[wellKnown[input.int()] ?? ""];
        if (found === undefined) throw damaged("it names a symbol that this version of Node does not have");
        return found;
      }
      case tag.registered:
        return Symbol.for(input.text());
      case tag.symbol:
        return this.made(kind, input.byte() === 0 ? Symbol() : Symbol(input.text()));
      case tag.view: {
        const which = input.byte();
        const buffer = this.slot() as ArrayBuffer;
        const offset = input.int();
        const length = input.int();
        const Maker = viewMakers[which];
        if (Maker === undefined) throw damaged("it has a kind of array that is not known");
        return this.made(kind, new Maker(buffer, offset, length));
      }
      case tag.boxed: {
        // Numbered before its primitive is read: a symbol in it has a number of its own.
        const index = this.objects.length;
        this.made(kind, null);
        this.objects[index] = Object(this.slot());
        return this.objects[index];
      }
      default:
        return this.create(kind);
    }
  }

  create(kind: number): unknown {
    const { input } = this;
    switch (kind) {
      case tag.plain: {
        const known = input.int();
        let shape = known - 1;
        if (known === 0) {
          const count = input.count();
          const keys: string[] = [];
          for (let i = 0; i < count; i++) keys[i] = input.text();
          shape = this.shapes.length;
          this.shapes[shape] = keys;
        }
        if (this.shapes[shape] === undefined) throw damaged("it names a shape that it has not told");
        this.shapeOf[this.objects.length] = shape;
        return this.made(kind, {});
      }
      case tag.object:
        return this.made(kind, {});
      case tag.array: {
        const made: unknown[] = [];
        made.length = input.int();
        return this.made(kind, made);
      }
      case tag.date:
        return this.made(kind, new NativeDate(input.double()));
      case tag.regexp: {
        const source = input.text();
        return this.made(kind, new RegExp(source, input.text()));
      }
      case tag.map:
        return this.made(kind, new Map());
      case tag.set:
        return this.made(kind, new Set());
      case tag.error: {
        const made = new Error();
        Reflect.deleteProperty(made, "stack");
        return this.made(kind, made);
      }
      case tag.buffer: {
        const bytes = input.blob();
        const maximum = input.int();
        const Maker = ArrayBuffer as unknown as new (
          length: number,
          options?: { maxByteLength: number },
        ) => ArrayBuffer;
        const made = maximum === 0 ? new Maker(bytes.length) : new Maker(bytes.length, { maxByteLength: maximum - 1 });
        new Uint8Array(made).set(bytes);
        return this.made(kind, made);
      }
      case tag.closure: {
        const code = this.loaded.codes[input.int()];
        if (code === undefined) throw damaged("it has a function that the program does not");
        return this.made(kind, closure(code, registers(code.captures.length)));
      }
      case tag.builtin: {
        const definition = definitionOf(input.text());
        if (definition === undefined) throw damaged("it has a built-in that is not known");
        return this.made(kind, builtin(definition, []));
      }
      case tag.promise:
        return this.made(kind, newPromise());
      case tag.generator:
        return this.made(kind, stamp({}, new GeneratorRecord(null as never)));
      case tag.asyncGenerator:
        return this.made(kind, stamp({}, new AsyncGeneratorRecord(null as never)));
      case tag.arrayCursor:
        return this.made(kind, stamp(Object.create(hidden.arrayIterator) as object, new ArrayCursor({}, input.byte())));
      case tag.tableCursor:
        return this.made(kind, stamp({}, new TableCursor(undefined, undefined as never, input.byte())));
      case tag.stringCursor:
        return this.made(kind, stamp(Object.create(hidden.stringIterator) as object, new StringCursor(input.text())));
      case tag.asyncFromSync:
        return this.made(kind, stamp({}, new AsyncFromSync({}, undefined)));
      case tag.arguments: {
        const length = Math.max(0, input.int() - 1);
        if (length > input.bytes.length) throw damaged("a count is too large");
        const made = argumentsObject(new Array<unknown>(length));
        for (let i = 0; i < length; i++) Reflect.deleteProperty(made, String(i));
        return this.made(kind, made);
      }
      case tag.cell:
        return this.made(kind, new Cell(undefined));
      case tag.privateName:
        return this.made(kind, new PrivateName(input.text()));
      case tag.enumerator:
        return this.made(kind, new Enumerator({}, []));
      case tag.frame: {
        const code = this.loaded.codes[input.int()];
        if (code === undefined) throw damaged("it has a function that the program does not");
        return this.made(kind, new Frame(code, undefined as never, undefined as never));
      }
      case tag.url:
        return this.made(kind, urlKind.make(input.text()));
      default:
        throw damaged(`it has an unknown tag ${kind}`);
    }
  }

  fill(): void {
    for (let i = 0; i < this.objects.length; i++) {
      if (this.kinds[i] !== tag.symbol) this.contents(this.objects[i] as object, this.kinds[i]!, i);
    }
    for (let i = 0; i < this.later.length; i++) this.later[i]!();
    if (this.input.at !== this.input.bytes.length) throw damaged("bytes are left over");
  }

  contents(object: object, kind: number, index: number): void {
    const { input } = this;
    const inner = kind === tag.plain ? undefined : innerOf(object);
    switch (kind) {
      case tag.plain: {
        const keys = this.shapes[this.shapeOf[index]!]!;
        for (let i = 0; i < keys.length; i++) {
          const key = keys[i]!;
          const value = this.slot();
          if (key in Object.prototype)
            Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
          else (object as Record<string, unknown>)[key] = value;
        }
        return;
      }
      case tag.cell:
        (object as Cell).value = this.slot();
        return;
      case tag.privateName:
        return;
      case tag.enumerator: {
        const made = object as { target: object; keys: string[]; index: number };
        made.target = this.slot() as object;
        made.keys = this.slot() as string[];
        made.index = input.int();
        return;
      }
      case tag.frame:
        return this.frame(object as Frame);
      case tag.map: {
        const count = input.count();
        for (let i = 0; i < count; i++) {
          const key = this.slot();
          mapSet(object, key, this.slot());
        }
        break;
      }
      case tag.set: {
        const count = input.count();
        for (let i = 0; i < count; i++) setAdd(object, this.slot());
        break;
      }
      case tag.closure: {
        const made = inner as Closure;
        const count = input.int();
        if (count !== made.cells.length) throw damaged("a closure has the wrong number of cells");
        for (let i = 0; i < count; i++) made.cells[i] = this.slot();
        made.home = this.slot() as object | null;
        made.fields = this.slot() as Callable | null;
        break;
      }
      case tag.builtin: {
        const { slots } = inner as Builtin;
        const count = input.count();
        for (let i = 0; i < count; i++) slots[i] = this.slot();
        break;
      }
      case tag.promise:
        this.promise(inner as PromiseRecord);
        break;
      case tag.generator:
      case tag.asyncGenerator: {
        const record = inner as GeneratorRecord | AsyncGeneratorRecord;
        record.status = statuses[input.byte()] ?? "done";
        record.frame = this.slot() as Frame | null;
        if (record.frame !== null) record.frame.generator = record;
        if (record instanceof AsyncGeneratorRecord) {
          const count = input.count();
          for (let i = 0; i < count; i++) {
            const mode = input.byte();
            const value = this.slot();
            record.requests[i] = { mode, value, promise: this.slot() as object };
          }
        }
        break;
      }
      case tag.arrayCursor:
        (inner as ArrayCursor).target = this.slot() as object | undefined;
        (inner as ArrayCursor).index = input.int();
        break;
      case tag.tableCursor: {
        const cursor = inner as TableCursor;
        cursor.target = this.slot() as TableCursor["target"];
        if (cursor.target === undefined) break;
        const at = input.int();
        // Once everything is filled: the position counts what is in the Map.
        this.later[this.later.length] = () => {
          cursor.native = cursorAt(cursor.target as object, holds(mapSize, cursor.target as object), at);
        };
        break;
      }
      case tag.stringCursor:
        (inner as StringCursor).index = input.int();
        break;
      case tag.asyncFromSync: {
        const made = inner as { iterator: object; next: unknown };
        made.iterator = this.slot() as object;
        made.next = this.slot();
        break;
      }
    }
    this.extras(object, kind, inner);
  }

  extras(object: object, _kind: number, _inner: unknown): void {
    const { input } = this;
    const bits = input.byte();
    if (bits & 1) Object.setPrototypeOf(object, this.slot() as object | null);
    if (bits & 8) {
      const count = input.count();
      for (let i = 0; i < count; i++) {
        const key = this.slot() as PropertyKey;
        const flags = input.byte();
        const enumerable = (flags & 2) !== 0;
        const configurable = (flags & 4) !== 0;
        if (flags & 8) {
          const get = this.slot() as () => unknown;
          const set = this.slot() as (v: unknown) => void;
          Object.defineProperty(object, key, { get, set, enumerable, configurable });
        } else
          Object.defineProperty(object, key, {
            value: this.slot(),
            writable: (flags & 1) !== 0,
            enumerable,
            configurable,
          });
      }
    }
    if (bits & 4) {
      const members = makeMembers(object);
      const count = input.count();
      for (let i = 0; i < count; i++) {
        const name = this.slot();
        const how = input.byte();
        const member: Member = {
          kind: how === 0 ? "field" : how === 1 ? "method" : "accessor",
          value: undefined,
          get: undefined,
          set: undefined,
        };
        if (how < 2) member.value = this.slot();
        else {
          member.get = this.slot();
          member.set = this.slot();
        }
        mapSet(members, name, member);
      }
    }
    if (bits & 2) Object.preventExtensions(object);
  }

  promise(record: PromiseRecord): void {
    const { input } = this;
    const bits = input.byte();
    record.state = bits & 3;
    record.handled = (bits & 4) !== 0;
    if (record.state !== 0) {
      record.value = this.slot();
      return;
    }
    const count = input.count();
    if (count === 0) return;
    const reactions: Reaction[] = [];
    for (let i = 0; i < count; i++) {
      const kind = input.byte();
      if (kind === 0) reactions[i] = { kind: "await", frame: this.slot() as Frame };
      else if (kind === 1) reactions[i] = { kind: "forward", promise: this.slot() as object };
      else {
        const onFulfilled = this.slot();
        const onRejected = this.slot();
        reactions[i] = { kind: "then", onFulfilled, onRejected, result: this.slot() as never };
      }
    }
    record.reactions = reactions;
  }

  frame(frame: Frame): void {
    const { input } = this;
    frame.pc = input.int();
    frame.callee = this.slot() as Callable;
    frame.closure = innerOf(frame.callee) as Closure;
    frame.self = this.slot();
    frame.newTarget = this.slot();
    frame.promise = this.slot() as object | null;
    if (input.byte() === 1) {
      const count = input.count();
      const args: unknown[] = [];
      for (let i = 0; i < count; i++) args[i] = this.slot();
      frame.args = args;
    }
    const held = input.count();
    for (let i = 0; i < held; i++) {
      const register = input.int();
      if (register >= frame.regs.length) throw damaged("a frame has too many registers");
      frame.regs[register] = this.slot();
    }
  }
}

function bigintOf(text: string): bigint {
  const negative = text.startsWith("-");
  let value = 0n;
  for (let i = negative ? 1 : 0; i < text.length; i++)
    value = value * 36n + BigInt(Number.parseInt(text.charAt(i), 36));
  return negative ? -value : value;
}

export function decodeState(loaded: Loaded, bytes: Uint8Array): State {
  return decode(new Decoder(loaded, bytes));
}

/** The suspended frames of a snapshot, in the order they are met from the roots. Nothing is run. */
export function decodeFrames(loaded: Loaded, bytes: Uint8Array): Frame[] {
  const decoder = new Decoder(loaded, bytes);
  decode(decoder);
  const frames: Frame[] = [];
  for (let i = 0; i < decoder.objects.length; i++)
    if (decoder.kinds[i] === tag.frame) frames[frames.length] = decoder.objects[i] as Frame;
  return frames;
}

function decode(decoder: Decoder): State {
  const { loaded } = decoder;
  const { input } = decoder;
  const format = input.byte();
  if (format !== snapshotFormat)
    throw new WaymarkError("WM453", `The snapshot has format ${format}; this build reads ${snapshotFormat}.`);
  const state = new State(loaded);
  state.started = true;
  state.cancelling = (input.byte() & 1) !== 0;
  state.now = input.double();
  for (let i = 0; i < 4; i++) state.seed[i] = input.int();
  for (let i = 0; i < 16; i++) state.seedBytes[i] = input.byte();
  state.nextEffect = input.int();
  state.main = decoder.slot() as object | null;
  state.cancelError = decoder.slot();
  const count = input.count();
  for (let i = 0; i < count; i++) readEffect(decoder, state);
  fillSparse(decoder, state.statics);
  fillSparse(decoder, state.references);
  const sites = input.count();
  for (let i = 0; i < sites; i++) {
    const site = input.text();
    state.templates.set(site, decoder.slot() as object);
  }
  decoder.fill();
  if (promiseOf(state.main) === undefined) throw damaged("it has no main promise");
  return state;
}

function fillSparse(decoder: Decoder, list: unknown[]): void {
  const count = decoder.input.count();
  for (let i = 0; i < count; i++) {
    const index = decoder.input.int();
    list[index] = decoder.slot();
  }
}

function readEffect(decoder: Decoder, state: State): void {
  const { input } = decoder;
  const no = input.int();
  const bits = input.byte();
  const kind = effectKinds[bits & 3];
  if (kind === undefined) throw damaged("it has an unknown effect");
  const name = input.text();
  const index = input.int();
  const pc = input.int();
  const args = input.blob();
  const policy = input.optional();
  const options = input.optional();
  const attempt = input.int();
  const dueAt = decoder.slot() as number | null;
  const firstAt = input.double();
  const details = input.optional();
  state.effects.set(no, {
    no,
    kind,
    name,
    function: index,
    pc,
    args,
    policy,
    options,
    wait: (bits & 4) !== 0,
    attempt,
    dueAt,
    firstAt,
    details,
    promise: decoder.slot() as object,
  });
}
