// `workflow()`: gives a plain async function a name and the ways to start it. It compiles nothing and opens nothing;
// that happens at the first `.run()` or `.start()`.

import { WaymarkError } from "../base/failure.ts";
import { noStartOptions, type StartData, type StartOptions, toStartData } from "../program/start.ts";
import { encodeValue } from "../program/value.ts";
import { type WorkflowDefinition, workflowBrand } from "./definition.ts";
import { checkName, shown } from "./name.ts";
import { placeOf, registerWorkflow, type WorkflowFunction } from "./registry.ts";
import { currentRuntime, type Handle } from "./runtime.ts";

/** The ways to start a workflow. Arguments are exactly the function's own. */
export interface Starter<Args extends readonly unknown[], Result> {
  /** Queue it and wait for the result. Rejects with WorkflowFailed or WorkflowCancelled. */
  run(...args: Args): Promise<Result>;
  /** Queue it and go on. */
  start(...args: Args): Promise<Handle<Result>>;
}

export interface Workflow<Args extends readonly unknown[], Result> extends Starter<Args, Result> {
  /** Run the function natively, here and now: nothing is durable. */
  inline(...args: Args): Promise<Result>;
  /** The same starters with options: `wf.with({ id: "signup-42" }).start(user)`. */
  with(options: StartOptions): Starter<Args, Result>;
  readonly workflowName: string;
}

export interface WorkflowOptions {
  /** What the function uses from outside it, by name; overrides what would be found by reflection. */
  scope?: () => Record<string, unknown>;
}

type AnyFunction = (...args: never[]) => unknown;
/** A function's workflow. Inferred from the whole function: defaults (`subject = "Hi"`) then keep their types. */
export type WorkflowOf<F> = F extends (...args: infer Args) => infer Result ? Workflow<Args, Awaited<Result>> : never;
type WorkflowClass<Args extends unknown[], Result> = new () => { run(...args: Args): Result };

/**
 * Declare a workflow: an async function, or a class with `async run()`.
 *
 *     const welcome = workflow("welcome", async (ids: string[]) => { ... });
 *     await welcome.run(["u1"]);
 *
 * Throws WM203 if the name is taken, WM204 for a wrong name, option or function.
 */
export function workflow<Args extends unknown[], Result>(
  name: string,
  target: WorkflowClass<Args, Result>,
): Workflow<Args, Awaited<Result>>;
export function workflow<F extends CallableFunction>(name: string, fn: F): WorkflowOf<F>;
export function workflow<Args extends unknown[], Result>(
  name: string,
  options: WorkflowOptions,
  target: WorkflowClass<Args, Result>,
): Workflow<Args, Awaited<Result>>;
export function workflow<F extends CallableFunction>(name: string, options: WorkflowOptions, fn: F): WorkflowOf<F>;
export function workflow(name: string, ...rest: [unknown] | [WorkflowOptions, unknown]): unknown {
  const place = placeOf(workflow);
  checkName("workflow", name);
  const [options, target] = rest.length === 1 ? [{}, rest[0]] : rest;
  if (typeof target !== "function") {
    throw new WaymarkError("WM204", `Workflow "${name}" needs a function, not ${shown(target)}.`, {
      hint: "workflow(name, fn) or workflow(name, options, fn).",
    });
  }
  const definition: WorkflowDefinition = {
    name,
    target: target as AnyFunction,
    isClass: isClass(target, name),
    scope: checkOptions(options, name),
    declaredAt: place.at,
  };
  const startable = makeStartable(definition);
  registerWorkflow(startable, definition, place);
  return startable;
}

/** Run the user's function or class as plain JavaScript. */
export async function inline(definition: WorkflowDefinition, args: readonly unknown[]): Promise<unknown> {
  const target = definition.target as unknown;
  if (!definition.isClass) return (target as (...all: readonly unknown[]) => unknown)(...args);
  return new (target as WorkflowClass<unknown[], unknown>)().run(...args);
}

function makeStartable(definition: WorkflowDefinition): WorkflowFunction {
  // A function only to say what to write instead: TypeScript knows it as an object.
  const refuse = () => {
    throw new WaymarkError("WM204", `Workflow "${definition.name}" cannot be called as a function.`, {
      hint: `Write ${definition.name}.run(...), .start(...) or .inline(...).`,
    });
  };
  const startable = refuse as unknown as WorkflowFunction;
  return Object.defineProperties(startable, {
    name: hidden(definition.name),
    workflowName: hidden(definition.name),
    [workflowBrand]: hidden(definition),
    ...starters(startable, definition, noStartOptions),
    inline: hidden((...args: unknown[]) => inline(definition, args)),
    with: hidden((options: StartOptions) =>
      Object.defineProperties({}, starters(startable, definition, toStartData(options))),
    ),
  });
}

function starters(workflow: WorkflowFunction, definition: WorkflowDefinition, options: StartData) {
  const request = (args: unknown[]) => ({ workflow, definition, options, input: encodeArguments(definition, args) });
  return {
    run: hidden(async (...args: unknown[]) => {
      const asked = request(args);
      return (await currentRuntime()).run(asked);
    }),
    start: hidden(async (...args: unknown[]) => {
      const asked = request(args);
      return (await currentRuntime()).start(asked);
    }),
  };
}

function hidden(value: unknown): PropertyDescriptor {
  return { value, writable: false, enumerable: false, configurable: true };
}

/** Throws WM401 with the path of what cannot be stored. */
function encodeArguments(definition: WorkflowDefinition, args: readonly unknown[]): Uint8Array {
  return encodeValue(args, { what: `An argument of workflow "${definition.name}"` });
}

function checkOptions(options: unknown, name: string): (() => Record<string, unknown>) | undefined {
  if (typeof options !== "object" || options === null) {
    throw new WaymarkError("WM204", `Workflow "${name}": the options are an object, not ${shown(options)}.`);
  }
  for (const key of Object.keys(options)) {
    if (key !== "scope")
      throw new WaymarkError("WM204", `Workflow "${name}": ${JSON.stringify(key)} is not an option.`);
  }
  const { scope } = options as { scope?: unknown };
  if (scope !== undefined && typeof scope !== "function") {
    throw new WaymarkError("WM204", `Workflow "${name}": scope is a function, not ${shown(scope)}.`, {
      hint: "Write scope: () => ({ fetchUsers, config }).",
    });
  }
  return scope as (() => Record<string, unknown>) | undefined;
}

// A class is told by its text, and a function of old style by a prototype with run(), which some build targets still emit.
function isClass(target: object, name: string): boolean {
  const { prototype } = target as { prototype?: { run?: unknown } };
  const written = /^class\b/.test(Function.prototype.toString.call(target));
  if (typeof prototype?.run === "function") return true;
  if (!written) return false;
  throw new WaymarkError("WM204", `Workflow "${name}" is a class without run().`, {
    hint: "Give it a method async run(...): its parameters are the workflow's.",
  });
}
