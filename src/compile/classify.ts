// Says what a captured value is, and with it what the compiler may do with it: a reference by name, a constant, a
// built-in, code to compile, a name to follow further, or nothing at all, with the reason. It reads values through
// descriptors and never runs a getter.

import {
  type ActionDefinition,
  actionBrand,
  type DurableDefinition,
  durableBrand,
  type WorkflowDefinition,
  workflowBrand,
} from "../author/definition.ts";
import { type At, WaymarkError } from "../base/failure.ts";
import { refusedGlobals, vmGlobals } from "../program/globals.ts";
import { type AnyFunction, captureFunction } from "./capture.ts";
import { type Diagnostic, type DiagnosticCode, diagnostic, isCode, type Parameters, refusal } from "./diagnostics.ts";
import { allowedPackages, packageOf } from "./package.ts";
import { findSecret } from "./secret.ts";
import { isNative } from "./text.ts";

export interface ClassifyContext {
  /** File URL or path of the workflow's module: the nearest package.json above it may list `waymark.packages`. */
  url: string | null;
  /** How the value was reached, outermost first: ["welcomeEmails", "helper", "config.mail"]. The last is its name. */
  path: readonly string[];
}

export type Classified =
  | { kind: "action"; definition: ActionDefinition }
  | { kind: "workflow"; definition: WorkflowDefinition }
  | { kind: "durable"; name: DurableDefinition["name"] }
  | { kind: "primitive"; value: string | number | bigint | boolean | null | undefined }
  /** Plain data, deep. `bytes` is a rough size. */
  | { kind: "data"; value: object; bytes: number }
  /** A built-in of the language: dotted path from the global object, "Math" or "Array.isArray". */
  | { kind: "intrinsic"; path: string }
  | { kind: "function"; fn: AnyFunction }
  | { kind: "class"; fn: AnyFunction }
  /** Not data: only a path of constant keys through it may be taken. `what` is for WM126. */
  | { kind: "namespace"; value: object; what: string }
  | Refused;

export interface Refused {
  kind: "refused";
  code: DiagnosticCode;
  reason: string;
  report(at: At | null, frame: string | null, within?: string | null): Diagnostic;
}

/** Rough size from which captured data is refused (WM130). */
export const dataMaxBytes = 1024 * 1024;

