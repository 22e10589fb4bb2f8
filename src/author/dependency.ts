// Dependencies: what an action needs besides its arguments, made for it and cleaned up after it. A provider is a
// function (sync or async) that returns the thing, a generator (sync or async) that yields it and cleans up after the
// `yield`, or one that returns a disposable. Never part of what a workflow stores: the wire carries arguments only.

import { WaymarkError } from "../base/failure.ts";
import { type ActionContext, localContext, withContext, withoutContext } from "./context.ts";
import type { ActionDefinition } from "./definition.ts";

const dependencyBrand: unique symbol = Symbol.for("waymark.dependency") as never;

/** `"call"`: made once for each attempt, cleaned up after it. `"worker"`: once for each process, cleaned up at its end. */
export type DependencyScope = "call" | "worker";

/** What `dependency()` makes: a provider with a scope and dependencies of its own. */
export interface Dependency<T> {
  readonly [dependencyBrand]: {
    readonly scope: DependencyScope;
    readonly deps: Dependencies;
    readonly provide: (deps: never) => unknown;
    /** Carries the type only. */
    readonly provides?: T;
  };
}

/** A plain provider, or one made by `dependency()`. */
export type Provider = Dependency<unknown> | (() => unknown);

export type Dependencies = Readonly<Record<string, Provider>>;

/** What `yield` gives back to a generator provider once it is time to clean up. */
export type Ended = { readonly ok: true } | { readonly ok: false; readonly error: unknown };

type Unwrapped<R> =
  R extends Generator<infer T, infer _Return, infer _Next>
    ? T
    : R extends AsyncGenerator<infer T, infer _Return, infer _Next>
      ? T
      : R;

/** What a provider provides. */
export type Provided<P> = P extends Dependency<infer T> ? T : P extends () => infer R ? Unwrapped<Awaited<R>> : never;

/** The last parameter of an action declared with these `deps`. */
export type Injected<D> = { readonly [K in keyof D]: Provided<D[K]> };

/**
 * A provider with a scope or with dependencies of its own.
 *
 *     const getDb = dependency({ scope: "worker", deps: { config: getConfig } }, async function* ({ config }) {
 *       const db = await connect(config.url);
 *       yield db;
 *       await db.end();
 *     });
 *
 * A call-scoped dependency of a worker-scoped one lives as long as its owner.
 */
export function dependency<R, D extends Dependencies = Record<never, never>>(
  options: { scope?: DependencyScope; deps?: D },
  provide: (deps: Injected<D>) => R,
): Dependency<Unwrapped<Awaited<R>>> {
  const scope = options.scope ?? "call";
  if (scope !== "call" && scope !== "worker") {
    throw new WaymarkError("WM702", `A dependency's scope is "call" or "worker", not ${JSON.stringify(scope)}.`);
  }
  if (typeof provide !== "function") {
    throw new WaymarkError("WM702", `dependency() takes a provider function, not ${kindOf(provide)}.`);
  }
  for (const [key, provider] of Object.entries(options.deps ?? {})) assertProvider(provider, key);
  return { [dependencyBrand]: { scope, deps: options.deps ?? {}, provide } };
}

const overrides = new Map<Provider, Provider>();

/**
 * In a test: use `replacement` wherever `provider` would be used. Returns what undoes it. The replacement is a
 * provider like any other, with its own scope.
 */
export function overrideDependency<P extends Provider>(
  provider: P,
  replacement: Dependency<Provided<P>> | (() => Replacement<Provided<P>>),
): () => void {
  assertProvider(provider, "the overridden one");
  assertProvider(replacement, "the replacement");
  const before = overrides.get(provider);
  overrides.set(provider, replacement);
  return () => {
    if (before === undefined) overrides.delete(provider);
    else overrides.set(provider, before);
  };
}

type Replacement<T> = T | PromiseLike<T> | Generator<T, unknown, never> | AsyncGenerator<T, unknown, never>;

/**
 * Run an action's function as it is, in this process: context set, dependencies resolved and cleaned up. `args` are
 * the user's own. Throws whatever the function throws.
 */
export function invoke(
  definition: ActionDefinition,
  args: readonly unknown[],
  context: ActionContext = localContext(definition.name),
): Promise<unknown> {
  return withContext(context, () => {
    const run = definition.run as (...all: readonly unknown[]) => unknown;
    for (const _ in definition.dependencies) return invokeInjected(definition, run, args);
    try {
      return Promise.resolve(run(...args));
    } catch (thrown) {
      return Promise.reject(thrown);
    }
  });
}

/** At the end of a worker: clean up what was made once for the process, newest first. Returns what that threw. */
export async function releaseWorkerDependencies(): Promise<unknown[]> {
  const scope = workerScope;
  workerScope = new Scope();
  return scope.close({ ok: true });
}

