// Reads a function the way V8 sees it: its text, the values of its free variables, and where it stands in the user's
// files. Lazily, at first compile, never in `workflow()`. Three sources in order: metadata a build plugin left, an
// explicit `scope` thunk, reflection through the in-process inspector. It never runs user code to find something out,
// except the thunks given for that purpose.

import type { Node } from "acorn";
import type { At } from "../base/failure.ts";
import { failure } from "./diagnostics.ts";
import { type Inspected, inspect, withSession } from "./inspector.ts";
import { type Positions, positionsOf, scriptUrl } from "./position.ts";
import { reduceShapes, type ShapeProblem } from "./shapes.ts";
import { parseText } from "./text.ts";

export type AnyFunction = (...args: never[]) => unknown;

export type Lookup =
  /** A variable of the module, or of a function around. */
  | { found: true; value: unknown }
  /** `global`: a name of the host's global object, to be resolved by name and never by value. */
  | { found: false; reason: "missing" | "uninitialised" | "global" };

export interface Captured {
  readonly fn: AnyFunction;
  /** What `toString()` says, or the plugin's text. */
  readonly text: string;
  readonly kind: "function" | "class" | "method";
  /** `prefix + text + suffix` parses as a module of one expression statement; `text` starts at `prefix.length`. */
  readonly prefix: string;
  readonly suffix: string;
  /**
   * The function or class, parsed from `prefix + text + suffix` by acorn; of a method the Property or MethodDefinition.
   * What compilers for older targets did to it is undone (shapes.ts).
   */
  readonly node: Node;
  /** Names that keep-name helpers would have given to functions and classes in `node`. */
  readonly names: ReadonlyMap<Node, string>;
  /** Shapes of older targets that could not be undone, by offset in `prefix + text + suffix`. */
  readonly problems: readonly ShapeProblem[];
  lookup(name: string): Lookup;
  /** Original position of an offset in `text`. `null` where none can be trusted: then `frameAt` shows the text itself. */
  positionAt(offset: number): At | null;
  /** Code frame around an offset in `text`: of the original source, or of the text, labelled "generated code". */
  frameAt(offset: number, length?: number): string | null;
  /** Text of an original file that `positionAt` named, where it is known. */
  sourceText(file: string): string | null;
  /** The script the function was loaded from, as V8 or the plugin names it. */
  readonly url: string | null;
}

export interface CaptureOptions {
  /** Explicit captures of a workflow. A name it does not give is missing: nothing else is asked. */
  scope?: (() => Record<string, unknown>) | undefined;
}

/**
 * What a build plugin leaves about a function, in a WeakMap at `globalThis[Symbol.for("waymark.metadata")]`.
 * The format is fixed since the first release.
 */
export interface Metadata {
  /** JavaScript of the function, without types. */
  source: string;
  /** 1-based line and column in `url` where `source` starts; lines and columns inside `source` are those of the original. */
  at: readonly [line: number, column: number];
  url: string;
  /** Free variables, by getters: `() => ({ get x() { return x } })`. */
  scope: () => object;
}

export const metadataKey: unique symbol = Symbol.for("waymark.metadata") as never;

let batch: Map<AnyFunction, Captured> | null = null;

/** Runs `work` with one inspector session for every capture in it, and each function captured once. Synchronous. */
export function withCapture<T>(work: () => T): T {
  if (batch !== null) return work();
  batch = new Map();
  try {
    return withSession(work);
  } finally {
    batch = null;
  }
}

/**
 * Throws WM122 for a function without source, WM148, WM142, WM144 or WM145 for one that does not parse. The values are
 * asked for at the first `lookup`, which throws WM16x where this runtime cannot be asked.
 */
export function captureFunction(fn: AnyFunction, options: CaptureOptions = {}): Captured {
  const known = batch?.get(fn);
  if (known !== undefined) return known;
  const captured = capture(fn, options);
  batch?.set(fn, captured);
  return captured;
}

function capture(fn: AnyFunction, options: CaptureOptions): Captured {
  const metadata = metadataOf(fn);
  const text = metadata?.source ?? Function.prototype.toString.call(fn);
  const parsed = parseText(text, fn.name);
  const inspected = lazy(() => inspect(fn));
  const lookup =
    metadata !== null
      ? scopeLookup(metadata.scope, fn.name)
      : options.scope !== undefined
        ? scopeLookup(options.scope, fn.name)
        : null;
  const positions = lazy<Positions>(() =>
    metadata === null ? positionsOf(inspected().location, text, parsed) : positionsOf(metadata, text, parsed),
  );
  const answer: Captured["lookup"] = lookup ?? ((name) => scopesLookup(inspected(), name));
  const reduced = lazy(() => reduceShapes(parsed.node, answer));
  return {
    fn,
    text,
    kind: parsed.kind,
    prefix: parsed.prefix,
    suffix: parsed.suffix,
    get node() {
      return reduced().node;
    },
    get names() {
      return reduced().names;
    },
    get problems() {
      return reduced().problems;
    },
    lookup: answer,
    positionAt: (offset) => positions().at(offset),
    frameAt: (offset, length) => positions().frame(offset, length),
    sourceText: (file) => positions().textOf(file),
    get url() {
      return metadata?.url ?? scriptUrl(inspected().location);
    },
  };
}

/** Plugin and `scope` objects: own names, by getters perhaps. */
function scopeLookup(thunk: () => object, name: string): Captured["lookup"] {
  const scope = lazy(() => {
    try {
      return thunk();
    } catch (cause) {
      throw failure("WM165", { name, why: cause instanceof Error ? cause.message : String(cause) }, { cause });
    }
  });
  return (variable) => (Object.hasOwn(scope(), variable) ? read(scope(), variable) : missing(variable));
}

/** Innermost first, by own names: a scope object also holds what nobody asked for. */
function scopesLookup({ scopes }: Inspected, variable: string): Lookup {
  for (const { description, object } of scopes) {
    if (description !== "Global" && Object.getOwnPropertyNames(object).includes(variable))
      return read(object, variable);
  }
  return missing(variable, scopes.at(-1)?.object);
}

/**
 * V8 throws on reading a variable that is not initialised yet. Node 20 gives `undefined` instead, which cannot be told
 * from a real one: there an import cycle shows only when the value is used.
 */
function read(scope: object, variable: string): Lookup {
  try {
    return { found: true, value: (scope as Record<string, unknown>)[variable] };
  } catch {
    return { found: false, reason: "uninitialised" };
  }
}

/** `in`, never a read: getters of the global object warn or throw (`localStorage`). */
function missing(variable: string, global: object = globalThis): Lookup {
  return { found: false, reason: variable in global ? "global" : "missing" };
}

function metadataOf(fn: AnyFunction): Metadata | null {
  const all = (globalThis as Record<symbol, unknown>)[metadataKey];
  if (!(all instanceof WeakMap)) return null;
  const one = all.get(fn) as Partial<Metadata> | undefined;
  if (one === undefined) return null;
  const { source, at, url, scope } = one;
  if (typeof source !== "string" || typeof url !== "string" || typeof scope !== "function" || !Array.isArray(at)) {
    throw failure("WM148", {
      name: fn.name,
      why: "the build plugin left metadata in a format this version does not know",
    });
  }
  return one as Metadata;
}

function lazy<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
