// What replaces a built-in before the realm is sealed. Four reasons, and no other: it reads the world (clock, randomness,
// time zone, language data), one call of it could exhaust memory or never end, it would run into the frozen prototypes
// where plain JavaScript would not, or an older Node lacks it. Must never hold state: everything here is shared by all
// instances of a shard.
import { WaymarkError } from "../base/failure.ts";
import { decodeValue, encodeValue, installUrl, reparented } from "../program/value.ts";
import { realmUrl, urlKind } from "./url.ts";

/** The largest results one built-in or operator may make. RangeErrors below them are the engine's own and as certain. */
export const sizes = {
  /** Characters of a string. V8 ends at 2 ** 29 - 24; a string of this size is still quick to flatten. */
  string: 2 ** 26,
  /** Elements of an array that a built-in fills, copies or walks. */
  array: 2 ** 24,
  /** Bytes of a buffer. */
  buffer: 2 ** 27,
  /** Bits of a bigint. */
  bigint: 2 ** 20,
} as const;

type Method = (this: unknown, ...args: unknown[]) => unknown;
type Table = Record<string, unknown>;
type Natives = { readonly [name: string]: Method } & {
  repeat: Method;
  padStart: Method;
  padEnd: Method;
  flatMap: Method;
  from: Method;
};

const { apply, construct } = Reflect;
const { defineProperty, getOwnPropertyDescriptor, getPrototypeOf, isExtensible, hasOwn } = Object;
const { isArray } = Array;
const { isView } = ArrayBuffer;
const { floor } = Math;
const NativeMap = Map;
const NativeSet = Set;
const NativeDate = Date;
const NativeArray = Array;
const NativeArrayBuffer = ArrayBuffer;
const toBigInt = BigInt;
const getTime = Date.prototype.getTime as unknown as Method;
const dateUtc = Date.UTC;
const dateParse = Date.parse;

/** Objects that every instance shares; filled by the seal. */
const intrinsics = new WeakSet<object>();
export const addIntrinsic = (value: object): unknown => intrinsics.add(value);
export const isIntrinsic = (value: object): boolean => intrinsics.has(value);

/**
 * Would plain JavaScript have made this property? A write that failed only because an object of the realm's own, frozen
 * here and nowhere else, holds the name further up. The caller then defines the property instead.
 */
export function isOverride(target: object, key: PropertyKey): boolean {
  if (!isExtensible(target) || hasOwn(target, key)) return false;
  for (
    let holder = getPrototypeOf(target) as object | null;
    holder !== null;
    holder = getPrototypeOf(holder) as object | null
  ) {
    const descriptor = getOwnPropertyDescriptor(holder, key);
    if (descriptor !== undefined) return intrinsics.has(holder) && "value" in descriptor;
  }
  return false;
}

/** `target[key] = value` of strict code, as if nothing were frozen. */
export function assign(target: object, key: PropertyKey, value: unknown): void {
  if (Reflect.set(target, key, value)) return;
  if (!isOverride(target, key)) throw new TypeError(`Cannot assign to property '${String(key)}' of object`);
  defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}

/** Call before `*`, `**` and `<<` on bigints; throws RangeError where the result would be too large. */
export function guardBigint(operator: "*" | "**" | "<<", left: bigint, right: bigint): void {
  if (left > -0x10000n && left < 0x10000n && right > -0x10n && right < 0x10n) return;
  let bits: number;
  if (operator === "*") bits = bitsOf(left) + bitsOf(right);
  else if (operator === "<<") bits = right <= 0n ? 0 : bitsOf(left) + Number(right);
  else bits = left === 0n || left === 1n || left === -1n || right < 0n ? 0 : bitsOf(left) * Number(right);
  if (bits > sizes.bigint) throw new RangeError(`Maximum BigInt size exceeded (${sizes.bigint} bits)`);
}

/** Call before `+` on strings. */
export function guardString(length: number): void {
  if (length > sizes.string) throw new RangeError(`Invalid string length (more than ${sizes.string} characters)`);
}

function bitsOf(value: bigint): number {
  if (value > -0x8000000000000000n && value < 0x8000000000000000n) return 64;
  return value.toString(16).length * 4;
}

/** Replaces and completes the realm's built-ins. Once, after the VM's own are in place and before the seal. */
export function wrap(global: Table): void {
  const realm = global as unknown as typeof globalThis;
  clock(realm);
  machine(realm);
  code(realm);
  strings(realm);
  arrays(realm);
  buffers(realm);
  objects(realm);
  missing(realm);
  unsupported(global);
}

// -- the world

const useNow = 'Use `now()` from "waymark", or read the clock in an action.';

function refuse(code: string, message: string, hint: string): never {
  throw new WaymarkError(code, message, { hint });
}

