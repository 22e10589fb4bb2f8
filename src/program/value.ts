// biome-ignore-all lint/correctness/noVoidTypeReturn: `return this.byte(...)` ends a case where it is decided.
// The value codec: every user value that crosses a border (arguments, results, errors, captured constants) becomes bytes
// here and comes back here. The same text runs in the host and inside a realm of the VM, so it uses only ECMAScript
// globals, captured when the module is evaluated, and it never runs code of the value's author: properties are read
// through descriptors, getters are refused. (One exception: `name`, `message`, `stack` and `cause` of an Error may be
// getters, as DOMException's are, and an error must not be lost for it.)
//
// Layout: a format byte, then the root slot, then the contents of every container in the order the containers were first
// seen. Breadth first, so neither a deep value nor hostile bytes can exhaust the stack. A slot is one tag byte and its
// operands; tags from 128 on are the integers 0 to 127. Objects, strings and key lists are numbered as they first appear
// and referred to by number afterwards: identity and cycles survive, and repeated keys cost one byte an object.
import { WaymarkError } from "../base/failure.ts";

/** Format number in the first byte of every encoded value. */
export const valueFormat = 1;

/** Largest encoded value unless a caller says otherwise. */
export const valueLimitBytes = 64 * 1024 * 1024;

export interface EncodeOptions {
  /** What is being stored, for the message: `argument 1 of "sendEmail"`. */
  what?: string;
  /** Most bytes the encoded value may take. */
  limitBytes?: number;
}

export interface DecodeOptions {
  /** The class for an error, asked with its constructor names, most derived first. Its constructor is not run. */
  errorClass?: (names: readonly string[]) => (abstract new (...args: never[]) => unknown) | undefined;
  /** Freeze everything decoded: captured constants. Maps, sets and dates refuse their mutators. */
  freeze?: boolean;
}

/**
 * The bytes of a value. Equal values built in the same order give equal bytes.
 * Throws WM401 with the path of what is not data, WM402 where the value is too large.
 */
export function encodeValue(value: unknown, options?: EncodeOptions): Uint8Array {
  const encoder = idleEncoder ?? new Encoder();
  idleEncoder = null;
  encoder.limit = options?.limitBytes ?? valueLimitBytes;
  try {
    return encoder.encode(value);
  } catch (thrown) {
    throw explain(thrown, value, options?.what ?? "The value", encoder.limit);
  } finally {
    encoder.reset();
    idleEncoder = encoder;
  }
}

/** The value of `encodeValue`'s bytes. Throws WM403 on bytes it did not write; never hangs or allocates beyond them. */
export function decodeValue(bytes: Uint8Array, options?: DecodeOptions): unknown {
  return new Decoder(bytes, options).decode();
}

/**
 * The bytes of whatever was thrown. Never fails: a thrown value that is not data becomes an Error that says so, and one
 * too large loses its own properties, then its stack.
 */
export function encodeError(thrown: unknown, options?: EncodeOptions): Uint8Array {
  try {
    return encodeValue(thrown, options);
  } catch (refusal) {
    const error = new NativeError(describeThrown(thrown, refusal));
    defineHidden(error, "name", isErrorLike(thrown) ? readText(thrown, "name", "Error") : "Error");
    defineHidden(error, namesKey, isErrorLike(thrown) ? constructorNames(thrown) : ["Error"]);
    return encodeValue(error);
  }
}

/** Class names (most derived first, `name` included) and message of an encoded error, without decoding the rest. */
export function describeError(bytes: Uint8Array): { names: string[]; message: string } {
  return new Decoder(bytes, undefined).describe();
}

/**
 * Objects whose prototype was changed after creation, filled by the realm's `setPrototypeOf`. Ordinary-looking ones among
 * them get the full inspection, so a re-parented Map is refused and not stored as `{}`.
 */
export const reparented: { any: boolean; has(object: object): boolean; add(object: object): void } = (() => {
  const set = new WeakSet<object>();
  const marks = {
    any: false,
    has: (object: object) => set.has(object),
    add: (object: object) => {
      marks.any = true;
      set.add(object);
    },
  };
  return marks;
})();

/** How URLs are recognised and made where this runs. The realm, which has no URL of its own, installs one. */
export interface UrlKind {
  prototype: object;
  href(url: object): string;
  make(href: string): object;
}

export function installUrl(kind: UrlKind | null): void {
  urlKind = kind;
}

/** What a frozen constant's mutators are replaced with; exported so that a snapshot can name it. */
export function refuseMutation(): never {
  throw new TypeError("Cannot change a value captured from the module: it is a constant of the workflow");
}

// -- format

const tag = {
  undefined: 0,
  null: 1,
  true: 2,
  false: 3,
  nan: 4,
  infinity: 5,
  minusInfinity: 6,
  minusZero: 7,
  int: 8, // zigzag varint
  float: 9, // 8 bytes, little endian
  bigint: 10, // varint (digits << 1 | negative), hexadecimal digits
  narrow: 11, // varint length, one byte a character
  wide: 12, // varint length, two bytes a character
  string: 13, // varint number of an earlier string
  reference: 14, // varint number of an earlier object
  object: 15, // varint shape (the next number: count and keys follow); contents: values
  bare: 16, // the same with a null prototype
  array: 17, // varint length; contents: values
  sparse: 18, // varint length, count of elements, count of named; contents: index and value, key and value
  map: 19, // varint size; contents: key, value
  set: 20, // varint size; contents: values
  date: 21, // 8 bytes
  regexp: 22, // source string, varint flags, slot lastIndex
  url: 23, // href string
  buffer: 24, // varint length, varint (0 or largest length + 1), bytes
  view: 25, // kind byte, buffer slot, varint byte offset, varint length
  error: 26, // flags, names, name, message, stack, counts; contents: cause, errors, properties
  omitted: 27, // string: why a property of an error was not kept; decodes to that text
  extension: 28, // reserved for registered classes
} as const;

const firstInt = 128;

const errorBits = { ownName: 1, enumerableName: 2, message: 4, stack: 8, cause: 16, errors: 32 } as const;

