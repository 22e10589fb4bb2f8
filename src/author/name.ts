// Names of actions and workflows: stored for as long as an instance lives, and shown to people.

import { WaymarkError } from "../base/failure.ts";

export const nameMaxLength = 200;

/** Throws WM204 unless `name` can be one. */
export function checkName(kind: "action" | "workflow", name: unknown): asserts name is string {
  if (typeof name !== "string") {
    throw bad(kind, `The first argument of ${kind}() is its name, not ${shown(name)}.`);
  }
  if (name.trim() === "" || name !== name.trim()) {
    throw bad(kind, `${JSON.stringify(name)} is not a name: it is empty, or has blanks around it.`);
  }
  if (name.length > nameMaxLength)
    throw bad(kind, `A name has at most ${nameMaxLength} characters, not ${name.length}.`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(name) || !name.isWellFormed()) {
    throw bad(kind, `${JSON.stringify(name)} is not a name: it has control characters or half a surrogate pair.`);
  }
}

/** What was given instead, for a message. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "function") return value.name === "" ? "a function" : `the function ${value.name}`;
  if (typeof value === "object") return Array.isArray(value) ? "an array" : "an object";
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

function bad(kind: "action" | "workflow", message: string): WaymarkError {
  return new WaymarkError("WM204", message, {
    hint: `Write ${kind}("sendEmail", ...): a name of your own, because bundlers rename functions and instances remember it.`,
  });
}