function clock(realm: typeof globalThis): void {
  const prototype = NativeDate.prototype;
  function RealmDate(this: unknown, ...given: unknown[]): unknown {
    if (new.target === undefined) refuse("WM104", "`Date()` reads the clock, and a workflow may not.", useNow);
    if (given.length === 0) refuse("WM104", "`new Date()` reads the clock, and a workflow may not.", useNow);
    return construct(NativeDate, timeOf(given), new.target);
  }
  defineProperty(RealmDate, "prototype", { value: prototype, writable: false, enumerable: false, configurable: false });
  describe(RealmDate, "Date", 7);
  methods(RealmDate, {
    now() {
      refuse("WM104", "`Date.now()` reads the clock, and a workflow may not.", useNow);
    },
    parse(text: unknown) {
      return parseUtc(`${text as string}`);
    },
    UTC: dateUtc,
  });
  describe((RealmDate as unknown as { UTC: object }).UTC, "UTC", 7);
  defineProperty(prototype, "constructor", { value: RealmDate, writable: true, enumerable: false, configurable: true });
  hide(realm, "Date", RealmDate);
  // The process's time zone is the machine's: an instance moves between machines, so its zone is always UTC.
  for (const part of ["FullYear", "Month", "Date", "Day", "Hours", "Minutes", "Seconds", "Milliseconds"]) {
    alias(prototype, `get${part}`, `getUTC${part}`);
    if (part !== "Day") alias(prototype, `set${part}`, `setUTC${part}`);
  }
  const year = prototype.getUTCFullYear as unknown as Method;
  const setYear = prototype.setUTCFullYear as unknown as Method;
  const iso = prototype.toUTCString as unknown as Method;
  methods(prototype, {
    getTimezoneOffset() {
      return 0 * (apply(getTime, this, []) as number);
    },
    getYear() {
      return (apply(year, this, []) as number) - 1900;
    },
    setYear(value: unknown) {
      const number = Number(value);
      const whole = Math.trunc(number);
      const time = apply(getTime, this, []) as number;
      if (Number.isNaN(time)) apply(setTimeOf, this, [0]);
      return apply(setYear, this, [whole >= 0 && whole <= 99 ? 1900 + whole : number]);
    },
    toString() {
      const text = dateWords(apply(iso, this, []) as string);
      return text === null ? "Invalid Date" : `${text.day} ${text.time} GMT+0000 (Coordinated Universal Time)`;
    },
    toDateString() {
      const text = dateWords(apply(iso, this, []) as string);
      return text === null ? "Invalid Date" : text.day;
    },
    toTimeString() {
      const text = dateWords(apply(iso, this, []) as string);
      return text === null ? "Invalid Date" : `${text.time} GMT+0000 (Coordinated Universal Time)`;
    },
  });
  methods(realm.Math, {
    random() {
      refuse(
        "WM105",
        "`Math.random()` is random, and a workflow must give the same answer after a restart.",
        'Use `random()` or `uuid()` from "waymark", or make the value in an action.',
      );
    },
  });
}

const setTimeOf = Date.prototype.setTime as unknown as Method;

/** Arguments for the native constructor that mean UTC where they would have meant the process's zone. */
function timeOf(given: unknown[]): unknown[] {
  if (given.length > 1) return [apply(dateUtc as unknown as Method, null, given)];
  const only = given[0];
  if (typeof only === "string") return [parseUtc(only)];
  if (typeof only !== "object" || only === null) return given;
  try {
    return [apply(getTime, only, [])];
  } catch {
    const primitive = primitiveOf(only);
    return [typeof primitive === "string" ? parseUtc(primitive) : primitive];
  }
}

/** ToPrimitive without a hint, for the rare `new Date(object)`. */
function primitiveOf(value: object): unknown {
  const exotic = (value as Record<symbol, unknown>)[Symbol.toPrimitive];
  if (exotic !== undefined && exotic !== null) {
    const result = apply(exotic as Method, value, ["default"]);
    if (typeof result === "object" && result !== null) throw new TypeError("Cannot convert object to primitive value");
    return result;
  }
  for (const name of ["valueOf", "toString"] as const) {
    const method = (value as Record<string, unknown>)[name];
    if (typeof method !== "function") continue;
    const result = apply(method as Method, value, []) as unknown;
    if (typeof result !== "object" || result === null) return result;
  }
  throw new TypeError("Cannot convert object to primitive value");
}

const localIso = /^(?:[+-]\d{2})?\d{4}-\d{2}(?:-\d{2})?T\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?$/;
const dateIso = /^(?:[+-]\d{2})?\d{4}(?:-\d{2}(?:-\d{2})?)?$/;
const zoned =
  /(?:Z|UTC?|GMT|[ECMP][SD]T)(?:[+-]\d{1,2}:?\d{0,2})?\s*(?:\(.*\))?\s*$|\d:\d{2}\S*\s*[+-]\d{1,2}:?\d{0,2}\s*(?:\(.*\))?\s*$/i;

/** Date.parse with UTC for texts that name no zone. */
function parseUtc(text: string): number {
  const trimmed = text.trim();
  if (dateIso.test(trimmed) || zoned.test(trimmed)) return dateParse(text);
  return dateParse(localIso.test(trimmed) ? `${trimmed}Z` : `${text} UTC`);
}