const views = [
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

const regexpFlags = [
  ["d", "hasIndices"],
  ["g", "global"],
  ["i", "ignoreCase"],
  ["m", "multiline"],
  ["s", "dotAll"],
  ["u", "unicode"],
  ["v", "unicodeSets"],
  ["y", "sticky"],
] as const;

/** Constructor names of an error decoded where its class is not known, so that they survive the next border. */
const namesKey = Symbol.for("waymark.error.names");

// -- primordials: captured now, because in a realm some are replaced afterwards and in a host some are patched

type Method = (this: unknown, ...args: unknown[]) => unknown;

const {
  create,
  defineProperty,
  freeze,
  getOwnPropertyDescriptor,
  getOwnPropertySymbols,
  getPrototypeOf,
  keys: enumerableKeys,
  setPrototypeOf,
} = Object;
const { apply, construct } = Reflect;
const { isArray } = Array;
const { isNaN: isNotNumber } = Number;
const { min } = Math;
const { isView } = ArrayBuffer;
const { fromCharCode } = String;
const isObject = Object.prototype.toString;
const objectPrototype = Object.prototype;
const arrayPrototype = Array.prototype;
const isEnumerable = Object.prototype.propertyIsEnumerable;
const functionText = Function.prototype.toString;
const NativeArrayBuffer = ArrayBuffer;
const NativeBytes = Uint8Array;
const NativeDate = Date;
const NativeError = Error;
const NativeMap = Map;
const NativeRegExp = RegExp;
const NativeSet = Set;
const toBigInt = BigInt;
const mapPrototype = Map.prototype;
const mapForEach = Map.prototype.forEach as unknown as Method;
const mapSet = Map.prototype.set as unknown as Method;
const mapSize = getter(Map.prototype, "size");
const setPrototype = Set.prototype;
const setForEach = Set.prototype.forEach as unknown as Method;
const setAdd = Set.prototype.add as unknown as Method;
const setSize = getter(Set.prototype, "size");
const datePrototype = Date.prototype;
const dateTime = Date.prototype.getTime as unknown as Method;
const regexpPrototype = RegExp.prototype;
const regexpSource = getter(RegExp.prototype, "source");
const regexpBits = regexpFlags.map(([, name]) =>
  name in RegExp.prototype ? getter(RegExp.prototype, name) : () => false,
);
const bufferPrototype = ArrayBuffer.prototype;
const bufferLength = getter(ArrayBuffer.prototype, "byteLength");
const bufferLargest =
  "maxByteLength" in ArrayBuffer.prototype ? getter(ArrayBuffer.prototype, "maxByteLength") : bufferLength;
const bufferResizable = "resizable" in ArrayBuffer.prototype ? getter(ArrayBuffer.prototype, "resizable") : () => false;
const typedPrototype = getPrototypeOf(Uint8Array.prototype) as object;
const typedName = getter(typedPrototype, Symbol.toStringTag);
const typedBuffer = getter(typedPrototype, "buffer");
const typedOffset = getter(typedPrototype, "byteOffset");
const typedLength = getter(typedPrototype, "length");
const dataBuffer = getter(DataView.prototype, "buffer");
const dataOffset = getter(DataView.prototype, "byteOffset");
const dataLength = getter(DataView.prototype, "byteLength");
const bytesSet = typedPrototype as unknown as { set: Method };
const setBytes = bytesSet.set;
const sliceBytes = (typedPrototype as unknown as { slice: Method }).slice;
const viewClasses = [
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
] as const;
const viewSizes = [1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 1] as const;
const viewPrototypes: readonly object[] = viewClasses.map((view) => view.prototype as object);
const errorPrototype: object = Error.prototype;
const errorClasses: Record<string, new (message?: string) => Error> = {
  // @ts-expect-error a table without a prototype
  __proto__: null,
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
};
const NativeAggregateError = AggregateError;
const scratch = new Float64Array(1);
const scratchBytes = new Uint8Array(scratch.buffer);
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function getter(holder: object, key: PropertyKey): Method {
  return getOwnPropertyDescriptor(holder, key)?.get as Method;
}

function hostUrl(): UrlKind | null {
  const Host = (globalThis as { URL?: new (href: string) => object }).URL;
  if (typeof Host !== "function") return null;
  const href = getter(Host.prototype as object, "href");
  return {
    prototype: Host.prototype as object,
    href: (url) => apply(href, url, []) as string,
    make: (text) => new Host(text),
  };
}

let urlKind: UrlKind | null = hostUrl();

// -- encoding

let idleEncoder: Encoder | null = null;

/** Beyond this many entries a linear search is slower than a Map (measured: 8 to 12). */
const linearMax = 8;

/** A pooled buffer above this size is given back. */
const pooledBytesMax = 1 << 20;

/** Thrown inside the encoder; `explain` turns it into a WaymarkError, and searches for the path only then. */
class Refusal {
  readonly owner: object | null;
  readonly step: Step | null;
  readonly what: string;
  readonly hint: string;
  constructor(owner: object | null, step: Step | null, what: string, hint: string) {
    this.owner = owner;
    this.step = step;
    this.what = what;
    this.hint = hint;
  }
}

class TooLarge {}

type Step = { kind: "key"; key: string } | { kind: "text"; text: string };

class Encoder {
  limit = valueLimitBytes;
  private bytes = new NativeBytes(256);
  private at = 0;
  private strings: string[] = [];
  private stringNumbers: Map<string, number> | null = null;
  private objects: object[] = [];
  private objectNumbers: Map<object, number> | null = null;
  private shapes: string[][] = [];
  private shapeNumbers: Map<string, number> | null = null;
  /** Containers in the order seen, with what is needed to write their contents. */
  private containers: object[] = [];
  private plans: Plan[] = [];
  /** Where the slot being written belongs, for the message of a refusal. */
  private owner: object | null = null;
  private step: string | number | Step | null = null;
  /** Only finding out whether a value can be encoded. An error always can: what it holds is not looked at. */
  private trial = false;

  encode(root: unknown): Uint8Array {
    this.bytes[0] = valueFormat;
    this.at = 1;
    this.slot(root);
    this.drain();
    if (this.at > this.limit) throw new TooLarge();
    return apply(sliceBytes, this.bytes, [0, this.at]) as Uint8Array;
  }

  reset(): void {
    if (this.bytes.length > pooledBytesMax) this.bytes = new NativeBytes(256);
    this.at = 0;
    this.strings.length = 0;
    this.stringNumbers = null;
    this.objects.length = 0;
    this.objectNumbers = null;
    this.shapes.length = 0;
    this.shapeNumbers = null;
    this.containers.length = 0;
    this.plans.length = 0;
    this.owner = null;
    this.step = null;
  }

  private drain(): void {
    // The list grows while it is walked.
    for (let index = 0; index < this.containers.length; index++) {
      const container = this.containers[index] as object;
      this.owner = container;
      this.contents(container, this.plans[index] as Plan);
    }
  }

  // -- one slot

  private slot(value: unknown): void {
    switch (typeof value) {
      case "string":
        return this.string(value);
      case "number":
        return this.number(value);
      case "boolean":
        return this.byte(value ? tag.true : tag.false);
      case "undefined":
        return this.byte(tag.undefined);
      case "bigint":
        return this.bigint(value);
      case "object":
        return value === null ? this.byte(tag.null) : this.object(value);
      case "function":
        return this.refuse(describeFunction(value), hints.function);
      case "symbol":
        return this.refuse(describeSymbol(value), hints.symbol);
    }
  }

  private string(text: string): void {
    const length = text.length;
    if (length > 1) {
      const known = this.stringNumber(text);
      if (known >= 0) {
        this.byte(tag.string);
        return this.varint(known);
      }
    }
    // Written as one byte a character until a character does not fit; then rewritten.
    this.reserve(length + 6);
    const start = this.at;
    const bytes = this.bytes;
    bytes[this.at++] = tag.narrow;
    this.varint(length);
    let at = this.at;
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index);
      if (code > 255) {
        this.at = start;
        return this.wide(text);
      }
      bytes[at++] = code;
    }
    this.at = at;
  }

  private wide(text: string): void {
    const length = text.length;
    this.byte(tag.wide);
    this.varint(length);
    this.reserve(length * 2);
    const bytes = this.bytes;
    let at = this.at;
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index);
      bytes[at++] = code & 255;
      bytes[at++] = code >> 8;
    }
    this.at = at;
  }

  /** Number of an earlier equal string, or -1 and the string has the next one. */
  private stringNumber(text: string): number {
    const strings = this.strings;
    let numbers = this.stringNumbers;
    if (numbers === null) {
      for (let index = 0; index < strings.length; index++) if (strings[index] === text) return index;
      strings[strings.length] = text;
      if (strings.length <= linearMax) return -1;
      numbers = this.stringNumbers = new NativeMap<string, number>();
      for (let index = 0; index < strings.length; index++) numbers.set(strings[index] as string, index);
      return -1;
    }
    const known = numbers.get(text);
    if (known !== undefined) return known;
    numbers.set(text, numbers.size);
    return -1;
  }

  private number(value: number): void {
    if ((value | 0) === value) {
      if (value === 0 && 1 / value < 0) return this.byte(tag.minusZero);
      if (value >= 0 && value < 256 - firstInt) return this.byte(firstInt + value);
      this.byte(tag.int);
      return this.varint(((value << 1) ^ (value >> 31)) >>> 0);
    }
    if (isNotNumber(value)) return this.byte(tag.nan);
    if (value === Infinity) return this.byte(tag.infinity);
    if (value === -Infinity) return this.byte(tag.minusInfinity);
    this.byte(tag.float);
    this.float(value);
  }

  private float(value: number): void {
    this.reserve(8);
    scratch[0] = value;
    if (isNotNumber(value)) {
      // One NaN, whatever its payload: bytes are deterministic.
      for (let index = 0; index < 8; index++) scratchBytes[index] = 0;
      scratchBytes[littleEndian ? 6 : 1] = 0xf8;
      scratchBytes[littleEndian ? 7 : 0] = 0x7f;
    }
    for (let index = 0; index < 8; index++) {
      this.bytes[this.at++] = scratchBytes[littleEndian ? index : 7 - index] as number;
    }
  }

  private bigint(value: bigint): void {
    const negative = value < 0n;
    const digits = (negative ? -value : value).toString(16);
    this.byte(tag.bigint);
    this.varint(digits.length * 2 + (negative ? 1 : 0));
    this.reserve(digits.length);
    for (let index = 0; index < digits.length; index++) this.bytes[this.at++] = digits.charCodeAt(index);
  }

  private object(value: object): void {
    const known = this.objectNumber(value);
    if (known >= 0) {
      this.byte(tag.reference);
      return this.varint(known);
    }
    if (isArray(value)) return this.array(value);
    const prototype = getPrototypeOf(value) as object | null;
    if (prototype === objectPrototype || prototype === null) {
      if (!reparented.any || !reparented.has(value)) return this.plain(value, prototype === null);
      if (!isOrdinary(value)) return this.refuse(`a ${brandOf(value)} with another prototype`, hints.plain);
      return this.plain(value, prototype === null);
    }
    this.exotic(value, prototype);
  }

  private objectNumber(value: object): number {
    const objects = this.objects;
    let numbers = this.objectNumbers;
    if (numbers === null) {
      for (let index = 0; index < objects.length; index++) if (objects[index] === value) return index;
      objects[objects.length] = value;
      if (objects.length <= linearMax) return -1;
      numbers = this.objectNumbers = new NativeMap<object, number>();
      for (let index = 0; index < objects.length; index++) numbers.set(objects[index] as object, index);
      return -1;
    }
    const known = numbers.get(value);
    if (known !== undefined) return known;
    numbers.set(value, numbers.size);
    return -1;
  }

  private plain(value: object, bare: boolean): void {
    const names = enumerableKeys(value);
    if (names[0] === "0" && apply(isObject, value, []) === "[object Arguments]") {
      this.refuse("an `arguments` object", "Send `[...arguments]`, or name a rest parameter.");
    }
    this.refuseSymbolKeys(value);
    this.byte(bare ? tag.bare : tag.object);
    const shape = this.shape(names);
    if (names.length === 0) return;
    this.containers[this.containers.length] = value;
    this.plans[this.plans.length] = shape;
  }

  private shape(names: string[]): string[] {
    const shapes = this.shapes;
    const count = names.length;
    const nearest = shapes.length > linearMax ? shapes.length - linearMax : 0;
    for (let index = shapes.length - 1; index >= nearest; index--) {
      if (sameNames(shapes[index] as string[], names)) {
        this.varint(index);
        return shapes[index] as string[];
      }
    }
    if (nearest > 0) {
      // Keys may contain the separator: a hit is compared before it is believed.
      const joined = names.join("\u0000");
      if (this.shapeNumbers === null) {
        this.shapeNumbers = new NativeMap<string, number>();
        for (let index = 0; index < shapes.length; index++) {
          this.shapeNumbers.set((shapes[index] as string[]).join("\u0000"), index);
        }
      }
      const known = this.shapeNumbers.get(joined);
      if (known !== undefined && sameNames(shapes[known] as string[], names)) {
        this.varint(known);
        return shapes[known] as string[];
      }
      this.shapeNumbers.set(joined, shapes.length);
    }
    this.varint(shapes.length);
    shapes[shapes.length] = names;
    this.varint(count);
    for (let index = 0; index < count; index++) this.string(names[index] as string);
    return names;
  }

  private array(value: unknown[]): void {
    const prototype = getPrototypeOf(value) as object | null;
    if (prototype !== arrayPrototype && !isForeign(prototype, "Array")) {
      this.refuse(describeInstance(value), hints.instance);
    }
    this.refuseSymbolKeys(value);
    const length = value.length;
    const names = enumerableKeys(value);
    // Indices come first and ascending: as many keys as elements, the last of them the last index, leaves no hole.
    if (names.length === length && (length === 0 || names[length - 1] === `${length - 1}`)) {
      this.byte(tag.array);
      this.varint(length);
      if (length === 0) return;
      this.containers[this.containers.length] = value;
      this.plans[this.plans.length] = densePlan;
      return;
    }
    let elements = 0;
    while (elements < names.length && isIndex(names[elements] as string)) elements++;
    this.byte(tag.sparse);
    this.varint(length);
    this.varint(elements);
    this.varint(names.length - elements);
    if (names.length === 0) return;
    this.containers[this.containers.length] = value;
    this.plans[this.plans.length] = { kind: "sparse", names, elements };
  }

  private exotic(value: object, prototype: object): void {
    if (prototype === mapPrototype || isForeign(prototype, "Map")) {
      const size = sizeOf(mapSize, value);
      if (size >= 0) return this.collection(value, tag.map, size, mapPlan);
    }
    if (prototype === setPrototype || isForeign(prototype, "Set")) {
      const size = sizeOf(setSize, value);
      if (size >= 0) return this.collection(value, tag.set, size, setPlan);
    }
    if (prototype === datePrototype || isForeign(prototype, "Date")) {
      const time = attempt(dateTime, value);
      if (typeof time === "number") {
        this.refuseProperties(value, "Date");
        this.byte(tag.date);
        return this.float(time);
      }
    }
    if (isView(value)) return this.view(value, prototype);
    if (prototype === bufferPrototype || isForeign(prototype, "ArrayBuffer")) {
      const length = attempt(bufferLength, value);
      if (typeof length === "number") return this.buffer(value as ArrayBuffer, length);
    }
    if (prototype === regexpPrototype || isForeign(prototype, "RegExp")) {
      const source = attempt(regexpSource, value);
      if (typeof source === "string") return this.regexp(value, source);
    }
    if (isErrorLike(value)) return this.error(value);
    const href = urlText(value, prototype);
    if (href !== null) {
      this.refuseProperties(value, "URL");
      this.byte(tag.url);
      return this.string(href);
    }
    if (isForeign(prototype, "Object")) return this.plain(value, false);
    this.refuse(describeInstance(value), hintFor(value));
  }

  private collection(value: object, kind: number, size: number, plan: Plan): void {
    this.refuseProperties(value, kind === tag.map ? "Map" : "Set");
    this.byte(kind);
    this.varint(size);
    if (size === 0) return;
    this.containers[this.containers.length] = value;
    this.plans[this.plans.length] = plan;
  }

  private regexp(value: object, source: string): void {
    const last = getOwnPropertyDescriptor(value, "lastIndex")?.value as unknown;
    if (typeof last !== "number") this.refuse("a RegExp whose `lastIndex` is not a number", hints.plain);
    this.refuseProperties(value, "RegExp");
    let flags = 0;
    for (let index = 0; index < regexpBits.length; index++) {
      if (apply(regexpBits[index] as Method, value, []) === true) flags |= 1 << index;
    }
    this.byte(tag.regexp);
    this.string(source);
    this.varint(flags);
    this.number(last as number);
  }

  private buffer(value: ArrayBuffer, length: number): void {
    this.refuseProperties(value, "ArrayBuffer");
    if ((value as { detached?: boolean }).detached === true) this.refuse("a detached ArrayBuffer", hints.plain);
    this.byte(tag.buffer);
    this.varint(length);
    this.varint(attempt(bufferResizable, value) === true ? (attempt(bufferLargest, value) as number) + 1 : 0);
    this.reserve(length);
    apply(setBytes, this.bytes, [new NativeBytes(value, 0, length), this.at]);
    this.at += length;
  }

  private view(value: ArrayBufferView, prototype: object): void {
    const name = (attempt(typedName, value) as string | undefined) ?? "DataView";
    const kind = views.indexOf(name as (typeof views)[number]);
    if (kind < 0) this.refuse(`a ${name}`, hints.plain);
    if (prototype !== viewPrototypes[kind] && !isForeignView(prototype, name)) {
      this.refuse(describeInstance(value), hintFor(value));
    }
    const data = name === "DataView";
    const buffer = apply(data ? dataBuffer : typedBuffer, value, []) as ArrayBuffer;
    const bufferBytes = attempt(bufferLength, buffer);
    if (typeof bufferBytes !== "number") this.refuse(`a ${name} over a SharedArrayBuffer`, hints.plain);
    if (attempt(bufferResizable, buffer) === true) {
      // A view that follows its buffer's length cannot be told from one that does not.
      this.refuse(`a ${name} over a resizable ArrayBuffer`, "Send a copy: `new Uint8Array(view)`.");
    }
    const offset = attempt(data ? dataOffset : typedOffset, value);
    const length = attempt(data ? dataLength : typedLength, value);
    if (typeof offset !== "number" || typeof length !== "number") this.refuse(`a detached ${name}`, hints.plain);
    if (!data) this.refuseViewProperties(value, length as number, name);
    this.byte(tag.view);
    this.byte(kind);
    // The view took its number before the buffer; the decoder reserves it likewise.
    this.slot(buffer);
    this.varint(offset as number);
    this.varint(length as number);
  }

  private error(value: object): void {
    const own = getOwnPropertyDescriptor(value, "name");
    const name = readText(value, "name", "Error");
    const message = getOwnPropertyDescriptor(value, "message");
    const text = readText(value, "message", "");
    const stack = readStack(value);
    const held = getOwnPropertyDescriptor(value, "cause");
    const cause = held !== undefined && held.enumerable !== true;
    const errors = getOwnPropertyDescriptor(value, "errors");
    const list = errors !== undefined && "value" in errors && isArray(errors.value) && errors.enumerable !== true;
    const names = constructorNames(value);
    const properties: string[] = [];
    for (const key of enumerableKeys(value)) {
      if (key === "name" || key === "message" || key === "stack") continue;
      properties[properties.length] = key;
    }
    this.byte(tag.error);
    this.byte(
      (own === undefined ? 0 : errorBits.ownName | (own.enumerable === true ? errorBits.enumerableName : 0)) |
        (message === undefined && text === "" ? 0 : errorBits.message) |
        (stack === null ? 0 : errorBits.stack) |
        (cause ? errorBits.cause : 0) |
        (list ? errorBits.errors : 0),
    );
    this.varint(names.length);
    for (let index = 0; index < names.length; index++) this.string(names[index] as string);
    this.string(name);
    this.string(text);
    if (stack !== null) this.string(stack);
    this.varint(properties.length);
    if (this.trial) return;
    this.containers[this.containers.length] = value;
    this.plans[this.plans.length] = { kind: "error", properties, cause, list };
  }

  // -- contents of a container

  private contents(container: object, plan: Plan): void {
    if (isArray(plan)) return this.values(container, plan);
    switch (plan.kind) {
      case "dense": {
        const length = (container as unknown[]).length;
        for (let index = 0; index < length; index++) this.element(container, index);
        return;
      }
      case "sparse": {
        const { names, elements } = plan;
        for (let index = 0; index < elements; index++) {
          const name = names[index] as string;
          this.varint(+name);
          this.element(container, +name);
        }
        for (let index = elements; index < names.length; index++) {
          this.string(names[index] as string);
          this.property(container, names[index] as string);
        }
        return;
      }
      case "map": {
        let index = 0;
        apply(mapForEach, container, [
          (value: unknown, key: unknown) => {
            this.step = { kind: "text", text: `key ${index}` };
            this.slot(key);
            this.step =
              typeof key === "string" || typeof key === "number"
                ? { kind: "text", text: `.get(${typeof key === "string" ? quote(key) : key})` }
                : { kind: "text", text: `value ${index}` };
            this.slot(value);
            index++;
          },
        ]);
        return;
      }
      case "set": {
        let index = 0;
        apply(setForEach, container, [
          (value: unknown) => {
            this.step = { kind: "text", text: `member ${index++}` };
            this.slot(value);
          },
        ]);
        return;
      }
      case "error":
        return this.errorContents(container, plan);
    }
  }

  private values(container: object, names: readonly string[]): void {
    for (let index = 0; index < names.length; index++) this.property(container, names[index] as string);
  }

  private property(container: object, name: string): void {
    this.step = name;
    const descriptor = getOwnPropertyDescriptor(container, name);
    if (descriptor === undefined) return this.refuse("a property that went away while it was read", hints.plain);
    if (descriptor.get !== undefined || descriptor.set !== undefined) {
      return this.refuse(`a getter \`${name}\``, hints.getter);
    }
    this.slot(descriptor.value);
  }

  private element(container: object, index: number): void {
    this.step = index;
    const descriptor = getOwnPropertyDescriptor(container, index);
    if (descriptor === undefined) return this.refuse("an element that went away while it was read", hints.plain);
    if (descriptor.get !== undefined || descriptor.set !== undefined) return this.refuse("a getter", hints.getter);
    this.slot(descriptor.value);
  }

  private errorContents(error: object, plan: ErrorPlan): void {
    if (plan.cause) this.tolerant(readProperty(error, "cause"));
    if (plan.list) {
      const list = getOwnPropertyDescriptor(error, "errors")?.value as unknown[];
      const length = list.length;
      this.varint(length);
      for (let index = 0; index < length; index++) this.tolerant(getOwnPropertyDescriptor(list, index)?.value);
    }
    for (let index = 0; index < plan.properties.length; index++) {
      const name = plan.properties[index] as string;
      this.string(name);
      const descriptor = getOwnPropertyDescriptor(error, name);
      if (descriptor?.get !== undefined || descriptor?.set !== undefined) this.omit(`a getter \`${name}\``);
      else this.tolerant(descriptor?.value);
    }
  }

  /** A value held by an error. What is not data is replaced by a note: the error itself must not be lost for it. */
  private tolerant(value: unknown): void {
    if (typeof value === "function") return this.omit(describeFunction(value));
    if (typeof value === "symbol") return this.omit(describeSymbol(value));
    if (typeof value !== "object" || value === null) return this.slot(value);
    if (this.isNumbered(value)) return this.slot(value);
    const trial = new Encoder();
    trial.limit = this.limit;
    trial.trial = true;
    try {
      trial.encode(value);
    } catch (thrown) {
      if (thrown instanceof TooLarge) return this.omit("a value too large to keep");
      if (!(thrown instanceof Refusal)) return this.omit("a value that could not be read");
      const path = pathTo(value, thrown);
      return this.omit(path === "" ? thrown.what : `${thrown.what} at ${path}`);
    }
    this.slot(value);
  }

  private isNumbered(value: object): boolean {
    if (this.objectNumbers !== null) return this.objectNumbers.has(value);
    for (let index = 0; index < this.objects.length; index++) if (this.objects[index] === value) return true;
    return false;
  }

  private omit(why: string): void {
    this.byte(tag.omitted);
    this.string(`[not kept: ${why}]`);
  }

  // -- refusals

  private refuse(what: string, hint: string): never {
    const step = this.step;
    const place: Step | null =
      step === null
        ? null
        : typeof step === "object"
          ? step
          : typeof step === "number"
            ? { kind: "text", text: `[${step}]` }
            : { kind: "key", key: step };
    throw new Refusal(this.owner, place, what, hint);
  }

  private refuseSymbolKeys(value: object): void {
    const symbols = getOwnPropertySymbols(value);
    for (let index = 0; index < symbols.length; index++) {
      const key = symbols[index] as symbol;
      if (apply(isEnumerable as unknown as Method, value, [key]) === true) {
        this.refuse(`a property keyed by ${describeSymbol(key)}`, "Use a string for the key.");
      }
    }
  }

  private refuseProperties(value: object, name: string): void {
    const names = enumerableKeys(value);
    if (names.length > 0) this.refuse(`a ${name} with a property \`${names[0]}\` of its own`, hints.plain);
    this.refuseSymbolKeys(value);
  }

  private refuseViewProperties(value: object, length: number, name: string): void {
    // Index keys come first and there are `length` of them; listing those of a large view would cost more than it.
    if (length > 4096) return this.refuseSymbolKeys(value);
    const names = enumerableKeys(value);
    if (names.length > length) this.refuse(`a ${name} with a property \`${names[length]}\` of its own`, hints.plain);
    this.refuseSymbolKeys(value);
  }

  // -- bytes

  private byte(value: number): void {
    if (this.at === this.bytes.length) this.reserve(1);
    this.bytes[this.at++] = value;
  }

  private varint(value: number): void {
    this.reserve(8);
    while (value > 0x7f) {
      this.bytes[this.at++] = (value % 128) | 128;
      value = value < 0x80000000 ? value >>> 7 : Math.floor(value / 128);
    }
    this.bytes[this.at++] = value;
  }

  private reserve(count: number): void {
    const needed = this.at + count;
    if (needed <= this.bytes.length) return;
    if (this.at > this.limit) throw new TooLarge();
    if (count > this.limit) throw new TooLarge();
    let size = this.bytes.length * 2;
    while (size < needed) size *= 2;
    const larger = new NativeBytes(size);
    apply(setBytes, larger, [this.bytes]);
    this.bytes = larger;
  }
}

