// Built-ins as they were before anything else ran: what the VM itself calls. Methods are taken off their prototypes, so
// neither an override by a workflow nor our own replacements (iterators, `bind`) can come between.

const bind = Function.prototype.bind;
const call = Function.prototype.call;

/** `method` as a function whose first argument is the receiver. */
const taken = <F>(method: unknown): F => bind.call(call, method as () => unknown) as F;

export const nativeCall = call;
export const nativeApply = Function.prototype.apply;
export const callWith = bind.call(call, call) as (f: unknown, self: unknown, ...args: unknown[]) => unknown;

export const mapEntries = taken<(map: unknown) => Iterator<[unknown, unknown]>>(Map.prototype.entries);
export const setValues = taken<(set: unknown) => Iterator<unknown>>(Set.prototype.values);
const nativeMapSize = Object.getOwnPropertyDescriptor(Map.prototype, "size")!.get;
const nativeSetSize = Object.getOwnPropertyDescriptor(Set.prototype, "size")!.get;
export const mapSize = taken<(map: unknown) => number>(nativeMapSize);
export const setSize = taken<(set: unknown) => number>(nativeSetSize);
export const mapGet = taken<<V>(map: Map<unknown, V>, key: unknown) => V | undefined>(Map.prototype.get);
export const mapSet = taken<(map: unknown, key: unknown, value: unknown) => unknown>(Map.prototype.set);
export const setAdd = taken<(set: unknown, value: unknown) => unknown>(Set.prototype.add);
export const mapIteratorNext = taken<(i: unknown) => IteratorResult<unknown>>(
  (Object.getPrototypeOf(new Map().entries()) as { next: unknown }).next,
);
export const setIteratorNext = taken<(i: unknown) => IteratorResult<unknown>>(
  (Object.getPrototypeOf(new Set().values()) as { next: unknown }).next,
);
export const TypedArray = Object.getPrototypeOf(Uint8Array) as { prototype: object };
export const typedArrayTag = taken<(o: unknown) => string | undefined>(
  Object.getOwnPropertyDescriptor(TypedArray.prototype, Symbol.toStringTag)!.get,
);
export const typedArrayLength = taken<(o: unknown) => number>(
  Object.getOwnPropertyDescriptor(TypedArray.prototype, "length")!.get,
);
export const dateValue = taken<(o: unknown) => number>(Date.prototype.getTime);
export const dateIso = taken<(o: unknown) => string>(Date.prototype.toISOString);
export const tagOf = taken<(o: unknown) => string>(Object.prototype.toString);
export const regexpSource = taken<(o: unknown) => string>(
  Object.getOwnPropertyDescriptor(RegExp.prototype, "source")!.get,
);
export const regexpFlags = taken<(o: unknown) => string>(
  Object.getOwnPropertyDescriptor(RegExp.prototype, "flags")!.get,
);
/** Throws on what is not a RegExp and reads nothing a workflow could have replaced. */
export const regexpGlobal = taken<(o: unknown) => unknown>(
  Object.getOwnPropertyDescriptor(RegExp.prototype, "global")!.get,
);
export const functionToString = taken<(f: unknown) => string>(Function.prototype.toString);
export const hasOwn = Object.hasOwn;
export const join = taken<(array: unknown, by: string) => string>(Array.prototype.join);
export const push = taken<(array: unknown, ...values: unknown[]) => number>(Array.prototype.push);

const functionPrototype = Object.getPrototypeOf(() => {}) as object;
const asyncFunction = Object.getPrototypeOf(async () => {}) as object;
const generatorFunction = Object.getPrototypeOf(function* () {}) as { prototype: object };
const asyncGeneratorFunction = Object.getPrototypeOf(async function* () {}) as { prototype: object };
/** Prototypes that have no global name. */
export const hidden = {
  functionPrototype,
  asyncFunction,
  generatorFunction,
  asyncGeneratorFunction,
  generator: generatorFunction.prototype as Record<PropertyKey, unknown>,
  asyncGenerator: asyncGeneratorFunction.prototype as Record<PropertyKey, unknown>,
  iterator: Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) as object,
  asyncIterator: Object.getPrototypeOf(asyncGeneratorFunction.prototype) as object,
  arrayIterator: Object.getPrototypeOf([][Symbol.iterator]()) as Record<PropertyKey, unknown>,
  mapIterator: Object.getPrototypeOf(new Map().entries()) as Record<PropertyKey, unknown>,
  setIterator: Object.getPrototypeOf(new Set().values()) as Record<PropertyKey, unknown>,
  stringIterator: Object.getPrototypeOf(""[Symbol.iterator]()) as Record<PropertyKey, unknown>,
  regexpStringIterator: Object.getPrototypeOf("a".matchAll(/a/g)) as Record<PropertyKey, unknown>,
};

/** Constructors whose results get a `stack` of ours where they are made. */
export const errorMakers = new Set<unknown>([
  Error,
  TypeError,
  RangeError,
  ReferenceError,
  SyntaxError,
  EvalError,
  URIError,
  AggregateError,
]);

export const nativeErrors: Readonly<Record<string, new (message?: string) => Error>> = {
  Error,
  TypeError,
  RangeError,
  ReferenceError,
  SyntaxError,
  EvalError,
  URIError,
};
