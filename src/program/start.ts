// What `workflow.with(...)` takes, checked and made data: how an instance is started, besides its arguments. Pure, like
// policy.ts: the engine uses it for children, whose options come out of the VM.

import { type Duration, parseDuration } from "../base/duration.ts";
import { WaymarkError } from "../base/failure.ts";

/** How to start an instance, besides its arguments. */
export interface StartOptions {
  /** Your own name for the instance. Starting it again with the same input joins the one that exists. Default: a new UUID. */
  id?: string;
  /** A whole number, -32767 to 32767: higher goes first. Default 0. */
  priority?: number;
  /** Begin after this long, or at this time. */
  delay?: Duration | Date;
}

/** The same as data. */
export interface StartData {
  id: string | null;
  priority: number;
  /** At most one of the two is set. */
  delayMs: number | null;
  /** Milliseconds since the epoch. */
  startAt: number | null;
}

export const priorityMax = 32_767;
export const idMaxLength = 255;

export const noStartOptions: StartData = { id: null, priority: 0, delayMs: null, startAt: null };

/** Throws WM201 or WM205 naming the option. */
export function toStartData(options: unknown): StartData {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw bad(`.with() of a workflow takes an object of options, not ${show(options)}.`);
  }
  const data: StartData = { ...noStartOptions };
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    if (value === undefined) continue;
    if (name === "id") data.id = toId(value);
    else if (name === "priority") data.priority = toPriority(value);
    else if (name === "delay" && value instanceof Date) data.startAt = toTime(value);
    else if (name === "delay") data.delayMs = parseDuration(value as Duration);
    else if (name === "tx") throw bad("Starting inside your own transaction (`tx`) is not in this version.");
    else throw bad(`${JSON.stringify(name)} is not an option a workflow starts with.`);
  }
  return data;
}

function toId(value: unknown): string {
  if (typeof value !== "string" || value === "")
    throw bad(`id cannot be ${show(value)}: it is a string that is not empty.`);
  if (value.length > idMaxLength) throw bad(`id is ${value.length} characters long; ${idMaxLength} is the limit.`);
  if (value.includes("\0")) throw bad("id has a zero character in it, which Postgres cannot store.");
  if (!value.isWellFormed()) throw bad("id has half a surrogate pair in it, which Postgres cannot store.");
  return value;
}

function toPriority(value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && Math.abs(value) <= priorityMax) return value;
  throw bad(`priority cannot be ${show(value)}: it is a whole number from -${priorityMax} to ${priorityMax}.`);
}

function toTime(value: Date): number {
  if (Number.isNaN(value.getTime())) throw bad("delay is an invalid date.");
  return value.getTime();
}

function bad(message: string): WaymarkError {
  return new WaymarkError("WM205", message, { hint: "The options are { id, priority, delay }." });
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