interface ErrorPlan {
  kind: "error";
  properties: string[];
  cause: boolean;
  list: boolean;
}

/** How to write a container's contents. A bare list of names is a plain object, the commonest. */
type Plan =
  | string[]
  | { kind: "dense" }
  | { kind: "sparse"; names: string[]; elements: number }
  | { kind: "map" }
  | { kind: "set" }
  | ErrorPlan;

const densePlan: Plan = { kind: "dense" };
const mapPlan: Plan = { kind: "map" };
const setPlan: Plan = { kind: "set" };

// -- decoding

/** A container whose contents are still to be read. */
interface Pending {
  target: object;
  kind: number;
  count: number;
  named: number;
  shape: Shape | null;
  flags: number;
}

interface Shape {
  names: string[];
  /** A name that an assignment would not create: `__proto__`, and everything on a frozen Object.prototype. */
  inherited: boolean;
}

class Decoder {
  private readonly bytes: Uint8Array;
  private readonly end: number;
  private readonly options: DecodeOptions | undefined;
  private at = 0;
  private strings: string[] = [];
  private objects: (object | null)[] = [];
  private shapes: Shape[] = [];
  private pending: Pending[] = [];

  constructor(bytes: Uint8Array, options: DecodeOptions | undefined) {
    this.bytes = bytes;
    this.end = bytes.length;
    this.options = options;
  }

