// `console` inside a workflow: lines for the host to log, part of what an activation gives out. Values are written as
// Node writes them in the common cases, without running any of their code.

import { install } from "./builtin.ts";
import { limits } from "./limits.ts";
import {
  dateIso,
  dateValue,
  join,
  mapEntries,
  mapIteratorNext,
  regexpFlags,
  regexpSource,
  setIteratorNext,
  setValues,
  tagOf,
} from "./primordial.ts";
import { type Callable, fulfilled, pending, promiseOf } from "./stamp.ts";
import { running } from "./state.ts";

const levels = { log: "info", info: "info", debug: "debug", trace: "debug", warn: "warn", error: "error" } as const;

export const consoleObject: object = {};

export function installConsole(): void {
  for (const name of Object.keys(levels) as (keyof typeof levels)[]) {
    install(
      consoleObject,
      name,
      {
        m(...values: unknown[]): void {
          const { logs } = running();
          if (logs.length < limits.logLines)
            logs[logs.length] = { level: levels[name], text: format(values).slice(0, limits.logCharacters) };
        },
      }.m as Callable,
      0,
    );
  }
  Object.defineProperty(globalThis, "console", {
    value: consoleObject,
    writable: true,
    enumerable: false,
    configurable: true,
  });
}

export function format(values: unknown[]): string {
  const parts: string[] = [];
  let rest = 0;
  if (typeof values[0] === "string" && values.length > 1) {
    rest = 1;
    parts[0] = values[0].replace(/%[sdifjoOc%]/g, (mark) => {
      if (mark === "%%") return "%";
      if (rest >= values.length) return mark;
      const value = values[rest++];
      if (mark === "%s") return typeof value === "string" ? value : inspect(value, 0, []);
      if (mark === "%d") return typeof value === "object" ? "NaN" : String(Number(value as number));
      if (mark === "%i") return String(Number.parseInt(String(value), 10));
      if (mark === "%f") return String(Number.parseFloat(String(value)));
      return mark === "%c" ? "" : inspect(value, 0, []);
    });
  }
  for (let i = rest; i < values.length; i++)
    parts[parts.length] = typeof values[i] === "string" ? (values[i] as string) : inspect(values[i], 0, []);
  return join(parts, " ");
}

const depthMax = 2;
const itemsMax = 100;

function inspect(value: unknown, depth: number, seen: object[]): string {
  if (typeof value === "string") return depth === 0 ? `'${value}'` : quote(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "symbol") return value.toString();
  if (Object.is(value, -0)) return "-0";
  if (typeof value === "function")
    return `[${data(value, "prototype") !== undefined && !Object.getOwnPropertyDescriptor(value, "prototype")!.writable ? "class" : "Function"}${text(data(value, "name")) === "" ? " (anonymous)" : `: ${text(data(value, "name"))}`}]`;
  if (typeof value !== "object" || value === null) return String(value);
  for (let i = 0; i < seen.length; i++) if (seen[i] === value) return "[Circular *1]";
  const path = [...seen, value];
  if (value instanceof Error)
    return text(data(value, "stack")) || `[${text(data(value, "name"))}: ${text(data(value, "message"))}]`;
  const promise = promiseOf(value);
  if (promise !== undefined)
    return promise.state === pending
      ? "Promise { <pending> }"
      : `Promise { ${promise.state === fulfilled ? "" : "<rejected> "}${inspect(promise.value, depth + 1, path)} }`;
  const tag = tagOf(value);
  if (tag === "[object Date]" && value instanceof Date)
    return Number.isNaN(dateValue(value)) ? "Invalid Date" : dateIso(value);
  if (tag === "[object RegExp]" && value instanceof RegExp) return `/${regexpSource(value)}/${regexpFlags(value)}`;
  const name = text(data(data(Object.getPrototypeOf(value) as object | null, "constructor") as object | null, "name"));
  if (Array.isArray(value)) {
    if (depth > depthMax) return "[Array]";
    const items: string[] = [];
    for (let i = 0; i < value.length && i < itemsMax; i++) items[i] = inspect(data(value, String(i)), depth + 1, path);
    if (value.length > itemsMax) items[itemsMax] = `... ${value.length - itemsMax} more items`;
    return layout(name === "Array" ? "" : `${name}(${value.length}) `, "[", items, "]");
  }
  if (depth > depthMax) return `[${name === "" ? "Object" : name}]`;
  if (value instanceof Map && tag === "[object Map]")
    return layout(`Map(${value.size}) `, "{", tableItems(mapEntries(value), true, depth, path), "}");
  if (value instanceof Set && tag === "[object Set]")
    return layout(`Set(${value.size}) `, "{", tableItems(setValues(value), false, depth, path), "}");
  const items: string[] = [];
  const keys = Reflect.ownKeys(value);
  for (let i = 0; i < keys.length && items.length < itemsMax; i++) {
    const found = Object.getOwnPropertyDescriptor(value, keys[i] as string)!;
    if (!found.enumerable) continue;
    const key = keys[i] as string | symbol;
    const shown = typeof key === "symbol" ? `[${key.toString()}]` : /^[A-Za-z_$][\w$]*$/.test(key) ? key : quote(key);
    items[items.length] =
      `${shown}: ${"value" in found ? inspect(found.value, depth + 1, path) : found.set ? (found.get ? "[Getter/Setter]" : "[Setter]") : "[Getter]"}`;
  }
  const head =
    Object.getPrototypeOf(value) === null ? "[Object: null prototype] " : name === "Object" ? "" : `${name} `;
  return layout(head, "{", items, "}");
}

function tableItems(iterator: Iterator<unknown>, map: boolean, depth: number, path: object[]): string[] {
  const items: string[] = [];
  const next = map ? mapIteratorNext : setIteratorNext;
  for (let step = next(iterator); !step.done && items.length < itemsMax; step = next(iterator)) {
    const pair = step.value as [unknown, unknown];
    items[items.length] = map
      ? `${inspect(pair[0], depth + 1, path)} => ${inspect(pair[1], depth + 1, path)}`
      : inspect(step.value, depth + 1, path);
  }
  return items;
}

function layout(head: string, open: string, items: string[], close: string): string {
  if (items.length === 0) return `${head}${open}${close}`;
  const line = `${head}${open} ${join(items, ", ")} ${close}`;
  if (line.length <= 76 && !line.includes("\n")) return line;
  return `${head}${open}\n  ${join(items, ",\n").replaceAll("\n", "\n  ")}\n${close}`;
}

const quote = (value: string): string =>
  `'${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", "\\n")}'`;
const text = (value: unknown): string => (typeof value === "string" ? value : "");

function data(object: object | null | undefined, key: string): unknown {
  for (
    let o = object ?? null;
    o !== null && (typeof o === "object" || typeof o === "function");
    o = Object.getPrototypeOf(o) as object | null
  ) {
    const found = Object.getOwnPropertyDescriptor(o, key);
    if (found !== undefined) return found.value;
  }
  return undefined;
}