/** "Thu, 01 Jan 1970 00:00:00 GMT" as the words of toString. */
function dateWords(text: string): { day: string; time: string } | null {
  const found = /^(\w+), (\d+) (\w+) (-?\d+) ([\d:]+)/.exec(text);
  return found === null ? null : { day: `${found[1]} ${found[3]} ${found[2]} ${found[4]}`, time: found[5] as string };
}

/** What depends on the language data of the machine. */
function machine(realm: typeof globalThis): void {
  const locale = (holder: string, name: string, instead: string): void => {
    const prototype =
      holder === "%TypedArray%"
        ? getPrototypeOf(realm.Uint8Array.prototype)
        : (realm as unknown as Record<string, { prototype: object }>)[holder]?.prototype;
    const native = getOwnPropertyDescriptor(prototype as object, name)?.value as Method;
    const made = {
      [name]() {
        refuse("WM109", `\`${name}()\` depends on the language data of the machine it runs on.`, instead);
      },
    }[name] as Method;
    describe(made, name, native.length);
    hide(prototype as object, name, made);
  };
  const format = "Format it in an action, or spell the format out.";
  for (const name of ["toLocaleString", "toLocaleDateString", "toLocaleTimeString"]) {
    locale("Date", name, "Use `toISOString()`, or format it in an action.");
  }
  for (const holder of ["Number", "BigInt", "Array", "%TypedArray%"]) locale(holder, "toLocaleString", format);
  locale("String", "localeCompare", "Compare with `<` and `>`, or sort in an action.");
  locale("String", "toLocaleLowerCase", "Use `toLowerCase()`.");
  locale("String", "toLocaleUpperCase", "Use `toUpperCase()`.");
}

/** Every way to a constructor of functions leads to one that refuses. */
function code(realm: typeof globalThis): void {
  function RealmFunction(): never {
    refuse("WM108", "`Function()` runs code that is not part of the compiled program.", "Write the function out.");
  }
  defineProperty(RealmFunction, "prototype", {
    value: Function.prototype,
    writable: false,
    enumerable: false,
    configurable: false,
  });
  describe(RealmFunction, "Function", 1);
  for (const prototype of [
    Function.prototype,
    getPrototypeOf(async () => {}),
    getPrototypeOf(function* () {}),
    getPrototypeOf(async function* () {}),
  ]) {
    defineProperty(prototype, "constructor", {
      value: RealmFunction,
      writable: false,
      enumerable: false,
      configurable: true,
    });
  }
  hide(realm, "Function", RealmFunction);
  // One poison pill on every Node: newer ones have a pair for each of the two names.
  const args = (function (..._: unknown[]) {
    // biome-ignore lint/complexity/noArguments: the pill is reached through it
    return arguments;
  })();
  const pill = getOwnPropertyDescriptor(args, "callee")?.get as () => unknown;
  for (const name of ["arguments", "caller"]) {
    defineProperty(Function.prototype, name, {
      get: pill,
      set: pill,
      enumerable: false,
      configurable: true,
    } as PropertyDescriptor);
  }
}

// -- size

function strings(realm: typeof globalThis): void {
  const prototype = realm.String.prototype;
  const native = natives(prototype);
  const subject = (value: unknown): string => {
    if (value === undefined || value === null) throw new TypeError("String method called on null or undefined");
    return `${value as string}`;
  };
  methods(prototype, {
    repeat(count: unknown) {
      const text = subject(this);
      const times = Number(count);
      if (times >= 1) guardString(text.length * times);
      return apply(native.repeat, text, [times]);
    },
    padStart(length: unknown, ...fill: unknown[]) {
      const most = Number(length);
      guardString(most);
      return apply(native.padStart, this, [most, ...fill]);
    },
    padEnd(length: unknown, ...fill: unknown[]) {
      const most = Number(length);
      guardString(most);
      return apply(native.padEnd, this, [most, ...fill]);
    },
    concat(...rest: unknown[]) {
      let text = subject(this);
      for (let index = 0; index < rest.length; index++) {
        const next = `${rest[index] as string}`;
        guardString(text.length + next.length);
        text += next;
      }
      return text;
    },
  });
  describe(prototype.concat, "concat", 1);
  describe(realm.String.prototype.repeat, "repeat", 1);
  // A replacement may repeat the whole subject for each match: what it can come to is bounded before it is tried.
  for (const name of ["replace", "replaceAll"] as const) {
    guarded(prototype, name, (self, args) => {
      const text = typeof self === "string" ? self : "";
      const by = args[1];
      if (typeof by !== "string" || text.length < 4096) return;
      const single = name === "replace" && typeof args[0] === "string";
      const each = by.length + (by.includes("$") ? (by.split("$").length - 1) * text.length : 0);
      const most = single ? 1 : text.length + 1;
      if (text.length + each * most > sizes.string * 64) guardString(text.length + each * most);
    });
  }
  guarded(prototype, "split", (self) => {
    if (typeof self === "string") guardArray(self.length, "split");
  });
  const raw = realm.String.raw as unknown as Method;
  methods(realm.String, {
    raw(template: unknown, ...values: unknown[]) {
      guardLike((template as { raw?: unknown } | null | undefined)?.raw, "String.raw");
      return apply(raw, realm.String, [template, ...values]);
    },
  });
  const bigint = realm.BigInt;
  function RealmBigInt(this: unknown, value: unknown): bigint {
    if (new.target !== undefined) throw new TypeError("BigInt is not a constructor");
    const primitive = typeof value === "object" && value !== null ? numberPrimitive(value) : value;
    if (typeof primitive === "string" && primitive.length > sizes.bigint / 4)
      guardBigint("<<", 1n, toBigInt(primitive.length * 4));
    return toBigInt(primitive as string);
  }
  takeOver(realm, "BigInt", bigint, RealmBigInt);
  for (const name of ["asIntN", "asUintN"] as const) {
    guarded(RealmBigInt as unknown as object, name, (_self, args) => {
      const bits = Number(args[0]);
      args[0] = bits;
      if (bits > sizes.bigint && typeof args[1] === "bigint" && args[1] < 0n)
        guardBigint("<<", 1n, toBigInt(floor(bits)));
    });
  }
}