  decode(): unknown {
    this.format();
    const root = this.slot();
    for (let index = 0; index < this.pending.length; index++) this.contents(this.pending[index] as Pending);
    if (this.at !== this.end) this.damaged("bytes are left over");
    if (this.options?.freeze === true) this.freezeAll();
    return root;
  }

  describe(): { names: string[]; message: string } {
    this.format();
    const kind = this.byte();
    if (kind !== tag.error) {
      this.at--;
      return { names: [], message: this.brief() };
    }
    this.byte();
    const names: string[] = [];
    for (let count = this.count(1); count > 0; count--) names[names.length] = this.text();
    const name = this.text();
    if (!includes(names, name)) names.unshift(name);
    return { names, message: this.text() };
  }

  /** What was thrown, where it was not an error. */
  private brief(): string {
    const kind = this.bytes[this.at] as number;
    if (kind >= firstInt || kind <= tag.wide) {
      const value = this.slot();
      return typeof value === "string" ? value : String(value);
    }
    const names: Partial<Record<number, string>> = { [tag.array]: "an array", [tag.map]: "a Map", [tag.set]: "a Set" };
    return `${names[kind] ?? "an object"} was thrown`;
  }

  private format(): void {
    if (this.end === 0) this.damaged("there are no bytes");
    const format = this.byte();
    if (format !== valueFormat) {
      throw new WaymarkError("WM403", `A stored value is in format ${format}; this build reads format ${valueFormat}`, {
        hint: "A newer version of waymark wrote it, or the bytes are not a value.",
      });
    }
  }