export function classify(value: unknown, context: ClassifyContext): Classified {
  if (typeof value === "symbol") return classifySymbol(value, context);
  if (!isObject(value)) return secret(value, context) ?? { kind: "primitive", value: value as never };
  return (
    branded(value) ??
    hostValue(value) ??
    builtIn(value) ??
    (typeof value === "function" ? classifyFunction(value as AnyFunction, context) : classifyObject(value, context))
  );
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

function branded(value: object): Classified | null {
  const definition = (brand: symbol) => (isProxy(value) ? undefined : (value as Record<symbol, unknown>)[brand]);
  const action = definition(actionBrand);
  if (action !== undefined) return { kind: "action", definition: action as ActionDefinition };
  const workflow = definition(workflowBrand);
  if (workflow !== undefined) return { kind: "workflow", definition: workflow as WorkflowDefinition };
  const durable = definition(durableBrand);
  return durable === undefined ? null : { kind: "durable", name: (durable as DurableDefinition).name };
}

function classifySymbol(value: symbol, context: ClassifyContext): Classified {
  const path = intrinsics().get(value);
  return path === undefined ? notData(`the symbol ${String(value)}`, context) : { kind: "intrinsic", path };
}

// -- functions

function classifyFunction(fn: AnyFunction, context: ClassifyContext): Classified {
  const name = nameIn(context);
  if (isMock(fn)) return refuse("WM128", { name, path: pathIn(context) });
  const text = Function.prototype.toString.call(fn);
  if (isProxy(fn) || isNative(text)) return refuse("WM122", { name, path: pathIn(context) });
  try {
    const foreign = foreignCode(fn, context);
    if (foreign !== null) return foreign;
  } catch (error) {
    if (error instanceof WaymarkError) return refusedBy(error);
    throw error;
  }
  return { kind: /^class\b/.test(text) ? "class" : "function", fn };
}

/** `vi.fn()`, `jest.fn()`. */
function isMock(fn: object): boolean {
  return (fn as { _isMockFunction?: unknown })._isMockFunction === true;
}

/** Code of Node itself, or of a package nobody has listed. */
function foreignCode(fn: AnyFunction, context: ClassifyContext): Classified | null {
  const { url, file } = whereIs(fn);
  if (url?.startsWith("node:"))
    return refuse("WM103", { what: nameIn(context), module: url.replace(/^(node:)internal\//, "$1") });
  const name = packageOf(file ?? url ?? "");
  if (name === null) return null;
  const { packages, manifest } = allowedPackages(context.url);
  if (alwaysAllowed.has(name) || packages.has(name)) return null;
  return refuse("WM123", {
    name: nameIn(context),
    package: name,
    manifest: manifest ?? "package.json",
    path: pathIn(context),
  });
}

/** Ours, and those that only hold what compilers emit for older targets. */
const alwaysAllowed: ReadonlySet<string> = new Set(["waymark", "tslib", "@swc/helpers", "@babel/runtime"]);

/** A bundle holds packages too: there the source map tells. */
function whereIs(fn: AnyFunction): { url: string | null; file: string | null } {
  const captured = captureFunction(fn);
  try {
    const { url } = captured;
    if (url === null || url.startsWith("node:") || packageOf(url) !== null) return { url, file: null };
    return { url, file: captured.positionAt(0)?.file ?? null };
  } catch (error) {
    // Without an inspector nobody can say where a function is from. It may still compile, if it names nothing outside.
    if (isUnasked(error)) return { url: null, file: null };
    throw error;
  }
}

/** WM160 to WM164: this runtime cannot be asked. */
function isUnasked(error: unknown): boolean {
  return error instanceof WaymarkError && /^WM16[0-4]$/.test(error.code);
}

// -- objects

function classifyObject(value: object, context: ClassifyContext): Classified {
  if (isProxy(value)) return notData("a Proxy", context);
  if (types().isModuleNamespaceObject(value)) return { kind: "namespace", value, what: "the namespace of a module" };
  const walk = new Walk();
  const problem = walk.visit(value, "");
  if (walk.bytes > dataMaxBytes) {
    return refuse("WM130", {
      name: nameIn(context),
      size: `more than ${mebibytes(dataMaxBytes)}`,
      limit: mebibytes(dataMaxBytes),
    });
  }
  if (problem === null) return secret(value, context) ?? { kind: "data", value, bytes: walk.bytes };
  // Of a plain object or array, members may still be taken one by one.
  const own = whatIs(value);
  if (own === "an object" || own === "an array") {
    return {
      kind: "namespace",
      value,
      what: problem.at === "" ? problem.what : `${own} that holds ${problem.what} at ${problem.at}`,
    };
  }
  return notData(problem.at === "" ? problem.what : `${own} that holds ${problem.what} at ${problem.at}`, context);
}

interface Problem {
  at: string;
  what: string;
}

/** Looks at everything a value holds. Stops at the first thing that is not data, and where it grows past the limit. */
class Walk {
  bytes = 0;
  readonly #seen = new Set<object>();

  visit(value: unknown, at: string): Problem | null {
    if (typeof value === "symbol") return { at, what: "a symbol" };
    if (!isObject(value)) return this.#primitive(value);
    if (this.#seen.has(value) || this.bytes > dataMaxBytes) return null;
    this.#seen.add(value);
    this.bytes += 8;
    const what = whatIs(value);
    if (types().isProxy(value)) return { at, what: "a Proxy" };
    if (!dataKinds.has(what)) return { at, what };
    return this.#contents(value, at) ?? this.#properties(value, at);
  }

  #primitive(value: unknown): null {
    this.bytes += typeof value === "string" ? value.length + 2 : 8;
    return null;
  }

  #contents(value: object, at: string): Problem | null {
    const { isMap, isSet, isTypedArray, isArrayBuffer } = types();
    if (isTypedArray(value) || isArrayBuffer(value)) this.bytes += value.byteLength;
    if (isSet(value)) return this.#each([...value].entries(), at);
    if (!isMap(value)) return null;
    const entries = [...value];
    return (
      this.#each(
        entries.map(([key], index) => [`key ${index}`, key]),
        at,
      ) ??
      this.#each(
        entries.map(([key, item]) => [String(key), item]),
        at,
      )
    );
  }

  #each(items: Iterable<readonly [string | number, unknown]>, at: string): Problem | null {
    for (const [key, item] of items) {
      const problem = this.visit(item, `${at}.get(${key})`);
      if (problem !== null) return problem;
    }
    return null;
  }

  #properties(value: object, at: string): Problem | null {
    if (types().isTypedArray(value)) return null;
    for (const key of Reflect.ownKeys(value)) {
      if (key === "length" && Array.isArray(value)) continue;
      if (key === "lastIndex" && types().isRegExp(value)) continue;
      const problem = this.#property(value, key, at);
      if (problem !== null) return problem;
      if (this.bytes > dataMaxBytes) return null;
    }
    return null;
  }

  #property(value: object, key: string | symbol, at: string): Problem | null {
    if (typeof key === "symbol") return { at: `${at}[${String(key)}]`, what: "a property named by a symbol" };
    const place = /^\d+$/.test(key) ? `${at}[${key}]` : `${at}.${key}`;
    const property = Object.getOwnPropertyDescriptor(value, key)!;
    if (!("value" in property)) return { at: place, what: "a getter" };
    if (!property.enumerable) return { at: place, what: "a hidden property" };
    this.bytes += key.length;
    return this.visit(property.value, place);
  }
}

