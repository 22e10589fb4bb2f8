// The client straight to Postgres: opened at the first `.run()` or `.start()` of a process.

import { workflowBrand } from "../author/definition.ts";
import { registeredWorkflows, type WorkflowFunction } from "../author/registry.ts";
import { captureFunction, withCapture } from "../compile/capture.ts";
import { compileWorkflow } from "../compile/compile.ts";
import type { Program } from "../program/program.ts";
import { openPostgres } from "../store/postgres/store.ts";
import { type Client, openClient } from "./client.ts";
import type { Compiled, ErrorClass } from "./programs.ts";

// Enough to overlap a start with the reading of results; a fleet of clients must not use up the server's connections.
const connectionsMax = 2;

/** Throws WM500 where the URL is none; everything else is told at the first use. */
export async function openDirect(url: string, options: { skipWait: boolean }): Promise<Client> {
  const store = await openPostgres({ url, connections: connectionsMax });
  return openClient({ store, compile, skipWait: options.skipWait });
}

/** A workflow and those it may start, from the compiler's form to the store's. Throws CompileError. */
export function compile(workflow: WorkflowFunction): Compiled {
  const { program, hash, body, debug } = compileWorkflow(workflow);
  const names = program.references.flatMap((reference) => (reference.kind === "workflow" ? [reference.name] : []));
  const declared = registeredWorkflows();
  let known: ReadonlyMap<string, ErrorClass> | undefined;
  return {
    row: { hash, workflow: program.workflow, format: program.format, body, debug },
    // One that is not declared in this process is left to whoever starts it: its program is found by name.
    children: names.flatMap((name) => declared.get(name) ?? []),
    errorClasses: () => {
      known ??= errorClassesOf(workflow, program);
      return known;
    },
  };
}

// A class that the program holds goes by its name; the class itself is found where the workflow's own code finds it.
function errorClassesOf(workflow: WorkflowFunction, { statics, functions }: Program): Map<string, ErrorClass> {
  const { target, scope } = workflow[workflowBrand];
  const names = statics.flatMap((each) => (each.kind === "class" ? [functions[each.function]!.name] : []));
  const classes = new Map<string, ErrorClass>();
  if (names.length === 0) return classes;
  withCapture(() => {
    const captured = captureFunction(target, { scope });
    for (const name of names) {
      const found = captured.lookup(name);
      if (found.found && isErrorClass(found.value)) classes.set(name, found.value);
    }
  });
  return classes;
}

function isErrorClass(value: unknown): value is ErrorClass {
  return typeof value === "function" && value.prototype instanceof Error;
}