  // -- one slot

  private slot(): unknown {
    const kind = this.byte();
    if (kind >= firstInt) return kind - firstInt;
    switch (kind) {
      case tag.undefined:
        return undefined;
      case tag.null:
        return null;
      case tag.true:
        return true;
      case tag.false:
        return false;
      case tag.nan:
        return NaN;
      case tag.infinity:
        return Infinity;
      case tag.minusInfinity:
        return -Infinity;
      case tag.minusZero:
        return -0;
      case tag.int: {
        const value = this.varint();
        if (value > 0xffffffff) this.damaged("an integer is too large");
        return (value >>> 1) ^ -(value & 1);
      }
      case tag.float:
        return this.float();
      case tag.bigint:
        return this.bigint();
      case tag.narrow:
        return this.narrow();
      case tag.wide:
        return this.wide();
      case tag.string:
        return this.earlierString();
      case tag.omitted:
        return this.text();
      case tag.reference: {
        const value = this.objects[this.varint()];
        if (value === undefined || value === null) this.damaged("a reference leads nowhere");
        return value;
      }
      case tag.object:
      case tag.bare: {
        const shape = this.shape();
        return this.container(kind === tag.bare ? create(null) : {}, kind, shape.names.length, 0, shape);
      }
      case tag.array:
        return this.container([], kind, this.count(1));
      case tag.sparse: {
        const array: unknown[] = [];
        const length = this.varint();
        if (length > 0xffffffff) this.damaged("an array is too long");
        if (length > 0) array.length = length;
        const count = this.count(2);
        return this.container(array, kind, count, this.count(2));
      }
      case tag.map:
        return this.container(new NativeMap<unknown, unknown>(), kind, this.count(2));
      case tag.set:
        return this.container(new NativeSet<unknown>(), kind, this.count(1));
      case tag.date:
        return this.keep(new NativeDate(this.float()));
      case tag.regexp:
        return this.regexp();
      case tag.url:
        return this.url();
      case tag.buffer:
        return this.buffer();
      case tag.view:
        return this.view();
      case tag.error:
        return this.error();
      case tag.extension:
        throw new WaymarkError("WM403", "A stored value is of a registered class, which this build does not know", {
          hint: "A newer version of waymark wrote it.",
        });
      default:
        return this.damaged(`tag ${kind} is unknown`);
    }
  }

  private keep<T extends object>(value: T): T {
    this.objects[this.objects.length] = value;
    return value;
  }

  private container(
    target: object,
    kind: number,
    count: number,
    named = 0,
    shape: Shape | null = null,
    flags = 0,
  ): object {
    this.objects[this.objects.length] = target;
    if (count + named + flags > 0) {
      this.pending[this.pending.length] = { target, kind, count, named, shape, flags };
    }
    return target;
  }

