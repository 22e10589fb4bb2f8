// Every action and workflow declared in this process, by name. On globalThis under a registered symbol, so that the
// ESM and CommonJS copies of waymark share one; a test runner that gives each file its own global gives it its own.

import { WaymarkError } from "../base/failure.ts";
import type { ActionDefinition, WorkflowDefinition, workflowBrand } from "./definition.ts";

/** What `workflow()` returned, as the compiler takes it. */
export type WorkflowFunction = ((...args: never[]) => unknown) & { readonly [workflowBrand]: WorkflowDefinition };

/** Where a declaration stands: the user's frames, innermost first, and when it was evaluated. */
export interface Place {
  /** "file:line:column", the query of a URL removed. */
  at: string;
  file: string;
  /** All frames of the same file: a helper that declares for two callers is in two places. */
  chain: string;
  turn: number;
}

interface Entry<Definition> {
  definition: Definition;
  place: Place;
  /** The function's text and the options: with the same, it is the same definition, bundled twice. */
  identity: string;
}

interface Registry {
  actions: Map<string, Entry<ActionDefinition>>;
  workflows: Map<string, Entry<WorkflowDefinition> & { workflow: WorkflowFunction }>;
  turn: number;
  turning: boolean;
}

const key = Symbol.for("waymark.registry");

export function registeredActions(): ReadonlyMap<string, ActionDefinition> {
  return new Map([...registry().actions].map(([name, { definition }]) => [name, definition]));
}

/** The action of that name, looked up for every attempt. */
export function actionNamed(name: string): ActionDefinition | undefined {
  return registry().actions.get(name)?.definition;
}

export function registeredWorkflows(): ReadonlyMap<string, WorkflowFunction> {
  return new Map([...registry().workflows].map(([name, { workflow }]) => [name, workflow]));
}

/** Throws WM203 if another declaration has the name. */
export function registerAction(definition: ActionDefinition, place: Place): void {
  register("action", registry().actions, {
    definition,
    place,
    identity: `${JSON.stringify(definition.policy)} ${Object.keys(definition.dependencies)} ${textOf(definition.run)}`,
  });
}

/** Throws WM203 if another declaration has the name. */
export function registerWorkflow(workflow: WorkflowFunction, definition: WorkflowDefinition, place: Place): void {
  register("workflow", registry().workflows, { definition, workflow, place, identity: textOf(definition.target) });
}

/** The place of the call of `declare`, a function on the stack. */
export function placeOf(declare: (...args: never[]) => unknown): Place {
  const holder: { stack?: string } = {};
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 50;
  Error.captureStackTrace(holder, declare);
  const stack = String(holder.stack); // made at its first reading, under the limit set above
  Error.stackTraceLimit = limit;
  const frames = stack.split("\n").slice(1).flatMap(readFrame);
  const file = frames[0]?.file ?? "unknown";
  const chain: string[] = [];
  for (const frame of frames) {
    if (frame.file !== file) break;
    chain.push(frame.at);
  }
  return { at: frames[0]?.at ?? "unknown", file, chain: chain.join(" "), turn: currentTurn() };
}

function register<E extends Entry<{ name: string }>>(
  kind: "action" | "workflow",
  entries: Map<string, E>,
  entry: E,
): void {
  const { name } = entry.definition;
  const before = entries.get(name);
  if (before !== undefined && !replaces(before, entry)) {
    throw new WaymarkError(
      "WM203",
      `There are two ${kind}s named "${name}": at ${before.place.at}, and at ${entry.place.at}.`,
      {
        hint: "The name is stored with every instance that uses it, so it can only mean one thing. Rename one of the two.",
      },
    );
  }
  entries.set(name, entry);
}

// The same module evaluated again (watch mode, hot reload, a test runner) stands in the same file, at the same place or,
// once edited, in a later turn: one evaluation of a module is one turn of the event loop. The same declaration in two
// bundles of one application has the same text in two files.
function replaces<Definition>(before: Entry<Definition>, now: Entry<Definition>): boolean {
  if (before.place.file !== now.place.file) return before.identity === now.identity;
  return before.place.chain === now.place.chain || before.place.turn !== now.place.turn;
}

// "at declare (file:1:2)", "at async file:1:2". Paths may have blanks and parentheses of their own.
function readFrame(line: string): { at: string; file: string }[] {
  const text = line.trim();
  const match = (text.endsWith(")") ? /^at .*? \((.+):(\d+):(\d+)\)$/ : /^at (?:async )?(.+):(\d+):(\d+)$/).exec(text);
  if (match === null) return [];
  const file = match[1]!.replace(/^file:\/\//, "").replace(/\?.*$/, "");
  return file.startsWith("node:") ? [] : [{ file, at: `${file}:${match[2]}:${match[3]}` }];
}

function currentTurn(): number {
  const state = registry();
  if (!state.turning) {
    state.turning = true;
    state.turn++;
    queueMicrotask(() => {
      state.turning = false;
    });
  }
  return state.turn;
}

function textOf(fn: (...args: never[]) => unknown): string {
  return Function.prototype.toString.call(fn);
}

function registry(): Registry {
  const holder = globalThis as { [key]?: Registry };
  holder[key] ??= { actions: new Map(), workflows: new Map(), turn: 0, turning: false };
  return holder[key];
}
