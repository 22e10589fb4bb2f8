// Programs as the client needs them: each workflow function compiled once, each program put into the store once, and
// with it those of the workflows it starts, because a host finds a child's program by name.

import type { WorkflowFunction } from "../author/registry.ts";
import type { ProgramRow, Store } from "../store/store.ts";

/** A compiled workflow, ready to be stored. */
export interface Compiled {
  row: Omit<ProgramRow, "no">;
  /** Workflows that it may start. */
  children: readonly WorkflowFunction[];
  /** Error classes that the workflow knows, by name. Asked for only when an error is rebuilt. */
  errorClasses: () => ReadonlyMap<string, ErrorClass>;
}

export type ErrorClass = abstract new (...args: never[]) => unknown;

/** Throws a CompileError with every problem found. */
export type Compile = (workflow: WorkflowFunction) => Compiled;

export class Programs {
  readonly #store: Store;
  readonly #compile: Compile;
  readonly #compiled = new WeakMap<WorkflowFunction, Compiled>();
  readonly #numbers = new Map<string, Promise<number>>(); // by hash

  constructor(store: Store, compile: Compile) {
    this.#store = store;
    this.#compile = compile;
  }

  /** The compiled form, made at the first call. Throws before anything is stored. */
  compiled(workflow: WorkflowFunction): Compiled {
    let compiled = this.#compiled.get(workflow);
    if (compiled === undefined) {
      compiled = this.#compile(workflow);
      this.#compiled.set(workflow, compiled);
    }
    return compiled;
  }

  /** The number under which the store has the program, and those of its children. */
  async number(workflow: WorkflowFunction): Promise<number> {
    const family = new Set([workflow]);
    for (const each of family) for (const child of this.compiled(each).children) family.add(child);
    const [own, ...children] = [...family].map((each) => this.#put(this.compiled(each).row));
    await Promise.all(children);
    return own!;
  }

  #put(row: Omit<ProgramRow, "no">): Promise<number> {
    const hash = Buffer.from(row.hash).toString("hex");
    const known = this.#numbers.get(hash);
    if (known !== undefined) return known;
    const put = this.#store.putProgram(row);
    this.#numbers.set(hash, put);
    put.catch(() => this.#numbers.delete(hash)); // the caller hears of it; the next one tries again
    return put;
  }
}