  private shape(): Shape {
    const number = this.varint();
    if (number < this.shapes.length) return this.shapes[number] as Shape;
    if (number !== this.shapes.length) this.damaged("a list of keys is missing");
    const names: string[] = [];
    let inherited = false;
    for (let count = this.count(1); count > 0; count--) {
      const name = this.text();
      if (name in objectPrototype) inherited = true;
      names[names.length] = name;
    }
    const shape = { names, inherited };
    this.shapes[number] = shape;
    return shape;
  }

  private bigint(): bigint {
    const header = this.varint();
    const length = Math.floor(header / 2);
    if (length === 0 || length > this.end - this.at) this.damaged("a bigint is cut short");
    const digits = this.latin(length);
    for (let index = 0; index < length; index++) {
      const code = digits.charCodeAt(index);
      if (!((code >= 48 && code <= 57) || (code >= 97 && code <= 102))) this.damaged("a bigint has a strange digit");
    }
    const value = toBigInt(`0x${digits}`);
    return header % 2 === 1 ? -value : value;
  }

  private regexp(): object {
    const source = this.text();
    const bits = this.varint();
    const last = this.slot();
    if (typeof last !== "number") return this.damaged("a RegExp has no position");
    let flags = "";
    for (let index = 0; index < regexpFlags.length; index++) {
      if ((bits & (1 << index)) !== 0) flags += (regexpFlags[index] as (typeof regexpFlags)[number])[0];
    }
    let value: RegExp;
    try {
      value = new NativeRegExp(source, flags);
    } catch {
      return this.damaged(`/${source}/${flags} is not a regular expression`);
    }
    value.lastIndex = last;
    return this.keep(value);
  }

  private url(): object {
    const href = this.text();
    if (urlKind === null) {
      throw new WaymarkError("WM404", `A URL (${href}) arrived where there is no URL class`, {
        hint: "Send its text instead: `url.href`.",
      });
    }
    try {
      return this.keep(urlKind.make(href));
    } catch {
      return this.damaged(`"${href}" is not a URL`);
    }
  }

  private buffer(): object {
    const length = this.count(1, true);
    const largest = this.varint();
    if (length > this.end - this.at) this.damaged("a buffer is cut short");
    let value: ArrayBuffer;
    try {
      const resizable = NativeArrayBuffer as unknown as new (length: number, options?: object) => ArrayBuffer;
      value = largest === 0 ? new NativeArrayBuffer(length) : new resizable(length, { maxByteLength: largest - 1 });
    } catch {
      return this.damaged("a buffer has an impossible size");
    }
    apply(setBytes, new NativeBytes(value), [this.sub(length)]);
    return this.keep(value);
  }

  private view(): object {
    const number = this.objects.length;
    this.objects[number] = null;
    const kind = this.byte();
    const Class = viewClasses[kind];
    if (Class === undefined) return this.damaged("a typed array is of an unknown kind");
    const inner = this.bytes[this.at];
    if (inner !== tag.buffer && inner !== tag.reference) this.damaged("a typed array has no buffer");
    const buffer = this.slot() as object;
    const offset = this.varint();
    const length = this.varint();
    const size = attempt(bufferLength, buffer);
    if (typeof size !== "number" || offset + length * (viewSizes[kind] as number) > size) {
      this.damaged("a typed array reaches beyond its buffer");
    }
    try {
      const value = construct(Class as unknown as new () => object, [buffer, offset, length]) as object;
      this.objects[number] = value;
      return value;
    } catch {
      return this.damaged("a typed array does not fit its buffer");
    }
  }

  private error(): object {
    const flags = this.byte();
    const names: string[] = [];
    for (let count = this.count(1); count > 0; count--) names[names.length] = this.text();
    const name = this.text();
    const message = this.text();
    const stack = (flags & errorBits.stack) === 0 ? null : this.text();
    const properties = this.count(2);
    const error = bareError(names);
    const Class = this.options?.errorClass?.(names);
    const prototype = Class === undefined ? undefined : getOwnPropertyDescriptor(Class, "prototype")?.value;
    if (typeof prototype === "object" && prototype !== null) setPrototypeOf(error, prototype as object);
    else if (!sameNames(names, constructorNames(error))) defineHidden(error, namesKey, freeze(names));
    if ((flags & errorBits.message) !== 0) defineHidden(error, "message", message);
    if ((flags & errorBits.ownName) !== 0) {
      define(error, "name", name, (flags & errorBits.enumerableName) !== 0);
    } else if (readInherited(error, "name") !== name) {
      defineHidden(error, "name", name);
    }
    if (stack === null) delete (error as { stack?: unknown }).stack;
    else defineHidden(error, "stack", stack);
    return this.container(error, tag.error, properties, 0, null, flags & (errorBits.cause | errorBits.errors));
  }

  // -- contents of a container

  private contents({ target, kind, count, named, shape, flags }: Pending): void {
    switch (kind) {
      case tag.object:
      case tag.bare: {
        const { names, inherited } = shape as Shape;
        const object = target as Record<string, unknown>;
        for (let index = 0; index < count; index++) {
          const name = names[index] as string;
          if (inherited) define(object, name, this.slot(), true);
          else object[name] = this.slot();
        }
        return;
      }
      case tag.array: {
        const array = target as unknown[];
        for (let index = 0; index < count; index++) array[index] = this.slot();
        return;
      }
      case tag.sparse: {
        const length = (target as unknown[]).length;
        for (let index = 0; index < count; index++) {
          const place = this.varint();
          if (place >= length) this.damaged("an element is outside its array");
          define(target, place, this.slot(), true);
        }
        for (let index = 0; index < named; index++) {
          const name = this.text();
          if (name === "length") this.damaged("an array's length is given twice");
          define(target, name, this.slot(), true);
        }
        return;
      }
      case tag.map:
        for (let index = 0; index < count; index++) {
          const key = this.slot();
          apply(mapSet, target, [key, this.slot()]);
        }
        return;
      case tag.set:
        for (let index = 0; index < count; index++) apply(setAdd, target, [this.slot()]);
        return;
      case tag.error: {
        if ((flags & errorBits.cause) !== 0) defineHidden(target, "cause", this.slot());
        if ((flags & errorBits.errors) !== 0) {
          const errors: unknown[] = [];
          for (let rest = this.count(1); rest > 0; rest--) errors[errors.length] = this.slot();
          defineHidden(target, "errors", errors);
        }
        for (let index = 0; index < count; index++) {
          const name = this.text();
          define(target, name, this.slot(), true);
        }
        return;
      }
      default:
        this.damaged("contents of an unknown kind");
    }
  }

  private freezeAll(): void {
    for (let index = 0; index < this.objects.length; index++) {
      const value = this.objects[index] as object;
      if (isView(value)) {
        // Elements of a typed array cannot be frozen: it stays a private copy.
        continue;
      }
      const prototype = getPrototypeOf(value) as object | null;
      const mutators =
        prototype === mapPrototype
          ? mapMutators
          : prototype === setPrototype
            ? setMutators
            : prototype === datePrototype
              ? dateMutators
              : none;
      for (let each = 0; each < mutators.length; each++) defineHidden(value, mutators[each] as string, refuseMutation);
      freeze(value);
    }
  }

  // -- bytes

  private byte(): number {
    const value = this.bytes[this.at];
    if (value === undefined) return this.damaged("the bytes end early");
    this.at++;
    return value;
  }

  private varint(): number {
    let value = this.byte();
    if (value < 128) return value;
    value &= 127;
    for (let scale = 128; scale <= 2 ** 42; scale *= 128) {
      const next = this.byte();
      value += (next & 127) * scale;
      if (next < 128) return value;
    }
    return this.damaged("a number is too long");
  }