/** ToPrimitive with hint "number". */
function numberPrimitive(value: object): unknown {
  const exotic = (value as Record<symbol, unknown>)[Symbol.toPrimitive];
  if (exotic === undefined || exotic === null) return primitiveOf(value);
  const result = apply(exotic as Method, value, ["number"]);
  if (typeof result === "object" && result !== null) throw new TypeError("Cannot convert object to primitive value");
  return result;
}

function guardArray(length: number, name: string): void {
  if (length > sizes.array) throw new RangeError(`${name}: more than ${sizes.array} elements`);
}

/**
 * The length of what a generic array method is called on. A native loop over 2 ** 53 elements can only be stopped by
 * killing the process, and a length that is computed could differ between this look and the native's.
 */
function guardLike(self: unknown, name: string): number {
  if (isArray(self)) {
    const { length } = self;
    guardArray(length, name);
    return length;
  }
  if (typeof self === "string") {
    guardArray(self.length, name);
    return self.length;
  }
  if ((typeof self !== "object" && typeof self !== "function") || self === null || isView(self)) return 0;
  for (let holder: object | null = self; holder !== null; holder = getPrototypeOf(holder) as object | null) {
    const descriptor = getOwnPropertyDescriptor(holder, "length");
    if (descriptor === undefined) continue;
    const { value } = descriptor;
    if (!("value" in descriptor) || (typeof value === "object" && value !== null) || typeof value === "function") {
      throw new RangeError(`${name}: the length of an array-like must be plain data`);
    }
    const length = Number(value);
    guardArray(length, name);
    return length > 0 ? floor(length) : 0;
  }
  return 0;
}

/** Methods of Array.prototype whose work or result grows with the length of `this`. */
const walkers = (
  "copyWithin every fill filter find findIndex findLast findLastIndex forEach includes indexOf join lastIndexOf map reduce " +
  "reduceRight reverse shift slice some sort splice toReversed toSorted toSpliced toString unshift with"
).split(" ");

function arrays(realm: typeof globalThis): void {
  const prototype = realm.Array.prototype as unknown as object;
  for (const name of walkers) {
    guarded(prototype, name, (self, args) => {
      const length = guardLike(self, name);
      if (name !== "join") return;
      const by = args[0];
      if (by === undefined) return;
      const separator = typeof by === "string" ? by : `${by as string}`;
      args[0] = separator;
      guardString(length * separator.length);
    });
  }
  guarded(getPrototypeOf(realm.Uint8Array.prototype) as object, "join", (self, args) => {
    if (!isView(self) || args[0] === undefined) return;
    const separator = typeof args[0] === "string" ? args[0] : `${args[0] as string}`;
    args[0] = separator;
    guardString((self as unknown as { length: number }).length * (separator.length + 1));
  });
  guarded(prototype, "concat", (self, args) => {
    let length = isArray(self) ? guardLike(self, "concat") : 1;
    for (let index = 0; index < args.length; index++) {
      const each = args[index];
      length += typeof each === "object" && each !== null ? guardLike(each, "concat") : 1;
      guardArray(length, "concat");
    }
  });
  guarded(prototype, "flat", (self, args) => {
    guardLike(self, "flat");
    const depth = args[0] === undefined ? 1 : Number(args[0]);
    args[0] = depth;
    if (isArray(self)) flatLength(self, depth, new NativeMap());
  });
  const flatMap = natives(prototype).flatMap;
  methods(prototype, {
    flatMap(each: unknown, self: unknown) {
      guardLike(this, "flatMap");
      if (typeof each !== "function") return apply(flatMap, this, [each, self]);
      let total = 0;
      const counted = function (this: unknown, ...args: unknown[]): unknown {
        const made = apply(each as Method, this, args);
        total += isArray(made) ? made.length : 1;
        guardArray(total, "flatMap");
        return made;
      };
      return apply(flatMap, this, [counted, self]);
    },
  });
  describe((prototype as { flatMap: object }).flatMap, "flatMap", 1);

  function RealmArray(this: unknown, ...given: unknown[]): unknown {
    if (given.length === 1 && typeof given[0] === "number") guardArray(given[0], "Array");
    return construct(NativeArray, given, new.target ?? RealmArray);
  }
  takeOver(realm, "Array", NativeArray, RealmArray);
  // Undefined means "make a plain array", which is what Array would, and natives then need not call this constructor.
  const species = {
    get [Symbol.species](): unknown {
      return (this as unknown) === RealmArray ? undefined : this;
    },
  };
  const descriptor = getOwnPropertyDescriptor(species, Symbol.species) as PropertyDescriptor;
  defineProperty(RealmArray, Symbol.species, {
    get: descriptor.get,
    enumerable: false,
    configurable: true,
  } as PropertyDescriptor);
  const from = natives(RealmArray as unknown as object).from;
  methods(RealmArray, {
    from(items: unknown, ...rest: unknown[]) {
      if (typeof items === "string" || !isIterable(items)) guardLike(items, "Array.from");
      return apply(from, this === RealmArray ? NativeArray : this, [items, ...rest]);
    },
  });
}

