// Asks V8's inspector, in this process and without a port, for what JavaScript itself does not show of a function: the
// scopes around it, where it stands, and which script that is. All posts are synchronous. One session is open while
// something is asked and never longer; the debugger is enabled for nothing but listing scripts (while it is enabled,
// awaits are 4 to 12 times slower), and no user code runs meanwhile.

import type { Session } from "node:inspector";
import { failure } from "./diagnostics.ts";

export interface Scope {
  /** V8's words: "Module", "Closure (outer)", "Block", "Catch", "Script", "Global". */
  description: string;
  /** Variables as they were when asked: a copy, except for "Global", which is the global object itself. */
  object: Record<string, unknown>;
}

export interface Location {
  scriptId: string;
  /** 0-based, of the anchor: see `anchorOf` in position.ts. */
  line: number;
  column: number;
}

export interface Inspected {
  /** Innermost first. */
  scopes: readonly Scope[];
  location: Location | null;
}

export interface Script {
  url: string;
  /** As in the script: relative, absolute, or a data: URL. Empty where there is none. */
  sourceMapUrl: string;
}

interface Holder {
  in: unknown;
  out: Scope[];
}

interface Open {
  session: Session;
  holder: Holder;
  holderId: string;
}

const objectGroup = "waymark";
const bridgeKey = Symbol.for("waymark.capture");
let open: Open | null = null;
let depth = 0;
let tested = false;

/** Runs `batch` with one session, opened at the first question in it and closed at its end. Nested calls share it. */
export function withSession<T>(batch: () => T): T {
  depth++;
  try {
    return batch();
  } finally {
    // Disconnecting frees whatever the session still held.
    if (--depth === 0 && open !== null) {
      const { session } = open;
      open = null;
      session.disconnect();
    }
  }
}

export function inspect(fn: object): Inspected {
  return withSession(() => ask(opened(), fn));
}

/** Every script of this thread that V8 still has, by id. 25 to 200 ms: ask once, and again only for an unknown id. */
export function listScripts(): Map<string, Script> {
  return withSession(() => {
    const { session } = opened();
    const scripts = new Map<string, Script>();
    const parsed = ({ params }: { params: { scriptId: string; url: string; sourceMapURL?: string } }) => {
      scripts.set(params.scriptId, { url: params.url, sourceMapUrl: params.sourceMapURL ?? "" });
    };
    session.on("Debugger.scriptParsed", parsed);
    try {
      post(session, "Debugger.enable");
      post(session, "Debugger.disable");
    } finally {
      session.removeListener("Debugger.scriptParsed", parsed);
    }
    return scripts;
  });
}

function opened(): Open {
  open ??= connect();
  if (!tested) selfTest(open);
  return open;
}

function connect(): Open {
  const builtin = globalThis.process?.getBuiltinModule as ((name: string) => unknown) | undefined;
  const inspector = builtin?.("node:inspector") as typeof import("node:inspector") | undefined;
  if (typeof inspector?.Session !== "function" || isBun()) throw failure("WM161", { runtime: runtimeName() });
  const session = new inspector.Session();
  try {
    session.connect();
  } catch (cause) {
    const denied = (cause as { code?: unknown }).code === "ERR_ACCESS_DENIED";
    throw denied ? failure("WM160", {}, { cause }) : failure("WM161", { runtime: runtimeName() }, { cause });
  }
  try {
    const holder: Holder = { in: undefined, out: [] };
    return { session, holder, holderId: bridge(session, inspector.Session, holder) };
  } catch (error) {
    session.disconnect();
    throw error;
  }
}

/**
 * A remote id for the holder. The inspector evaluates in the default context, which is not ours under Jest and vm pools:
 * a built-in that both contexts share carries the holder over, and is clean again before this returns. Where the default
 * context has no `process`, its global object is tried, which is ours where there is only one realm.
 */