  /** A count of things that take `each` bytes or more: more than the bytes that are left is damage. */
  private count(each: number, exact = false): number {
    const value = this.varint();
    if (value * each > this.end - this.at) this.damaged(exact ? "a buffer is cut short" : "a list is cut short");
    return value;
  }

  private text(): string {
    const kind = this.byte();
    if (kind === tag.narrow) return this.narrow();
    if (kind === tag.string) return this.earlierString();
    if (kind === tag.wide) return this.wide();
    return this.damaged("text is expected");
  }

  private earlierString(): string {
    const value = this.strings[this.varint()];
    return value === undefined ? this.damaged("a string is missing") : value;
  }

  private narrow(): string {
    const length = this.varint();
    if (length > this.end - this.at) this.damaged("a string is cut short");
    const value = this.latin(length);
    if (length > 1) this.strings[this.strings.length] = value;
    return value;
  }

  private latin(length: number): string {
    const bytes = this.bytes;
    const stop = this.at + length;
    let text = "";
    if (length < 24) {
      for (let at = this.at; at < stop; at++) text += fromCharCode(bytes[at] as number);
    } else {
      for (let at = this.at; at < stop; at += chunk) {
        text += apply(
          fromCharCode as unknown as Method,
          null,
          bytes.subarray(at, min(at + chunk, stop)) as unknown as unknown[],
        ) as string;
      }
    }
    this.at = stop;
    return text;
  }

  private wide(): string {
    const length = this.varint();
    if (length * 2 > this.end - this.at) this.damaged("a string is cut short");
    const bytes = this.bytes;
    let text = "";
    let at = this.at;
    const codes = new Uint16Array(min(length, chunk));
    for (let done = 0; done < length; ) {
      const size = min(length - done, chunk);
      for (let index = 0; index < size; index++, at += 2) {
        codes[index] = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
      }
      text += apply(
        fromCharCode as unknown as Method,
        null,
        (size === codes.length ? codes : codes.subarray(0, size)) as unknown as unknown[],
      ) as string;
      done += size;
    }
    this.at = at;
    if (length > 1) this.strings[this.strings.length] = text;
    return text;
  }

  private float(): number {
    for (let index = 0; index < 8; index++) scratchBytes[littleEndian ? index : 7 - index] = this.byte();
    return scratch[0] as number;
  }

  private sub(length: number): Uint8Array {
    const view = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return view;
  }

  private damaged(why: string): never {
    throw new WaymarkError("WM403", `A stored value is damaged: ${why} (byte ${this.at} of ${this.end})`, {
      hint: "The bytes were changed after they were written, or were never a value.",
    });
  }
}

/** Characters given to one call of fromCharCode: far below the argument limit. */
const chunk = 4096;

const mapMutators = ["set", "delete", "clear"];
const setMutators = ["add", "delete", "clear"];
const dateMutators = Object.getOwnPropertyNames(Date.prototype).filter((name) => name.startsWith("set"));
const none: string[] = [];

// -- what things are

const hints = {
  plain: "Make it plain data, or return what is needed of it from an action.",
  function: "Functions stay where they are: pass the data they need, and call them inside the workflow or the action.",
  symbol: "Use a string: a symbol is unique to one process.",
  getter: "Copy its value into a plain property: `{ ...object }`.",
  instance:
    "Make it plain data (`{ ...value }`), or return it from an action as plain data, and build the class where it is used.",
  promise: "Await it first, and send its value.",
  boxed: "Use the primitive, without `new`.",
  buffer: 'Send its bytes, `new Uint8Array(buffer)`, or its text, `buffer.toString("base64")`.',
} as const;

function explain(thrown: unknown, root: unknown, what: string, limit: number): unknown {
  if (thrown instanceof Refusal) {
    const path = pathTo(root, thrown);
    return new WaymarkError("WM401", `${what} cannot be stored: ${thrown.what}${path === "" ? "" : ` at ${path}`}`, {
      hint: thrown.hint,
    });
  }
  if (thrown instanceof TooLarge) {
    return new WaymarkError("WM402", `${what} is larger than ${limit} bytes when stored`, {
      hint: "Keep large data outside (a file, a bucket, a table) and send its key.",
    });
  }
  return new WaymarkError("WM401", `${what} cannot be stored: reading it threw ${describeThrown(thrown, null)}`, {
    hint: hints.plain,
    cause: thrown,
  });
}

/** The path from the root to what was refused, found only now: the same walk again, remembering parents. */
function pathTo(root: unknown, refusal: Refusal): string {
  const owner = refusal.owner;
  if (owner === null) return "";
  const parents = new NativeMap<object, { parent: object; step: string }>();
  const queue: object[] = [root as object];
  for (let index = 0; index < queue.length; index++) {
    const parent = queue[index] as object;
    if (parent === owner) break;
    const visit = (value: unknown, step: string): void => {
      if (typeof value !== "object" || value === null || value === root || parents.has(value)) return;
      parents.set(value, { parent, step });
      queue[queue.length] = value;
    };
    if (sizeOf(mapSize, parent) >= 0) {
      let place = 0;
      apply(mapForEach, parent, [
        (value: unknown, key: unknown) => {
          visit(key, ` (key ${place})`);
          visit(
            value,
            typeof key === "string"
              ? `.get(${quote(key)})`
              : typeof key === "number"
                ? `.get(${key})`
                : ` (value ${place})`,
          );
          place++;
        },
      ]);
    } else if (sizeOf(setSize, parent) >= 0) {
      let place = 0;
      apply(setForEach, parent, [(value: unknown) => visit(value, ` (member ${place++})`)]);
    } else if (!isView(parent)) {
      const list = isArray(parent);
      const names = enumerableKeys(parent);
      for (let each = 0; each < names.length; each++) {
        const name = names[each] as string;
        visit(getOwnPropertyDescriptor(parent, name)?.value, list && isIndex(name) ? `[${name}]` : keyStep(name));
      }
      visit(getOwnPropertyDescriptor(parent, "cause")?.value, ".cause");
      visit(getOwnPropertyDescriptor(parent, "errors")?.value, ".errors");
    }
  }
  const step = refusal.step;
  let path =
    step === null
      ? ""
      : step.kind === "key"
        ? keyStep(step.key)
        : /^[.[]/.test(step.text)
          ? step.text
          : ` (${step.text})`;
  for (let link = parents.get(owner); link !== undefined; link = parents.get(link.parent)) path = link.step + path;
  return path.trim();
}

function keyStep(name: string): string {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? `.${name}` : `[${quote(name)}]`;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);
}

function isIndex(name: string): boolean {
  const number = +name >>> 0;
  return number !== 0xffffffff && `${number}` === name;
}

function sameNames(one: readonly string[], other: readonly string[]): boolean {
  if (one.length !== other.length) return false;
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false;
  return true;
}

function includes(names: readonly string[], name: string): boolean {
  for (let index = 0; index < names.length; index++) if (names[index] === name) return true;
  return false;
}

/** Calls an internal getter that throws on anything of another brand. */
function attempt(method: Method, value: unknown): unknown {
  try {
    return apply(method, value, []);
  } catch {
    return undefined;
  }
}

function sizeOf(size: Method, value: unknown): number {
  const found = attempt(size, value);
  return typeof found === "number" ? found : -1;
}

/** The `name` of the function that is the prototype's own `constructor`, read without running a getter. */
function constructorName(prototype: object): string | null {
  const made = getOwnPropertyDescriptor(prototype, "constructor")?.value as unknown;
  if (typeof made !== "function") return null;
  const name = getOwnPropertyDescriptor(made, "name")?.value as unknown;
  return typeof name === "string" && name !== "" ? name : null;
}