function isIterable(value: unknown): boolean {
  return value !== undefined && value !== null && (value as Record<symbol, unknown>)[Symbol.iterator] !== undefined;
}

/** How long `list.flat(depth)` is. Each array is counted once at each depth, however often it is shared. */
function flatLength(list: unknown[], depth: number, known: Map<number, Map<object, number>>): number {
  let counts = known.get(depth);
  if (counts === undefined) {
    counts = new NativeMap<object, number>();
    known.set(depth, counts);
  }
  const counted = counts.get(list);
  if (counted !== undefined) {
    if (counted < 0) throw new RangeError("flat: an array contains itself");
    return counted;
  }
  counts.set(list, -1);
  const { length } = list;
  guardArray(length, "flat");
  let total = 0;
  for (let index = 0; index < length; index++) {
    const each = getOwnPropertyDescriptor(list, index)?.value as unknown;
    total += isArray(each) && depth >= 1 ? flatLength(each, depth - 1, known) : 1;
    guardArray(total, "flat");
  }
  counts.set(list, total);
  return total;
}

function buffers(realm: typeof globalThis): void {
  const sized = (given: unknown[], bytes: number, name: string): void => {
    const [first] = given;
    if (typeof first === "object" && first !== null) {
      if (!isIterable(first)) guardLike(first, name);
      return;
    }
    const length = Number(first);
    given[0] = length;
    if (length * bytes > sizes.buffer)
      throw new RangeError(`Invalid typed array length: more than ${sizes.buffer} bytes`);
  };
  for (const name of [
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
  ] as const) {
    const native = realm[name] as unknown as (new (...args: unknown[]) => object) & { BYTES_PER_ELEMENT: number };
    const bytes = native.BYTES_PER_ELEMENT;
    const made = function (this: unknown, ...given: unknown[]): unknown {
      if (new.target === undefined) throw new TypeError(`Constructor ${name} requires 'new'`);
      if (given.length > 0) sized(given, bytes, name);
      return construct(native, given, new.target);
    };
    takeOver(realm, name, native, made);
  }
  const made = function (this: unknown, ...given: unknown[]): unknown {
    if (new.target === undefined) throw new TypeError("Constructor ArrayBuffer requires 'new'");
    sized([given[0] === undefined ? 0 : given[0]], 1, "ArrayBuffer");
    if (given[1] !== undefined) {
      const most = (given[1] as { maxByteLength?: unknown } | null)?.maxByteLength;
      if (most !== undefined) {
        sized([most], 1, "ArrayBuffer");
        given[1] = { maxByteLength: Number(most) };
      }
    }
    given[0] = given[0] === undefined ? undefined : Number(given[0]);
    return construct(NativeArrayBuffer, given, new.target);
  };
  takeOver(realm, "ArrayBuffer", NativeArrayBuffer, made);
}

// -- frozen prototypes

