// The seal: what keeps a workflow inside. It walks from the allow-list (`globals.ts`) and from one specimen of everything
// that has no name, deletes every property the list does not name, and freezes the rest. Isolation is then a fact about a
// graph, and `auditRealm` proves it by walking again: no function outside the list, nothing that is not frozen. A filter in
// the interpreter's loop cannot do this: values move between built-ins without ever entering a register.
import { WaymarkError } from "../base/failure.ts";
import { refuseMutation } from "../program/value.ts";
import { allowed, plainGlobals, refused } from "./globals.ts";
import { addIntrinsic } from "./wrappers.ts";

const { defineProperty, freeze, getOwnPropertyDescriptor, getPrototypeOf, isFrozen } = Object;
const { ownKeys, deleteProperty } = Reflect;
const NativeMap = Map;
const NativeSet = Set;
/** Specimens are made with what was there at the start: the VM's own iterators are reached by name as well. */
const symbols = Symbol as unknown as Record<string, symbol>;

/** What else a workflow can reach, supplied by whoever made it: hidden prototypes of the VM's own. */
export interface Ours {
  /** Objects by a name in percent signs. */
  roots?: Readonly<Record<string, object>>;
  /** Rows for them, as in `globals.ts`. */
  rows?: Readonly<Record<string, string>>;
  /** Names on the global object that must stay: the script's own. No workflow can reach the global object. */
  keep?: readonly string[];
}

export interface Audit {
  /** Functions found. */
  functions: number;
  /** Objects found, functions included. */
  objects: number;
  /** What is wrong, by path. Empty, or the realm must not be used. */
  violations: string[];
  /** Names of the list that the realm lacks. */
  missing: string[];
}

interface Sealed {
  globals: Map<string, unknown>;
  /** Every object of the realm by its first path. */
  names: Map<object, string>;
  missing: string[];
  rows: Readonly<Record<string, string>>;
}

let sealed: Sealed | null = null;

/** The globals a program may name: the only way from a name to a value. */
export function realmGlobals(): ReadonlyMap<string, unknown> {
  if (sealed === null) throw new Error("The realm is not sealed");
  return sealed.globals;
}

/** The path of an object of the realm (`Array.prototype.map`), for snapshots and messages; undefined for any other. */
export function intrinsicName(value: object): string | undefined {
  return sealed?.names.get(value);
}

/** Every object of the realm by name, in the order of the list: the table of a snapshot. */
export function intrinsicNames(): ReadonlyMap<object, string> {
  if (sealed === null) throw new Error("The realm is not sealed");
  return sealed.names;
}

/**
 * Seals the realm this script runs in. After the VM's own built-ins and `wrap`. Throws if anything is left that the list
 * does not name.
 */
export function seal(global: object, ours: Ours = {}): void {
  const rows = { ...allowed, ...ours.rows };
  const globals = new NativeMap<string, unknown>();
  const roots = new NativeMap<string, object>();
  for (const name of [...Object.keys(allowed), ...plainGlobals, ...refused]) {
    if (name.includes(".") || name.startsWith("%") || hidden.has(name)) continue;
    const value = getOwnPropertyDescriptor(global, name)?.value as unknown;
    if (value === undefined && name !== "undefined") continue;
    globals.set(name, value);
    if (isObject(value)) roots.set(name, value);
  }
  for (const [name, value] of specimens()) if (!has(roots, value)) roots.set(name, value);
  for (const name of Object.keys(ours.roots ?? {})) roots.set(name, ours.roots?.[name] as object);
  const names = nameRows(rows, roots);
  const violations: string[] = [];
  const missing: string[] = [];
  for (const name of Object.keys(rows)) {
    if (!name.includes(".") && !name.startsWith("%") && !hidden.has(name) && !globals.has(name)) missing.push(name);
  }
  for (const name of plainGlobals) if (!globals.has(name)) missing.push(name);
  // The list grows while it is walked: functions found on the way are named by where they were found.
  const queue = [...names.keys()];
  for (let index = 0; index < queue.length; index++) {
    const object = queue[index] as object;
    const path = names.get(object) as string;
    prune(object, path, rows, violations, missing);
    for (const [key, value] of edges(object)) {
      if (names.has(value)) continue;
      names.set(value, key === "" ? `${path}.%prototype%` : `${path}.${key}`);
      if (typeof value !== "function") violations.push(`${names.get(value)} is an object without a row`);
      queue.push(value);
    }
  }
  for (const object of queue) {
    freeze(object);
    addIntrinsic(object);
  }
  const keep = new NativeSet([...globals.keys(), ...(ours.keep ?? [])]);
  for (const key of ownKeys(global)) if (typeof key !== "string" || !keep.has(key)) deleteProperty(global, key);
  if (violations.length > 0) throw new Error(`The realm cannot be sealed: ${violations.slice(0, 20).join("; ")}`);
  sealed = { globals, names, missing, rows };
}