const dataKinds = new Set([
  "an object",
  "an array",
  "a Date",
  "a RegExp",
  "a Map",
  "a Set",
  "a typed array",
  "an ArrayBuffer",
  "a URL",
]);

/** In words. By brand and not by `instanceof`: a test runner's realm has constructors of its own. */
function whatIs(value: object): string {
  if (typeof value === "function") return functionKind(value);
  const prototype: object | null = Object.getPrototypeOf(value);
  const brand = builtInBrand(value);
  const made: unknown =
    prototype === null ? undefined : Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
  const className = typeof made === "function" && made.name !== "" ? `\`${made.name}\`` : "a class without name";
  if (brand === null)
    return prototype === null || isObjectPrototype(prototype) ? "an object" : `an instance of ${className}`;
  if (brand === "a URL") return brand;
  return typeof made === "function" && isNative(Function.prototype.toString.call(made))
    ? brand
    : `an instance of ${className}`;
}

function functionKind(value: object): string {
  if (actionBrand in value) return "an action";
  if (workflowBrand in value) return "a workflow";
  return /^class\b/.test(Function.prototype.toString.call(value)) ? "a class" : "a function";
}

function builtInBrand(value: object): string | null {
  const is = types();
  if (Array.isArray(value)) return "an array";
  if (is.isDate(value)) return "a Date";
  if (is.isRegExp(value)) return "a RegExp";
  if (is.isMap(value)) return "a Map";
  if (is.isSet(value)) return "a Set";
  if (is.isSharedArrayBuffer(value)) return "a SharedArrayBuffer";
  if (is.isArrayBuffer(value)) return "an ArrayBuffer";
  if (is.isTypedArray(value)) return is.isSharedArrayBuffer(value.buffer) ? "shared memory" : "a typed array";
  if (is.isDataView(value)) return "a DataView";
  if (is.isPromise(value)) return "a Promise";
  if (is.isNativeError(value)) return "an Error";
  if (is.isWeakMap(value)) return "a WeakMap (private members compiled for a target below ES2022 become one)";
  if (is.isWeakSet(value)) return "a WeakSet (private methods compiled for a target below ES2022 become one)";
  if (is.isBoxedPrimitive(value)) return "a boxed primitive";
  if (is.isGeneratorObject(value)) return "a running generator";
  return value instanceof URL ? "a URL" : null;
}

/** Of this realm or another: the root of every chain. */
function isObjectPrototype(prototype: object): boolean {
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "hasOwnProperty");
}

// -- built-ins and what the host adds to them

function builtIn(value: object): Classified | null {
  const path = intrinsics().get(value);
  return path === undefined ? null : { kind: "intrinsic", path };
}