function bridge(session: Session, shared: object, holder: Holder): string {
  const key = `[Symbol.for(${JSON.stringify(bridgeKey.description)})]`;
  const ways: [object, string][] = [
    [shared, `process.getBuiltinModule("node:inspector").Session${key}`],
    [globalThis, `globalThis${key}`],
  ];
  for (const [carrier, expression] of ways) {
    Object.defineProperty(carrier, bridgeKey, { value: holder, configurable: true });
    try {
      const { result, exceptionDetails } = post<Evaluated>(session, "Runtime.evaluate", { expression, silent: true });
      if (exceptionDetails === undefined && result.objectId !== undefined) return result.objectId;
    } finally {
      Reflect.deleteProperty(carrier, bridgeKey);
    }
  }
  throw failure("WM161", { runtime: `${runtimeName()}, in this context,` });
}

interface Evaluated {
  result: { objectId?: string };
  exceptionDetails?: { text: string };
}

interface Properties {
  internalProperties?: { name: string; value?: { objectId?: string; value?: unknown } }[];
}

function ask({ session, holder, holderId }: Open, fn: object): Inspected {
  holder.in = fn;
  try {
    const { result } = post<Evaluated>(session, "Runtime.callFunctionOn", {
      objectId: holderId,
      functionDeclaration: "function () { return this.in; }",
      objectGroup,
      silent: true,
    });
    const properties = post<Properties>(session, "Runtime.getProperties", {
      objectId: result.objectId,
      ownProperties: true,
    });
    const internal = new Map((properties.internalProperties ?? []).map(({ name, value }) => [name, value]));
    const scopesId = internal.get("[[Scopes]]")?.objectId;
    if (scopesId === undefined) throw failure("WM163", { runtime: runtimeName() });
    post(session, "Runtime.callFunctionOn", {
      objectId: holderId,
      functionDeclaration: "function (list) { for (let i = 0; i < list.length; i++) this.out.push(list[i]); }",
      arguments: [{ objectId: scopesId }],
      silent: true,
    });
    return { scopes: holder.out, location: locationOf(internal.get("[[FunctionLocation]]")?.value) };
  } finally {
    holder.in = undefined;
    holder.out = [];
    // Without this, 5000 captures keep 400 MB alive.
    post(session, "Runtime.releaseObjectGroup", { objectGroup });
  }
}

function locationOf(value: unknown): Location | null {
  if (typeof value !== "object" || value === null) return null;
  const { scriptId, lineNumber, columnNumber } = value as {
    scriptId: string;
    lineNumber: number;
    columnNumber: number;
  };
  return { scriptId, line: lineNumber, column: columnNumber };
}

function post<Result = unknown>(session: Session, method: string, parameters: object = {}): Result {
  let answer: { error: Error | null; result: Result } | null = null;
  session.post(method, parameters, (error, result) => {
    answer = { error, result: result as Result };
  });
  // Read through a function: TypeScript does not see that the callback has run.
  const given = (() => answer)() as { error: Error | null; result: Result } | null;
  if (given === null) throw failure("WM162", { runtime: runtimeName() });
  if (given.error !== null) throw new Error(`inspector: ${method}: ${given.error.message}`, { cause: given.error });
  return given.result;
}

/** A wrong value would end up in the database, so the method is proven once on a function whose variable is known. */
function selfTest(session: Open): void {
  const expected = {};
  const probe = (
    (known: object) => () =>
      known
  )(expected);
  const { scopes } = ask(session, probe);
  const locals = scopes.filter(({ description }) => description !== "Global");
  // By value: a minifier renames `known`.
  if (
    !locals.some(({ object }) => Object.getOwnPropertyNames(object).some((name) => read(object, name) === expected))
  ) {
    throw failure("WM164", { got: "nothing", expected: "the object it closes over", runtime: runtimeName() });
  }
  tested = true;
}

/** Reading a variable that is not initialised throws on Node 22 and later. */
function read(object: Record<string, unknown>, name: string): unknown {
  try {
    return object[name];
  } catch {
    return undefined;
  }
}

function isBun(): boolean {
  return globalThis.process?.versions?.bun !== undefined;
}

function runtimeName(): string {
  const versions: Record<string, string | undefined> = globalThis.process?.versions ?? {};
  for (const [key, name] of [
    ["bun", "Bun"],
    ["deno", "Deno"],
  ] as const) {
    if (versions[key] !== undefined) return `${name} ${versions[key]}`;
  }
  return versions.node === undefined ? "This runtime" : `Node ${versions.node}`;
}