/** Walks the sealed realm again, breadth first, from every global and fresh specimens. */
export function auditRealm(): Audit {
  if (sealed === null) throw new Error("The realm is not sealed");
  const { names, rows, missing } = sealed;
  const violations: string[] = [];
  const seen = new NativeMap<object, string>();
  const queue: object[] = [];
  const reach = (value: unknown, path: string): void => {
    if (!isObject(value) || seen.has(value)) return;
    seen.set(value, path);
    queue.push(value);
  };
  for (const [name, value] of sealed.globals) reach(value, name);
  for (const [name, value] of specimens()) reach(value, name);
  let functions = 0;
  for (let index = 0; index < queue.length; index++) {
    const object = queue[index] as object;
    const path = seen.get(object) as string;
    const name = names.get(object);
    if (typeof object === "function") functions++;
    if (name === undefined) violations.push(`${path} is not in the list`);
    else checkKeys(object, path, rows[name], violations);
    if (!isFrozen(object)) violations.push(`${path} is not frozen`);
    for (const [key, value] of edges(object)) reach(value, key === "" ? `${path}.%prototype%` : `${path}.${key}`);
  }
  return { functions, objects: queue.length, violations, missing };
}

function checkKeys(object: object, path: string, row: string | undefined, violations: string[]): void {
  const words = wordsOf(object, row);
  for (const key of ownKeys(object)) {
    if (!words.has(key)) violations.push(`${path}.${wordOf(key)} is not in the list`);
  }
}

// -- the walk

/** Deletes what the row does not name; notes what it names in vain. */
function prune(
  object: object,
  path: string,
  rows: Readonly<Record<string, string>>,
  violations: string[],
  missing: string[],
): void {
  const words = wordsOf(object, rows[path]);
  for (const key of ownKeys(object)) {
    if (words.has(key)) continue;
    if (!deleteProperty(object, key)) neutralise(object, key, path, violations);
  }
  for (const [key, word] of words) {
    if (getOwnPropertyDescriptor(object, key) === undefined && word !== "") missing.push(`${path}.${word}`);
  }
}

/** A property that cannot be deleted may stay if it holds nothing: the `prototype` of a function that is no class. */
function neutralise(object: object, key: PropertyKey, path: string, violations: string[]): void {
  const descriptor = getOwnPropertyDescriptor(object, key);
  if (descriptor?.writable === true) defineProperty(object, key, { value: undefined, writable: false });
  else if (descriptor === undefined || !("value" in descriptor) || isObject(descriptor.value)) {
    violations.push(`${path}.${wordOf(key)} cannot be deleted`);
  }
}

/** What can be reached from an object in one step, by property name; the prototype under the empty name. */
function edges(object: object): [string, object][] {
  const found: [string, object][] = [];
  for (const key of ownKeys(object)) {
    const descriptor = getOwnPropertyDescriptor(object, key);
    if (descriptor === undefined) continue;
    // Both halves of an accessor are reached by one key: a name must lead to one object.
    if (isObject(descriptor.value)) found.push([wordOf(key), descriptor.value]);
    if (isObject(descriptor.get)) found.push([`get ${wordOf(key)}`, descriptor.get]);
    if (isObject(descriptor.set)) found.push([`set ${wordOf(key)}`, descriptor.set]);
  }
  const prototype = getPrototypeOf(object) as object | null;
  if (prototype !== null) found.push(["", prototype]);
  return found;
}

/** Objects with a row, by their path. */
function nameRows(rows: Readonly<Record<string, string>>, roots: ReadonlyMap<string, object>): Map<object, string> {
  const names = new NativeMap<object, string>();
  for (const path of Object.keys(rows)) {
    const object = roots.get(path) ?? resolve(path, roots);
    if (object !== undefined && !names.has(object)) names.set(object, path);
  }
  for (const [name, object] of roots) if (!names.has(object)) names.set(object, name);
  return names;
}

function resolve(path: string, roots: ReadonlyMap<string, object>): object | undefined {
  // Names in percent signs contain dots: the longest root that begins the path.
  let at: object | undefined;
  let rest = "";
  for (const [name, value] of roots) {
    if (path.startsWith(`${name}.`) && (at === undefined || path.length - name.length - 1 < rest.length)) {
      at = value;
      rest = path.slice(name.length + 1);
    }
  }
  for (const word of rest.split(".")) {
    if (at === undefined) return undefined;
    const value = getOwnPropertyDescriptor(at, keyOf(word))?.value as unknown;
    at = isObject(value) ? value : undefined;
  }
  return at;
}