/** `const { random } = Math`, `const env = process.env`: refused as if it were named in place. */
function hostValue(value: object): Classified | null {
  const path = hostValues().get(value);
  const row = path === undefined ? undefined : (refusedGlobals.get(path) ?? refusedGlobals.get(path.split(".")[0]!));
  if (row === undefined) return null;
  const report: Refused["report"] = (at, frame, within = null) => refusal(row, at, frame, within);
  return { kind: "refused", code: report(null, null).code, reason: row.reason, report };
}

type Paths = Map<object | symbol, string>;

let knownIntrinsics: Paths | null = null;
let knownHostValues: Paths | null = null;

function intrinsics(): Paths {
  knownIntrinsics ??= pathsOf(vmGlobals, (path) => !refusedGlobals.has(path));
  return knownIntrinsics;
}

function hostValues(): Paths {
  if (knownHostValues === null) {
    const names = new Set([...refusedGlobals.keys()].map((path) => path.split(".")[0]!));
    knownHostValues = pathsOf(names, (path) => refusedGlobals.has(path) || refusedGlobals.has(path.split(".")[0]!));
  }
  return knownHostValues;
}

/** Getters of the global object that are safe to run. Others warn or throw (`localStorage`). */
const safeGetters = new Set(["process", "Buffer", "crypto", "performance", "navigator", "fetch"]);

/** Where values stand below the global object, two levels deep: `Array`, `Array.isArray`, `Array.prototype.map`. */
function pathsOf(names: Iterable<string>, wanted: (path: string) => boolean): Paths {
  const paths: Paths = new Map();
  const note = (value: unknown, path: string) => {
    if (!isObject(value) && typeof value !== "symbol") return;
    if (wanted(path) && !paths.has(value)) paths.set(value, path);
  };
  for (const name of names) {
    const property = Object.getOwnPropertyDescriptor(globalThis, name);
    const value: unknown =
      property === undefined
        ? undefined
        : "value" in property || safeGetters.has(name)
          ? Reflect.get(globalThis, name)
          : undefined;
    note(value, name);
    if (!isObject(value) || value === globalThis) continue;
    members(value, name, note);
    const prototype = Object.getOwnPropertyDescriptor(value, "prototype")?.value as unknown;
    if (isObject(prototype)) members(prototype, `${name}.prototype`, note);
  }
  return paths;
}

function members(owner: object, path: string, note: (value: unknown, path: string) => void): void {
  for (const key of Object.getOwnPropertyNames(owner)) {
    const property = Object.getOwnPropertyDescriptor(owner, key);
    if (property !== undefined && "value" in property && key !== "constructor") note(property.value, `${path}.${key}`);
  }
}

// -- refusing

/** A constant would be stored with the program, where everyone reads it who can read the database. */
function secret(value: unknown, context: ClassifyContext): Refused | null {
  const found = findSecret(nameIn(context), value);
  if (found === null) return null;
  return refuse("WM124", { name: found.path, why: found.why, path: pathIn(context) });
}

function notData(what: string, context: ClassifyContext): Refused {
  return refuse("WM121", { name: nameIn(context), what, path: pathIn(context) });
}

function refuse<Code extends DiagnosticCode>(code: Code, parameters: Parameters<Code>): Refused {
  const report: Refused["report"] = (at, frame, within = null) => diagnostic(code, parameters, at, frame, within);
  return { kind: "refused", code, reason: report(null, null).message, report };
}

/** A function that cannot be captured (its text does not parse) is refused with the words of that error. */
function refusedBy({ code, message, hint }: WaymarkError): Refused {
  if (!isCode(code)) throw new TypeError(`capture threw ${code}, which the table of diagnostics does not have`);
  const report: Refused["report"] = (at, frame, within = null) => ({
    code,
    message,
    at,
    frame,
    hint: hint ?? "",
    within,
  });
  return { kind: "refused", code, reason: message, report };
}

function nameIn({ path }: ClassifyContext): string {
  return path.at(-1) ?? "(value)";
}

/** `wf -> helper -> x` */
export function pathIn({ path }: { path: readonly string[] }): string {
  return `\`${path.join(" -> ")}\``;
}

function mebibytes(bytes: number): string {
  return `${bytes / 1024 / 1024} MiB`;
}

function isProxy(value: object): boolean {
  return types().isProxy(value);
}

function types(): typeof import("node:util").types {
  return process.getBuiltinModule("node:util").types;
}