/** Refuse what is not a provider, by the name it would be injected under. */
export function assertProvider(provider: unknown, key: string): asserts provider is Provider {
  if (typeof provider === "function" && !(dependencyBrand in provider)) return;
  if (typeof provider === "object" && provider !== null && dependencyBrand in provider) return;
  throw new WaymarkError("WM702", `Dependency "${key}" is ${kindOf(provider)}, not a provider.`, {
    hint: "A provider is a function that makes the value, or what dependency() returns. To inject a value you already have, write () => value.",
  });
}

async function invokeInjected(
  definition: ActionDefinition,
  run: (...all: readonly unknown[]) => unknown,
  args: readonly unknown[],
): Promise<unknown> {
  const scope = new Scope();
  let ended: Ended = { ok: true };
  let result: unknown;
  try {
    const injected = await injectedFor(definition.dependencies as Dependencies, scope, [definition.name]);
    result = await run(...placed(run, args, injected));
  } catch (error) {
    ended = { ok: false, error };
  }
  const faults = await scope.close(ended);
  // The action's own error decides about retries; a cleanup that fails as well only joins the log.
  if (!ended.ok) {
    for (const fault of faults) warn(definition.name, fault);
    throw ended.error;
  }
  if (faults.length > 0) {
    for (const fault of faults.slice(1)) warn(definition.name, fault);
    throw faults[0];
  }
  return result;
}

function warn(action: string, fault: unknown): void {
  process.emitWarning(`Cleaning up a dependency of action "${action}" failed as well: ${String(fault)}`, {
    code: "WM704",
    ...(fault instanceof Error && fault.stack !== undefined ? { detail: fault.stack } : {}),
  });
}

/** Things made together and cleaned up together, in reverse. */
class Scope {
  readonly provided = new Map<Provider, Promise<unknown>>();
  readonly cleanups: ((ended: Ended) => unknown)[] = [];

  async close(ended: Ended): Promise<unknown[]> {
    const faults: unknown[] = [];
    for (let cleanup = this.cleanups.pop(); cleanup !== undefined; cleanup = this.cleanups.pop()) {
      try {
        await cleanup(ended);
      } catch (fault) {
        faults.push(fault);
      }
    }
    return faults;
  }
}

let workerScope = new Scope();

/** One after another, in the order declared: the order of cleanup is then the reverse of what the reader sees. */
async function injectedFor(deps: Dependencies, scope: Scope, path: readonly (string | Provider)[]) {
  const injected: Record<string, unknown> = {};
  for (const [key, provider] of Object.entries(deps)) {
    assertProvider(provider, key);
    injected[key] = await resolve(provider, scope, path, key);
  }
  return injected;
}

function resolve(provider: Provider, scope: Scope, path: readonly (string | Provider)[], key: string) {
  const used = overrides.get(provider) ?? provider;
  if (path.includes(used)) {
    throw new WaymarkError("WM702", `Dependency "${key}" of "${String(path[0])}" needs itself to be made.`, {
      hint: "Providers may not form a cycle. An override that wraps the original must call its function, not depend on it.",
    });
  }
  const owned = typeof used === "function" ? null : used[dependencyBrand];
  const home = owned?.scope === "worker" ? workerScope : scope;
  const known = home.provided.get(used);
  if (known !== undefined) return known;
  const made =
    home === workerScope
      ? withoutContext(() => makeForWorker(used, path, key))
      : make(used, home, [...path, used], key);
  home.provided.set(used, made);
  // A connection that could not be opened now may be opened for the next attempt.
  if (home === workerScope) made.catch(() => home.provided.delete(used));
  return made;
}

async function makeForWorker(provider: Provider, path: readonly (string | Provider)[], key: string) {
  const home = workerScope;
  const own = new Scope();
  const close = async (ended: Ended) => {
    const faults = await own.close(ended);
    if (faults.length > 0) throw faults[0];
  };
  try {
    const value = await make(provider, own, [...path, provider], key);
    home.cleanups.push(close);
    return value;
  } catch (error) {
    await close({ ok: false, error }).catch((fault) => warn(String(path[0]), fault));
    throw error;
  }
}

async function make(provider: Provider, scope: Scope, path: readonly (string | Provider)[], key: string) {
  const owned = typeof provider === "function" ? null : provider[dependencyBrand];
  const provide = (owned?.provide ?? provider) as (deps?: unknown) => unknown;
  const deps = owned === null ? undefined : await injectedFor(owned.deps, scope, path);
  const made = await provide(deps);
  if (isGenerator(made)) return yielded(made, scope, key);
  const dispose = disposerOf(made);
  if (dispose !== undefined) {
    refuseReused(made as object, key);
    scope.cleanups.push(() => {
      disposed.add(made as object);
      return dispose.call(made);
    });
  }
  return made;
}

