// Functions of the program as host functions of the realm, so that `extends`, `new`, species and `instanceof` are the
// engine's own. One template for each kind and arity: `length` comes free, and naming at creation is cheaper than
// defining the name afterwards.

import { asynchronous, type Code, generating, type Registers } from "./frame.ts";
import { enter } from "./loop.ts";
import { hidden } from "./primordial.ts";
import { type Callable, Closure, stamp } from "./stamp.ts";

/** The function object for code over captured cells. */
export function closure(code: Code, cells: Registers): Callable {
  const inner = new Closure(code, cells);
  const made = code.constructs ? constructible(code, inner) : method(code, inner);
  if (code.length > 3)
    Object.defineProperty(made, "length", {
      value: code.length,
      writable: false,
      enumerable: false,
      configurable: true,
    });
  if (code.kind !== 0) equip(made, code.kind);
  return stamp(made, inner);
}

/** Async and generator functions have prototypes of their own; generators hand one to what they make. */
function equip(made: Callable, kind: number): void {
  if (kind === asynchronous) Object.setPrototypeOf(made, hidden.asyncFunction);
  else {
    const sync = kind === generating;
    Object.setPrototypeOf(made, sync ? hidden.generatorFunction : hidden.asyncGeneratorFunction);
    const prototype = Object.create(sync ? hidden.generator : hidden.asyncGenerator) as object;
    Object.defineProperty(made, "prototype", {
      value: prototype,
      writable: true,
      enumerable: false,
      configurable: false,
    });
  }
}
/* biome-ignore-start lint/complexity/noArguments: a rest parameter costs an array for each call */
function constructible(code: Code, inner: Closure): Callable {
  const name = code.name;
  let made: Callable;
  switch (code.length) {
    case 0:
      made = {
        [name]: function () {
          return enter(inner, made, this, arguments, new.target);
        },
      }[name] as Callable;
      break;
    case 1:
      made = {
        [name]: function (_a: unknown) {
          return enter(inner, made, this, arguments, new.target);
        },
      }[name] as Callable;
      break;
    case 2:
      made = {
        [name]: function (_a: unknown, _b: unknown) {
          return enter(inner, made, this, arguments, new.target);
        },
      }[name] as Callable;
      break;
    default:
      made = {
        [name]: function (_a: unknown, _b: unknown, _c: unknown) {
          return enter(inner, made, this, arguments, new.target);
        },
      }[name] as Callable;
  }
  return made;
}

function method(code: Code, inner: Closure): Callable {
  const name = code.name;
  let made: Callable;
  switch (code.length) {
    case 0:
      made = {
        [name]() {
          return enter(inner, made, this, arguments, undefined);
        },
      }[name] as Callable;
      break;
    case 1:
      made = {
        [name](_a: unknown) {
          return enter(inner, made, this, arguments, undefined);
        },
      }[name] as Callable;
      break;
    case 2:
      made = {
        [name](_a: unknown, _b: unknown) {
          return enter(inner, made, this, arguments, undefined);
        },
      }[name] as Callable;
      break;
    default:
      made = {
        [name](_a: unknown, _b: unknown, _c: unknown) {
          return enter(inner, made, this, arguments, undefined);
        },
      }[name] as Callable;
  }
  return made;
}
/* biome-ignore-end lint/complexity/noArguments: a rest parameter costs an array for each call */
