// Text for people: where an error happened (`stack`, in the user's own files) and what was being called. The host's own
// stacks name its paths and ours, so V8 is told to make none and every error gets ours.

import type { Frame } from "./frame.ts";
import { vm } from "./state.ts";

const traceLimit = 20;

/** Position of pc: the last triple at or before it. */
export function positionOf(frame: Frame): { file: string; line: number; column: number } | null {
  const debug = frame.code.program.program.debug;
  const entry = debug.functions[frame.code.index];
  if (entry === undefined) return null;
  const { positions } = entry;
  let low = 0;
  let high = positions.length / 3 - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (positions[middle * 3]! <= frame.pc) low = middle;
    else high = middle - 1;
  }
  const file = debug.sources[entry.source]?.file;
  if (file === undefined || positions.length < 3) return null;
  return { file, line: positions[low * 3 + 1]!, column: positions[low * 3 + 2]! };
}

export function whereIs(frame: Frame): string {
  const name = frame.code.name === "" ? "<anonymous>" : frame.code.name;
  const at = positionOf(frame);
  return at === null
    ? `${name} (function ${frame.code.index}, pc ${frame.pc})`
    : `${name} (${at.file}:${at.line}:${at.column})`;
}

/** The calls that led here, innermost first. */
export function traceLines(top: Frame | null): string {
  let text = "";
  let count = 0;
  for (let frame = top; frame !== null && count < traceLimit; frame = frame.parent ?? frame.below, count++) {
    text += `\n    at ${whereIs(frame)}`;
  }
  return text;
}

/** A property's value if it is plain data somewhere up the chain: no getter is run. */
function dataOf(object: object, key: string): unknown {
  for (let o: object | null = object; o !== null; o = Object.getPrototypeOf(o) as object | null) {
    const found = Object.getOwnPropertyDescriptor(o, key);
    if (found !== undefined) return found.value;
  }
  return undefined;
}

/** Newer V8 gives every error this accessor, one function for the whole realm; a snapshot could not keep it. */
const nativeStack = Object.getOwnPropertyDescriptor(new Error(), "stack")?.get;

/** V8 without a `stackTraceLimit` leaves `stack` out, or there and undefined, or an accessor of its own. */
export function hasTrace(error: object): boolean {
  const found = Object.getOwnPropertyDescriptor(error, "stack");
  return found !== undefined && (found.value !== undefined || (found.get !== undefined && found.get !== nativeStack));
}

/** Give an error its `stack` if it has none. */
export function addTrace(error: unknown, top: Frame | null = vm.top): void {
  if (!(error instanceof Error) || hasTrace(error) || !Object.isExtensible(error)) return;
  const name = dataOf(error, "name");
  const message = dataOf(error, "message");
  const head = typeof name === "string" ? name : "Error";
  const header = typeof message === "string" && message !== "" ? (head === "" ? message : `${head}: ${message}`) : head;
  Object.defineProperty(error, "stack", {
    value: header + traceLines(top),
    writable: true,
    enumerable: false,
    configurable: true,
  });
}

/** Source text of what stands at a call, for "x.f is not a function". */
export function calleeText(frame: Frame, pc: number): string | undefined {
  const callees = frame.code.program.program.debug.functions[frame.code.index]?.callees;
  if (callees === undefined) return undefined;
  for (let i = 0; i < callees.length; i++) if (callees[i]![0] === pc) return callees[i]![1];
  return undefined;
}

/** A value in a message, as V8 words it. */
export function describe(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  if (typeof value === "function") return closureText(value);
  if (typeof value === "object" && value !== null) {
    if (Array.isArray(value)) return "[object Array]";
    const maker = dataOf(value, "constructor");
    const name = typeof maker === "function" ? dataOf(maker, "name") : undefined;
    return `#<${typeof name === "string" && name !== "" ? name : "Object"}>`;
  }
  return typeof value === "symbol" ? value.toString() : typeof value === "bigint" ? value.toString() : String(value);
}

const closureText = (f: object): string => {
  const name = dataOf(f, "name");
  return typeof name === "string" && name !== "" ? name : "(intermediate value)";
};
