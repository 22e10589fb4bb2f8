// Functions of the VM's own. One that a workflow can hold while it waits is (definition, slots) and nothing else: a
// captured variable in its place made `Promise.all` hang after a restore, once.

import { Builtin, type BuiltinDefinition, type Callable, stamp } from "./stamp.ts";

const definitions = new Map<string, BuiltinDefinition>();

export function define(
  id: string,
  length: number,
  run: (slots: unknown[], self: unknown, args: ArrayLike<unknown>) => unknown,
  name = "",
): BuiltinDefinition {
  const definition = { id, name, length, run };
  definitions.set(id, definition);
  return definition;
}

export const definitionOf = (id: string): BuiltinDefinition | undefined => definitions.get(id);

/** A function of a definition. Methods have no `prototype` and cannot be called with `new`. */
export function builtin(definition: BuiltinDefinition, slots: unknown[]): Callable {
  const inner = new Builtin(definition, slots);
  const made = template(inner);
  if (definition.name !== "") {
    Object.defineProperty(made, "name", {
      value: definition.name,
      writable: false,
      enumerable: false,
      configurable: true,
    });
  }
  return stamp(made, inner);
}

function template(inner: Builtin): Callable {
  const run = inner.definition.run;
  const slots = inner.slots;
  switch (inner.definition.length) {
    case 0:
      return {
        ""() {
          // biome-ignore lint/complexity/noArguments: a rest parameter costs an array
          return run(slots, this, arguments);
        },
      }[""];
    case 1:
      return {
        ""(_a: unknown) {
          // biome-ignore lint/complexity/noArguments: as above
          return run(slots, this, arguments);
        },
      }[""] as Callable;
    default: {
      const made = {
        ""(_a: unknown, _b: unknown) {
          // biome-ignore lint/complexity/noArguments: as above
          return run(slots, this, arguments);
        },
      }[""] as Callable;
      if (inner.definition.length !== 2) {
        Object.defineProperty(made, "length", {
          value: inner.definition.length,
          writable: false,
          enumerable: false,
          configurable: true,
        });
      }
      return made;
    }
  }
}

/** A method that stands for a built-in one of the realm: no state at all. */
export function install(holder: object, key: PropertyKey, made: Callable, length?: number): void {
  const name = typeof key === "symbol" ? `[${key.description}]` : String(key);
  Object.defineProperty(made, "name", { value: name, writable: false, enumerable: false, configurable: true });
  if (length !== undefined)
    Object.defineProperty(made, "length", { value: length, writable: false, enumerable: false, configurable: true });
  Object.defineProperty(holder, key, { value: made, writable: true, enumerable: false, configurable: true });
}