function objects(realm: typeof globalThis): void {
  const set = realm.Reflect.set;
  methods(realm.Reflect, {
    set(target: object, key: PropertyKey, value: unknown, ...receiver: unknown[]) {
      // A receiver that everyone shares would be written to through its frozen self: natives refuse that on their own.
      if (apply(set as unknown as Method, undefined, [target, key, value, ...receiver]) === true) return true;
      if (receiver.length > 0 && receiver[0] !== target) return false;
      const name = typeof key === "symbol" ? key : `${String(key)}`;
      if (!isOverride(target, name)) return false;
      return realm.Reflect.defineProperty(target, name, {
        value,
        writable: true,
        enumerable: true,
        configurable: true,
      });
    },
  });
  describe(realm.Reflect.set, "set", 3);
  methods(realm.Object, {
    assign(target: unknown, ...sources: unknown[]) {
      if (target === undefined || target === null) throw new TypeError("Cannot convert undefined or null to object");
      const to = Object(target) as object;
      for (let index = 0; index < sources.length; index++) {
        const source = sources[index];
        if (source === undefined || source === null) continue;
        const from = Object(source) as Record<PropertyKey, unknown>;
        const keys = ownKeys(from);
        for (let each = 0; each < keys.length; each++) {
          const key = keys[each] as string;
          if (getOwnPropertyDescriptor(from, key)?.enumerable === true) assign(to, key, from[key]);
        }
      }
      return to;
    },
  });
  describe(realm.Object.assign, "assign", 2);
  const setPrototypeOf = realm.Object.setPrototypeOf as unknown as Method;
  const reflected = realm.Reflect.setPrototypeOf as unknown as Method;
  methods(realm.Object, {
    setPrototypeOf(target: unknown, prototype: unknown) {
      const result = apply(setPrototypeOf, undefined, [target, prototype]);
      mark(result);
      return result;
    },
  });
  methods(realm.Reflect, {
    setPrototypeOf(target: object, prototype: object | null) {
      const result = apply(reflected, undefined, [target, prototype]) as boolean;
      if (result) mark(target);
      return result;
    },
  });
  const accessor = getOwnPropertyDescriptor(realm.Object.prototype, "__proto__") as PropertyDescriptor;
  const native = accessor.set as Method;
  const setter = getOwnPropertyDescriptor(
    {
      set ["__proto__"](prototype: unknown) {
        apply(native, this, [prototype]);
        mark(this);
      },
    },
    "__proto__",
  )?.set as Method;
  defineProperty(realm.Object.prototype, "__proto__", {
    get: accessor.get,
    set: setter,
    enumerable: false,
    configurable: true,
  } as PropertyDescriptor);
}

const { ownKeys } = Reflect;

function mark(value: unknown): void {
  if (typeof value === "object" && value !== null) reparented.add(value);
}

// -- what an older Node lacks, so that every machine offers the same

function missing(realm: typeof globalThis): void {
  for (const name of ["dispose", "asyncDispose"] as const) {
    if (!hasOwn(realm.Symbol, name)) {
      defineProperty(realm.Symbol, name, {
        value: Symbol(`Symbol.${name}`),
        writable: false,
        enumerable: false,
        configurable: false,
      });
    }
  }
  absent(realm.Object, {
    groupBy(items: Iterable<unknown>, callback: (item: unknown, index: number) => PropertyKey) {
      const groups = Object.create(null) as Record<PropertyKey, unknown[]>;
      needCallback(callback);
      let index = 0;
      for (const item of items) {
        const given = callback(item, index++);
        const key = typeof given === "symbol" ? given : `${given}`;
        const group = groups[key];
        if (group === undefined) groups[key] = [item];
        else group[group.length] = item;
      }
      return groups;
    },
  });
  absent(realm.Map, {
    groupBy(items: Iterable<unknown>, callback: (item: unknown, index: number) => unknown) {
      const groups = new NativeMap<unknown, unknown[]>();
      needCallback(callback);
      let index = 0;
      for (const item of items) {
        const key = callback(item, index++);
        const group = apply(mapGet, groups, [key]) as unknown[] | undefined;
        if (group === undefined) apply(mapSet, groups, [key, [item]]);
        else group[group.length] = item;
      }
      return groups;
    },
  });
  absent(realm.Set.prototype, setMethods);
  const close = {
    [realm.Symbol.dispose](this: { return?: unknown }): void {
      const method = this.return;
      if (method !== undefined && method !== null) apply(method as Method, this, []);
    },
  }[realm.Symbol.dispose] as unknown as Method;
  describe(close, "[Symbol.dispose]", 0);
  hide(iteratorPrototype, realm.Symbol.dispose, close);
  if (!hasOwn(realm, "SuppressedError")) {
    const made = function SuppressedError(
      this: unknown,
      error: unknown,
      suppressed: unknown,
      message?: unknown,
    ): unknown {
      const result = construct(Error, message === undefined ? [] : [message], new.target ?? made) as object;
      hide(result, "error", error);
      hide(result, "suppressed", suppressed);
      return result;
    };
    const prototype = Object.create(Error.prototype) as object;
    hide(prototype, "constructor", made);
    hide(prototype, "message", "");
    hide(prototype, "name", "SuppressedError");
    defineProperty(made, "prototype", { value: prototype, writable: false, enumerable: false, configurable: false });
    Object.setPrototypeOf(made, Error);
    describe(made, "SuppressedError", 3);
    hide(realm, "SuppressedError", made);
  }
}

const mapGet = Map.prototype.get as unknown as Method;
const mapSet = Map.prototype.set as unknown as Method;
const setHas = Set.prototype.has as unknown as Method;
const setAdd = Set.prototype.add as unknown as Method;
const setDelete = Set.prototype.delete as unknown as Method;
const setSize = getOwnPropertyDescriptor(Set.prototype, "size")?.get as unknown as Method;
const setForEach = Set.prototype.forEach as unknown as Method;