/** Is this the built-in prototype of that name, of another realm (a test runner's, an iframe's)? */
function isForeign(prototype: object | null, name: string): boolean {
  if (prototype === null || prototype === objectPrototype) return false;
  const parent = getPrototypeOf(prototype) as object | null;
  if (name === "Object") return parent === null && isNativeConstructor(prototype, name);
  if (parent === objectPrototype || parent === null || getPrototypeOf(parent) !== null) return false;
  return isNativeConstructor(prototype, name);
}

/** A typed array of another realm: %TypedArray% stands between its prototype and Object's. */
function isForeignView(prototype: object, name: string): boolean {
  return name === "DataView"
    ? isForeign(prototype, name)
    : isNativeConstructor(prototype, name) && isForeign(getPrototypeOf(prototype) as object | null, "TypedArray");
}

function isNativeConstructor(prototype: object, name: string): boolean {
  if (constructorName(prototype) !== name) return false;
  const made = getOwnPropertyDescriptor(prototype, "constructor")?.value as unknown;
  return (apply(functionText as unknown as Method, made, []) as string).endsWith("{ [native code] }");
}

function isErrorLike(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  let prototype = getPrototypeOf(value) as object | null;
  for (let depth = 0; prototype !== null && depth < 64; depth++) {
    if (prototype === errorPrototype || isForeign(prototype, "Error")) return true;
    prototype = getPrototypeOf(prototype) as object | null;
  }
  return false;
}

/** Constructor names of an error, most derived first, down to "Error". */
function constructorNames(error: object): string[] {
  const carried = getOwnPropertyDescriptor(error, namesKey)?.value as unknown;
  const names: string[] = [];
  if (isArray(carried)) {
    for (let index = 0; index < carried.length; index++) {
      const name = carried[index] as unknown;
      if (typeof name === "string") names[names.length] = name;
    }
    if (names.length > 0) return names;
  }
  let prototype = getPrototypeOf(error) as object | null;
  for (let depth = 0; prototype !== null && depth < 64; depth++) {
    const name = constructorName(prototype);
    if (name !== null && name !== names[names.length - 1]) names[names.length] = name;
    if (prototype === errorPrototype || name === "Error") break;
    prototype = getPrototypeOf(prototype) as object | null;
  }
  return names;
}

/** An error of the nearest built-in class among the names, with no own properties but its stack. */
function bareError(names: readonly string[]): Error {
  for (let index = 0; index < names.length; index++) {
    const name = names[index] as string;
    if (name === "AggregateError") {
      const error = new NativeAggregateError([]);
      delete (error as { errors?: unknown }).errors;
      return error;
    }
    const Class = errorClasses[name];
    if (Class !== undefined) return new Class();
  }
  return new NativeError();
}

/** A property of an error, own or inherited; a getter is called, because DOMException has nothing else. */
function readProperty(value: object, key: string): unknown {
  try {
    return (value as Record<string, unknown>)[key];
  } catch {
    return undefined;
  }
}

function readText(value: object, key: string, missing: string): string {
  const found = readProperty(value, key);
  if (typeof found === "string") return found;
  if (found === undefined) return missing;
  try {
    return String(found);
  } catch {
    return missing;
  }
}

function readStack(value: object): string | null {
  const stack = readProperty(value, "stack");
  return typeof stack === "string" ? stack : null;
}

function readInherited(value: object, key: string): unknown {
  for (let holder: object | null = value; holder !== null; holder = getPrototypeOf(holder) as object | null) {
    const descriptor = getOwnPropertyDescriptor(holder, key);
    if (descriptor !== undefined) return descriptor.value;
  }
  return undefined;
}

function urlText(value: object, prototype: object): string | null {
  if (urlKind !== null && prototype === urlKind.prototype) {
    try {
      return urlKind.href(value);
    } catch {
      return null;
    }
  }
  // A test environment's own URL (jsdom): its accessor is a library's code, not the user's.
  if (constructorName(prototype) !== "URL") return null;
  const accessor = getOwnPropertyDescriptor(prototype, "href")?.get;
  const href = accessor === undefined ? undefined : attempt(accessor as Method, value);
  return typeof href === "string" ? href : null;
}

function define(target: object, key: PropertyKey, value: unknown, enumerable: boolean): void {
  defineProperty(target, key, {
    __proto__: null,
    value,
    writable: true,
    enumerable,
    configurable: true,
  } as PropertyDescriptor);
}

function defineHidden(target: object, key: PropertyKey, value: unknown): void {
  define(target, key, value, false);
}

/** Has this re-parented object no internal slots? */
function isOrdinary(value: object): boolean {
  return brandOf(value) === "object";
}

function brandOf(value: object): string {
  if (sizeOf(mapSize, value) >= 0) return "Map";
  if (sizeOf(setSize, value) >= 0) return "Set";
  if (isView(value)) return (attempt(typedName, value) as string | undefined) ?? "DataView";
  if (typeof attempt(bufferLength, value) === "number") return "ArrayBuffer";
  if (typeof attempt(dateTime, value) === "number") return "Date";
  if (typeof attempt(regexpSource, value) === "string") return "RegExp";
  const built = (apply(isObject, value, []) as string).slice(8, -1);
  return includes(["Error", "Boolean", "Number", "String", "Arguments", "Function"], built) ? built : "object";
}

function describeFunction(value: unknown): string {
  const name = getOwnPropertyDescriptor(value as object, "name")?.value as unknown;
  const text = attempt(functionText as unknown as Method, value);
  const kind = typeof text === "string" && text.startsWith("class") ? "class" : "function";
  return typeof name === "string" && name !== "" ? `a ${kind} \`${name}\`` : `a ${kind}`;
}

function describeSymbol(value: symbol): string {
  return `a symbol \`${String(value)}\``;
}

/** The name a value of a class goes by, for people: the constructor's, else the `Symbol.toStringTag` that is plain data. */
function instanceName(value: object): string | null {
  for (let holder: object | null = value, depth = 0; holder !== null && depth < 64; depth++) {
    const label = getOwnPropertyDescriptor(holder, Symbol.toStringTag)?.value as unknown;
    if (typeof label === "string" && constructorName(holder) === null) return label;
    const name = holder === value ? null : constructorName(holder);
    if (name !== null && holder !== objectPrototype) return name;
    holder = getPrototypeOf(holder) as object | null;
  }
  return null;
}

const systemNames = ["Promise", "WeakMap", "WeakSet", "WeakRef", "FinalizationRegistry", "Generator", "AsyncGenerator"];

function describeInstance(value: object): string {
  const name = instanceName(value);
  if (name === null) return "an object with a prototype of its own";
  if (includes(systemNames, name) || name.endsWith("Iterator")) {
    return /^[AEIOU]/.test(name) ? `an ${name}` : `a ${name}`;
  }
  if (name === "Number" || name === "String" || name === "Boolean" || name === "BigInt" || name === "Symbol") {
    return `a boxed ${name.toLowerCase()}`;
  }
  if (name === "SharedArrayBuffer") return "a SharedArrayBuffer";
  return `a class instance \`${name}\``;
}

function hintFor(value: object): string {
  const name = instanceName(value);
  if (name === "Promise") return hints.promise;
  if (name === "Buffer") return hints.buffer;
  if (name === "Number" || name === "String" || name === "Boolean") return hints.boxed;
  return hints.instance;
}

function describeThrown(thrown: unknown, refusal: unknown): string {
  if (isErrorLike(thrown)) return `${readText(thrown, "name", "Error")}: ${readText(thrown, "message", "")}`;
  if (typeof thrown === "function") return `${describeFunction(thrown)} was thrown`;
  if (typeof thrown === "symbol") return `${describeSymbol(thrown)} was thrown`;
  if (typeof thrown !== "object" || thrown === null) return String(thrown);
  const why = refusal instanceof WaymarkError ? ` (${refusal.message})` : "";
  return `a value that is not data was thrown${why}`;
}