function wordsOf(object: object, row: string | undefined): Map<PropertyKey, string> {
  const words = new NativeMap<PropertyKey, string>();
  if (typeof object === "function") {
    words.set("name", "");
    words.set("length", "");
  }
  if (row !== undefined) for (const word of row.split(" ")) words.set(keyOf(word), word);
  // Harmless once neutralised: a function that is no class, and cannot lose the property.
  if (typeof object === "function" && !words.has("prototype")) {
    const descriptor = getOwnPropertyDescriptor(object, "prototype");
    if (
      descriptor !== undefined &&
      descriptor.configurable === false &&
      descriptor.writable === false &&
      !isObject(descriptor.value)
    ) {
      words.set("prototype", "");
    }
  }
  return words;
}

function keyOf(word: string): PropertyKey {
  return word.startsWith("@@") ? (symbols[word.slice(2)] ?? word) : word;
}

function wordOf(key: PropertyKey): string {
  return typeof key === "symbol" ? `@@${(key.description ?? "").replace("Symbol.", "")}` : String(key);
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

function has(roots: ReadonlyMap<string, object>, value: object): boolean {
  for (const known of roots.values()) if (known === value) return true;
  return false;
}

// -- what has no name

/** Rows that are not globals although their name looks like one. */
const hidden: ReadonlySet<string> = new Set(["WaymarkError"]);

/** The prototypes and functions reached only from a value of theirs, in the order the list names them. */
function specimens(): [string, object][] {
  const prototypeOf = (value: unknown): object => getPrototypeOf(value) as object;
  const generator = prototypeOf(function* () {}) as { prototype: object };
  const asyncGenerator = prototypeOf(async function* () {}) as { prototype: object };
  const args = (function (..._: unknown[]) {
    // biome-ignore lint/complexity/noArguments: its callee is %ThrowTypeError%
    return arguments;
  })();
  const found: [string, object][] = [
    ["%FunctionPrototype%", prototypeOf(() => {})],
    ["%AsyncFunction.prototype%", prototypeOf(async () => {})],
    ["%GeneratorFunction.prototype%", generator],
    ["%GeneratorPrototype%", generator.prototype],
    ["%AsyncGeneratorFunction.prototype%", asyncGenerator],
    ["%AsyncGeneratorPrototype%", asyncGenerator.prototype],
    ["%AsyncIteratorPrototype%", prototypeOf(asyncGenerator.prototype)],
    ["%IteratorPrototype%", prototypeOf(generator.prototype)],
    ["%ArrayIteratorPrototype%", prototypeOf(nativeArrayIterator())],
    ["%MapIteratorPrototype%", prototypeOf(nativeMapIterator())],
    ["%SetIteratorPrototype%", prototypeOf(nativeSetIterator())],
    ["%StringIteratorPrototype%", prototypeOf(nativeStringIterator())],
    ["%RegExpStringIteratorPrototype%", prototypeOf(nativeMatches())],
    ["%TypedArray%", prototypeOf(Int8Array)],
    ["%NativePromise.prototype%", prototypeOf((async () => {})())],
    ["%ThrowTypeError%", getOwnPropertyDescriptor(args, "callee")?.get as object],
    ["WaymarkError", WaymarkError],
    ["%refuseMutation%", refuseMutation],
  ];
  for (const [name, make] of nativeHelpers) found.push([name, prototypeOf(make())]);
  return found;
}

// Bound now: by the time the seal runs, the methods of these names are the VM's.
const call = Function.prototype.call;
const bound = (method: unknown, self: unknown): (() => unknown) =>
  Function.prototype.bind.call(call as never, method as never).bind(null, self as never) as () => unknown;
const nativeArrayIterator = bound(Array.prototype.values, []);
const nativeMapIterator = bound(Map.prototype.values, new Map());
const nativeSetIterator = bound(Set.prototype.values, new Set());
const nativeStringIterator = bound(String.prototype[Symbol.iterator], "");
const nativeMatches = (() => {
  const make = Function.prototype.bind
    .call(call as never, String.prototype.matchAll as never)
    .bind(null, "a" as never, /a/g as never) as () => unknown;
  return make;
})();
/** Iterator helpers, where the engine has them. */
const nativeHelpers: [string, () => unknown][] = (() => {
  const helpers = (
    globalThis as { Iterator?: { from(value: unknown): object; prototype: { take(count: number): object } } }
  ).Iterator;
  if (helpers === undefined || typeof helpers.from !== "function") return [];
  const from = helpers.from.bind(helpers);
  const take = helpers.prototype.take;
  return [
    ["%IteratorHelperPrototype%", () => Reflect.apply(take, nativeArrayIterator(), [1])],
    ["%WrapForValidIteratorPrototype%", () => from({ next: () => ({ done: true, value: undefined }) })],
  ];
})();
