// Durations as people write them, in milliseconds. Milliseconds count; nothing is truncated: half a second is 500, and
// what is finer than a millisecond is rounded up, so that nobody waits less than they asked for.

import { WaymarkError } from "./failure.ts";

/** `"90s"`, `"24h"`, `"1h30m"`, milliseconds, or parts. */
export type Duration =
  | number
  | string
  | { days?: number; hours?: number; minutes?: number; seconds?: number; milliseconds?: number };

/** The longest duration: what a `Date` can be away from the epoch. */
export const durationMaxMs = 8.64e15;

/** Milliseconds, a whole number. Throws WM201 naming the value. */
export function parseDuration(duration: Duration): number {
  switch (typeof duration) {
    case "number":
      return whole(duration, duration);
    case "string":
      return whole(parseText(duration), duration);
    case "object":
      if (duration !== null) return whole(addParts(duration), duration);
      break;
    default:
  }
  throw nonsense(duration, "a duration is a string, a number of milliseconds, or an object of parts");
}

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

const units = new Map<string, number>([
  ...spell(["ms", "millisecond", "milliseconds"], 1),
  ...spell(["s", "sec", "second", "seconds"], second),
  ...spell(["m", "min", "minute", "minutes"], minute),
  ...spell(["h", "hour", "hours"], hour),
  ...spell(["d", "day", "days"], day),
  ...spell(["w", "week", "weeks"], 7 * day),
]);

const parts = new Map<string, number>([
  ["days", day],
  ["hours", hour],
  ["minutes", minute],
  ["seconds", second],
  ["milliseconds", 1],
]);

function spell(names: readonly string[], ms: number): [string, number][] {
  return names.map((name) => [name, ms]);
}

function parseText(text: string): number {
  const pattern = /\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)\s*/giy;
  let total = 0;
  let smallest = Number.POSITIVE_INFINITY;
  let end = 0;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const [, amount, name] = match as unknown as [string, string, string];
    if (name === "") throw nonsense(text, `${amount} has no unit`);
    const unit = units.get(name.toLowerCase());
    if (unit === undefined) throw nonsense(text, `${JSON.stringify(name)} is not a unit`);
    if (unit >= smallest) throw nonsense(text, "units go from the largest to the smallest, each once");
    total += Number(amount) * unit;
    smallest = unit;
    end = pattern.lastIndex;
  }
  if (end !== text.length || end === 0) throw nonsense(text, "it cannot be read");
  return total;
}

function addParts(duration: object): number {
  if (duration instanceof Date) throw nonsense(duration, "a point in time is not a duration");
  const entries = Object.entries(duration) as [string, unknown][];
  if (entries.length === 0) throw nonsense(duration, "it has no parts");
  let total = 0;
  for (const [name, amount] of entries) {
    const unit = parts.get(name);
    if (unit === undefined) throw nonsense(duration, `${JSON.stringify(name)} is not a part`);
    if (amount === undefined) continue;
    if (typeof amount !== "number" || !(amount >= 0))
      throw nonsense(duration, `${name} is not a number that is zero or more`);
    total += amount * unit;
  }
  return total;
}

/** Binary fractions (1.1 s is 1100.0000000000002 ms) are cleaned away before rounding up. */
function whole(ms: number, given: unknown): number {
  if (Number.isNaN(ms)) throw nonsense(given, "it is not a number");
  if (ms < 0) throw nonsense(given, "it is negative");
  if (ms > durationMaxMs) throw nonsense(given, "it is longer than a date can express");
  return Math.ceil(Number(ms.toPrecision(15)));
}

function nonsense(given: unknown, why: string): WaymarkError {
  return new WaymarkError("WM201", `${show(given)} is not a duration: ${why}.`, {
    hint: 'Write "90s", "1h30m", "500ms", "2d", a number of milliseconds, or { minutes: 10 }.',
  });
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "object" && value !== null && !(value instanceof Date)) {
    return `{ ${Object.entries(value)
      .map(([key, part]) => `${key}: ${typeof part === "object" ? "..." : show(part)}`)
      .join(", ")} }`;
  }
  return typeof value === "function" ? "a function" : String(value);
}