function needCallback(callback: unknown): void {
  if (typeof callback !== "function") throw new TypeError(`${String(callback)} is not a function`);
}

interface SetRecord {
  size: number;
  has(value: unknown): boolean;
  /** Calls back for each key until it answers false; a stopped iterator is closed. */
  each(visit: (key: unknown) => boolean): void;
}

/** GetSetRecord of the specification. */
function setRecord(other: unknown): SetRecord {
  if ((typeof other !== "object" && typeof other !== "function") || other === null) {
    throw new TypeError("The argument must be a set: an object with size, has and keys");
  }
  const like = other as { size?: unknown; has?: unknown; keys?: unknown };
  const size = Number(like.size);
  if (Number.isNaN(size)) throw new TypeError("The 'size' property must be a number");
  const whole = Math.trunc(size);
  if (whole < 0) throw new RangeError(`'${whole}' is an invalid size`);
  const { has } = like;
  if (typeof has !== "function") throw new TypeError("The 'has' property must be a function");
  const { keys } = like;
  if (typeof keys !== "function") throw new TypeError("The 'keys' property must be a function");
  return {
    size: whole,
    has: (value) => Boolean(apply(has as Method, other, [value])),
    each(visit) {
      const iterator = apply(keys as Method, other, []) as { next: Method; return?: Method };
      if ((typeof iterator !== "object" && typeof iterator !== "function") || iterator === null) {
        throw new TypeError("keys() must give an iterator");
      }
      const { next } = iterator;
      for (;;) {
        const step = apply(next, iterator, []) as { done?: unknown; value: unknown };
        if ((typeof step !== "object" && typeof step !== "function") || step === null) {
          throw new TypeError("An iterator result must be an object");
        }
        if (step.done) return;
        if (!visit(step.value)) {
          const close = iterator.return;
          if (close !== undefined && close !== null) apply(close, iterator, []);
          return;
        }
      }
    },
  };
}

const sizeOfSet = (set: unknown): number => apply(setSize, set, []) as number;
const isIn = (set: unknown, value: unknown): boolean => apply(setHas, set, [value]) === true;

function members(set: unknown): unknown[] {
  const list: unknown[] = [];
  apply(setForEach, set, [
    (value: unknown) => {
      list[list.length] = value;
    },
  ]);
  return list;
}

function setOf(list: readonly unknown[]): Set<unknown> {
  const made = new NativeSet<unknown>();
  for (let index = 0; index < list.length; index++) apply(setAdd, made, [list[index]]);
  return made;
}

const setMethods = {
  union(this: unknown, other: unknown) {
    sizeOfSet(this);
    const record = setRecord(other);
    const made = setOf(members(this));
    record.each((key) => {
      apply(setAdd, made, [key]);
      return true;
    });
    return made;
  },
  intersection(this: unknown, other: unknown) {
    sizeOfSet(this);
    const record = setRecord(other);
    const made = setOf([]);
    if (sizeOfSet(this) <= record.size) {
      for (const value of plain(members(this)))
        if (record.has(value) && isIn(this, value)) apply(setAdd, made, [value]);
    } else {
      record.each((key) => {
        if (isIn(this, key)) apply(setAdd, made, [key]);
        return true;
      });
    }
    return made;
  },
  difference(this: unknown, other: unknown) {
    sizeOfSet(this);
    const record = setRecord(other);
    const made = setOf(members(this));
    if (sizeOfSet(this) <= record.size) {
      for (const value of plain(members(this))) if (record.has(value)) apply(setDelete, made, [value]);
    } else {
      record.each((key) => {
        apply(setDelete, made, [key]);
        return true;
      });
    }
    return made;
  },
  symmetricDifference(this: unknown, other: unknown) {
    sizeOfSet(this);
    const record = setRecord(other);
    const made = setOf(members(this));
    record.each((key) => {
      if (isIn(this, key)) apply(setDelete, made, [key]);
      else apply(setAdd, made, [key]);
      return true;
    });
    return made;
  },
  isSubsetOf(this: unknown, other: unknown) {
    sizeOfSet(this);
    const record = setRecord(other);
    if (sizeOfSet(this) > record.size) return false;
    for (const value of plain(members(this))) if (!record.has(value)) return false;
    return true;
  },
  isSupersetOf(this: unknown, other: unknown) {
    sizeOfSet(this);
    const record = setRecord(other);
    if (sizeOfSet(this) < record.size) return false;
    let answer = true;
    record.each((key) => {
      answer = isIn(this, key);
      return answer;
    });
    return answer;
  },
  isDisjointFrom(this: unknown, other: unknown) {
    sizeOfSet(this);
    const record = setRecord(other);
    if (sizeOfSet(this) <= record.size) {
      for (const value of plain(members(this))) if (record.has(value)) return false;
      return true;
    }
    let answer = true;
    record.each((key) => {
      answer = !isIn(this, key);
      return answer;
    });
    return answer;
  },
};