type AnyGenerator = Generator<unknown, unknown, Ended> | AsyncGenerator<unknown, unknown, Ended>;

async function yielded(generator: AnyGenerator, scope: Scope, key: string): Promise<unknown> {
  const first = await generator.next({ ok: true });
  if (first.done === true) {
    throw new WaymarkError("WM703", `The provider of dependency "${key}" ended without a yield.`, {
      hint: "A generator provider yields the value once; what follows the yield is the cleanup.",
    });
  }
  scope.cleanups.push(async (ended) => {
    const last = await generator.next(ended);
    if (last.done === true) return;
    await generator.return(undefined);
    throw new WaymarkError("WM703", `The provider of dependency "${key}" yielded more than once.`);
  });
  return first.value;
}

const disposed = new WeakSet<object>();

// The ordinary mistake: a module-level pool that happens to be disposable, handed out by a call-scoped provider.
function refuseReused(value: object, key: string): void {
  if (!disposed.has(value)) return;
  throw new WaymarkError("WM703", `Dependency "${key}" returned an object that was already disposed of.`, {
    hint: 'A disposable is cleaned up after each call. Share it with dependency({ scope: "worker" }, ...).',
  });
}

function isGenerator(value: unknown): value is AnyGenerator {
  if (typeof value !== "object" || value === null) return false;
  const { next, throw: raise, return: finish } = value as Partial<Record<"next" | "throw" | "return", unknown>>;
  if (typeof next !== "function" || typeof raise !== "function" || typeof finish !== "function") return false;
  return Symbol.iterator in value || Symbol.asyncIterator in value;
}

// Compilers and polyfills agree on these names where the symbols are missing.
const asyncDispose: symbol = Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");
const syncDispose: symbol = Symbol.dispose ?? Symbol.for("Symbol.dispose");

function disposerOf(value: unknown): ((this: unknown) => unknown) | undefined {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return undefined;
  const methods = value as Record<symbol, unknown>;
  const method = methods[asyncDispose] ?? methods[syncDispose];
  return typeof method === "function" ? (method as (this: unknown) => unknown) : undefined;
}

/**
 * The dependencies are the last *declared* parameter, wherever the call's arguments end: `ids.map(fetchUser)` passes
 * three, a call may leave out trailing ones.
 */
function placed(run: (...all: readonly unknown[]) => unknown, args: readonly unknown[], injected: unknown): unknown[] {
  const declared = parametersOf(run);
  const position = declared === null ? Math.max(args.length, run.length - 1) : declared - 1;
  const all = args.slice(0, Math.max(position, 0));
  while (all.length < position) all.push(undefined);
  all.push(injected);
  return all;
}

const counted = new WeakMap<object, number | null>();

/** Declared parameters of a function, or null where its text does not say (`length` stops at the first default). */
export function parametersOf(run: (...args: never[]) => unknown): number | null {
  const known = counted.get(run);
  if (known !== undefined) return known;
  const count = countParameters(Function.prototype.toString.call(run));
  counted.set(run, count);
  return count;
}

function countParameters(text: string): number | null {
  const start = text.indexOf("(");
  const arrow = text.indexOf("=>");
  if (arrow !== -1 && (start === -1 || arrow < start)) return 1; // deps => ...
  if (start === -1) return null;
  let depth = 0;
  let commas = 0;
  let empty = true; // nothing since the last top-level comma
  for (let at = start + 1; at < text.length; at++) {
    const char = text[at]!;
    if (char === "/" && (text[at + 1] === "/" || text[at + 1] === "*")) {
      const end = text.indexOf(text[at + 1] === "/" ? "\n" : "*/", at + 2);
      if (end === -1) return null;
      at = text[at + 1] === "/" ? end : end + 1;
    } else if (char === '"' || char === "'" || char === "`") {
      at = endOfString(text, at);
      empty = false;
    } else if (char === "/") {
      return null; // a division or a regular expression in a default: not worth a parser
    } else if (depth === 0 && char === ")") {
      return empty ? commas : commas + 1;
    } else if (depth === 0 && char === ",") {
      commas++;
      empty = true;
    } else {
      if (depth === 0 && empty && text.startsWith("...", at)) return null;
      if (char === "(" || char === "[" || char === "{") depth++;
      else if (char === ")" || char === "]" || char === "}") depth--;
      if (!/\s/.test(char)) empty = false;
    }
  }
  return null;
}

function endOfString(text: string, start: number): number {
  const quote = text[start];
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === quote) return at;
  }
  return text.length;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : typeof value === "function" ? "a function" : String(value);
}
