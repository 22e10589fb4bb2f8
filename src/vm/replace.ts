// What of the realm's standard library the VM replaces with its own: `bind` and `toString` of functions, microtasks.

import { WaymarkError } from "../base/failure.ts";
import { install } from "./builtin.ts";
import { installConsole } from "./console.ts";
import { installEffects } from "./effect.ts";
import { installGenerators } from "./generator.ts";
import { installIterators } from "./iterate.ts";
import { bind } from "./object.ts";
import { functionToString, hidden } from "./primordial.ts";
import { installPromise } from "./promise.ts";
import { Builtin, type Callable, Closure, innerOf } from "./stamp.ts";
import { enqueue } from "./state.ts";

/** The text a person wrote, or what Node shows for a built-in. */
function textOf(f: unknown): string {
  const inner = typeof f === "function" ? innerOf(f) : undefined;
  if (inner instanceof Closure) {
    const { program, index, name } = inner.code;
    const text = program.program.debug.functions[index]?.text;
    return text === undefined || text === "" ? `function ${name}() { [source not stored] }` : text;
  }
  if (inner instanceof Builtin) return `function ${inner.definition.name}() { [native code] }`;
  const own = functionToString(f);
  const name = Object.getOwnPropertyDescriptor(f, "name")?.value as unknown;
  return own.includes("[native code]") ? own : `function ${typeof name === "string" ? name : ""}() { [native code] }`;
}

export function installReplacements(): void {
  Reflect.deleteProperty(Error, "stackTraceLimit");
  Reflect.deleteProperty(Error, "captureStackTrace");
  installPromise();
  installIterators();
  installGenerators();
  installEffects();
  installConsole();
  // Of newer engines, and made of their own promises, whose turns no activation would see.
  Reflect.deleteProperty(hidden.asyncIterator, (Symbol as unknown as Record<string, symbol>).asyncDispose ?? "");
  install(
    Array,
    "fromAsync",
    {
      fromAsync(): never {
        throw new WaymarkError("WM102", "`Array.fromAsync` is not available in a workflow yet.", {
          hint: "Collect with `for await (const item of source) list.push(item)`.",
        });
      },
    }.fromAsync as Callable,
    1,
  );
  install(
    hidden.functionPrototype,
    "bind",
    {
      bind(this: unknown, self: unknown, ...first: unknown[]): unknown {
        return bind(this, self, first);
      },
    }.bind as Callable,
    1,
  );
  install(
    hidden.functionPrototype,
    "toString",
    {
      toString(this: unknown): string {
        return textOf(this);
      },
    }.toString as Callable,
    0,
  );
  install(
    globalThis,
    "queueMicrotask",
    {
      queueMicrotask(call: unknown): void {
        if (typeof call !== "function") throw new TypeError('The "callback" argument must be of type function.');
        enqueue({ kind: "call", call: call as Callable });
      },
    }.queueMicrotask as Callable,
    1,
  );
}