/** The list itself: `for of` over it goes through the realm's array iterator, which is the VM's and as good. */
const plain = (list: unknown[]): unknown[] => list;

// -- what is not here yet, by name

function unsupported(global: Table): void {
  const later = (name: string, instead: string): void => {
    const made = function (this: unknown): never {
      refuse("WM102", `\`${name}\` is not available in a workflow yet.`, instead);
    };
    describe(made, name, 0);
    defineProperty(made, "prototype", { value: undefined, writable: false, enumerable: false, configurable: false });
    hide(global, name, made);
  };
  later("Proxy", "Write the object out, or use a class with accessors.");
  methods(global.Proxy as object, {
    revocable() {
      refuse(
        "WM102",
        "`Proxy.revocable` is not available in a workflow yet.",
        "Write the object out, or use a class with accessors.",
      );
    },
  });
  // The engine's helpers make iterators that cannot be written to a snapshot, and Node 20 has none.
  later("Iterator", "Use a generator.");
  for (const name of [
    "drop",
    "every",
    "filter",
    "find",
    "flatMap",
    "forEach",
    "map",
    "reduce",
    "some",
    "take",
    "toArray",
  ]) {
    refuser(iteratorPrototype, name, `\`iterator.${name}()\``, "Make an array of it first: `[...iterator]`.");
  }
  const log = global.console;
  if (typeof log === "object" && log !== null) {
    for (const name of "assert count countReset dir group groupCollapsed groupEnd table time timeEnd timeLog".split(
      " ",
    )) {
      if (!hasOwn(log, name)) refuser(log, name, `\`console.${name}()\``, "Use `console.log()`.");
    }
  }
  hide(global, "URL", realmUrl);
  installUrl(urlKind);
  methods(global, {
    structuredClone(value: unknown) {
      return decodeValue(encodeValue(value, { what: "structuredClone: the value" }));
    },
  });
}

function refuser(holder: object, name: string, what: string, instead: string): void {
  const made = {
    [name]() {
      refuse("WM102", `${what} is not available in a workflow yet.`, instead);
    },
  }[name] as Method;
  hide(holder, name, made);
}

const iteratorPrototype = getPrototypeOf(getPrototypeOf([][Symbol.iterator]())) as object;

// -- how to replace

function natives(holder: object): Natives {
  const found: Record<string, Method> = {};
  for (const key of Object.getOwnPropertyNames(holder)) {
    const value = getOwnPropertyDescriptor(holder, key)?.value as unknown;
    if (typeof value === "function") found[key] = value as Method;
  }
  return found as Natives;
}

function hide(holder: object, key: PropertyKey, value: unknown): void {
  defineProperty(holder, key, { value, writable: true, enumerable: false, configurable: true });
}

function describe(made: object, name: string, length: number): void {
  defineProperty(made, "name", { value: name, writable: false, enumerable: false, configurable: true });
  defineProperty(made, "length", { value: length, writable: false, enumerable: false, configurable: true });
}

/** Installs the methods of a literal: shorthand methods, so that they have no prototype and refuse `new`. */
function methods(holder: object, table: Record<string, unknown> & ThisType<unknown>): void {
  for (const name of Object.getOwnPropertyNames(table)) hide(holder, name, table[name]);
}

function absent(holder: object, table: Record<string, unknown> & ThisType<unknown>): void {
  for (const name of Object.getOwnPropertyNames(table)) if (!hasOwn(holder, name)) hide(holder, name, table[name]);
}

function alias(holder: object, name: string, native: string): void {
  const method = getOwnPropertyDescriptor(holder, native)?.value as Method;
  guardedBy(holder, name, method, null);
}

/** The same method after a look at its receiver and arguments, which the look may replace. */
function guarded(holder: object, name: string, look: (self: unknown, args: unknown[]) => void): void {
  guardedBy(holder, name, getOwnPropertyDescriptor(holder, name)?.value as Method, look);
}

function guardedBy(
  holder: object,
  name: string,
  native: Method,
  look: ((self: unknown, args: unknown[]) => void) | null,
): void {
  const made = {
    [name](...args: unknown[]) {
      if (look !== null) look(this, args);
      return apply(native, this, args);
    },
  }[name] as Method;
  describe(made, name, native.length);
  hide(holder, name, made);
}

/** Puts our constructor where the native was, over the same prototype and with the same statics. */
function takeOver(realm: typeof globalThis, name: string, native: object, made: object): void {
  const prototype = getOwnPropertyDescriptor(native, "prototype")?.value as object;
  for (const key of ownKeys(native)) {
    if (key === "prototype" || key === "name" || key === "length") continue;
    defineProperty(made, key, getOwnPropertyDescriptor(native, key) as PropertyDescriptor);
  }
  defineProperty(made, "prototype", { value: prototype, writable: false, enumerable: false, configurable: false });
  describe(made, name, (native as { length: number }).length);
  Object.setPrototypeOf(made, getPrototypeOf(native) as object);
  hide(prototype, "constructor", made);
  hide(realm, name, made);
}
