// The interpreter: one function, one `switch`. An instruction reads its operands behind `pc` and moves `pc` only when it
// is through, so a throw, a call and a suspension all leave `pc` on their own instruction; whoever comes back to a frame
// finds there where the value goes. Calls from VM code to VM code stay in this loop; only natives call in again.

import { op, shapes } from "../program/instructions.ts";
import { closure as makeClosure } from "./closure.ts";
import { Fault } from "./fault.ts";
import {
  asyncGenerating,
  asynchronous,
  Cell,
  type Code,
  closeFrame,
  type Frame,
  generating,
  hole,
  openFrame,
  plain,
  type Registers,
  registers,
} from "./frame.ts";
import { answer, finishAsyncGenerator, generatorNext, generatorOf, yielded } from "./generator.ts";
import {
  arrayNext,
  arrayStep,
  asyncIteratorOf,
  callNext,
  closeIterator,
  isObject,
  iteratorOf,
  iteratorStep,
} from "./iterate.ts";
import { limits } from "./limits.ts";
import {
  argumentsObject,
  type Bag,
  boundFunction,
  copyData,
  createThis,
  defineData,
  defineMethod,
  isConstructor,
  joined,
  linkClass,
  overrideSet,
  setName,
  toKey,
} from "./object.ts";
import { callWith, errorMakers, hidden, nativeApply, nativeCall } from "./primordial.ts";
import { PrivateName, privateDefine, privateGet, privateHas, privateSet } from "./private.ts";
import { awaitValue, newPromise, rejectPromise, resolvePromise } from "./promise.ts";
import { globalNamed, referenceOf, staticOf, templateOf } from "./resident.ts";
import {
  ArrayCursor,
  AsyncGeneratorRecord,
  Builtin,
  type Callable,
  Closure,
  GeneratorRecord,
  innerOf,
  stamp,
  valuesOf,
} from "./stamp.ts";
import { vm } from "./state.ts";
import { addTrace, calleeText, describe, hasTrace } from "./trace.ts";
import { guardBigint, guardString } from "./wrappers.ts";

/** Words of an instruction, by opcode. */
const sizes = new Uint8Array(256);
for (let i = 0; i < shapes.length; i++) sizes[i] = 1 + shapes[i]!.length;

/** The keys of a `for (k in o)`, and how far it is. */
export class Enumerator {
  readonly target: object;
  readonly keys: string[];
  index = 0;
  constructor(target: object, keys: string[]) {
    this.target = target;
    this.keys = keys;
  }
}

/** A native calls a closure. */
export function enter(
  closure: Closure,
  callee: Callable,
  self: unknown,
  args: ArrayLike<unknown>,
  newTarget: unknown,
): unknown {
  const { code } = closure;
  if (newTarget === undefined) {
    if (code.classConstructor) throw new TypeError(`Class constructor ${code.name} cannot be invoked without 'new'`);
  }
  const frame = openFrame(closure, callee);
  const count = Math.min(args.length, code.parameters);
  for (let i = 0; i < count; i++) frame.regs[i] = args[i];
  if (code.keepsArguments) frame.args = args;
  frame.self = self;
  if (newTarget !== undefined) {
    frame.newTarget = newTarget;
    frame.constructing = code.derived ? 2 : 1;
    if (code.derived) frame.self = undefined;
    else if (closure.fields !== null) Reflect.apply(closure.fields, self, []);
  }
  if (code.kind === asynchronous) frame.promise = newPromise();
  return nested(frame, -1, undefined);
}

/** A suspended frame goes on: 0 with a value, 1 with a return, 2 with a throw. */
export function resume(frame: Frame, mode: number, value: unknown): unknown {
  return nested(frame, mode, value);
}

/** Run code with a closure that nobody else has: initialisers of captured classes. */
export function runCode(code: Code): unknown {
  const inner = new Closure(code, registers(0));
  const frame = openFrame(inner, makeClosure(code, inner.cells));
  return nested(frame, -1, undefined);
}

function nested(frame: Frame, mode: number, value: unknown): unknown {
  if (vm.fault !== null) throw vm.fault;
  const below = vm.top;
  if (vm.nesting >= limits.nesting)
    fault("WM442", `More than ${limits.nesting} calls from built-in functions into the workflow are open at once.`);
  vm.nesting++;
  frame.below = below;
  frame.depth = below === null ? 1 : below.depth + 1;
  try {
    return execute(frame, mode, value);
  } finally {
    frame.below = null;
    vm.nesting--;
    vm.top = below;
  }
}

export function fault(code: string, message: string): never {
  vm.fault ??= new Fault(code, message);
  throw vm.fault;
}

const outOfFuel = (): never =>
  fault("WM441", `The workflow ran ${limits.fuel} calls and loop turns without waiting for anything.`);

function notCallable(frame: Frame, pc: number, value: unknown, what: string): TypeError {
  return new TypeError(`${calleeText(frame, pc) ?? describe(value)} is not ${what}`);
}

function listOf(regs: Registers, first: number, count: number): unknown[] {
  const list = new Array<unknown>(count);
  for (let i = 0; i < count; i++) list[i] = regs[first + i];
  return list;
}

function capture(made: Code, frame: Frame): Registers {
  const { captures } = made;
  const cells = registers(captures.length);
  for (let i = 0; i < captures.length; i++) {
    const n = captures[i]!;
    cells[i] = n >= 0 ? frame.regs[n] : frame.closure.cells[~n];
  }
  return cells;
}

/** Arguments of a call, in a list or in registers. */
function callNative(callee: unknown, self: unknown, regs: Registers, first: number, count: number): unknown {
  switch (count) {
    case 0:
      return callWith(callee, self);
    case 1:
      return callWith(callee, self, regs[first]);
    case 2:
      return callWith(callee, self, regs[first], regs[first + 1]);
    default:
      return Reflect.apply(callee as Callable, self, listOf(regs, first, count));
  }
}

const isOverflow = (error: unknown): boolean =>
  error instanceof RangeError && error.message === "Maximum call stack size exceeded" && !hasTrace(error);

function execute(start: Frame, startMode: number, startValue: unknown): unknown {
  let frame = start;
  let regs = frame.regs;
  let code = frame.code.code;
  let pc = frame.pc;
  let mode = startMode;

  for (;;) {
    try {
      // -- coming back to a suspended frame
      if (mode >= 0) {
        const how = mode;
        mode = -1;
        if (frame.generator !== null) frame.generator.status = "running";
        if (how === 2) throw startValue;
        if (code[pc] === op.YIELD) {
          regs[code[pc + 1]!] = startValue;
          regs[code[pc + 1]! + 1] = how;
          pc += 3;
        } else if (code[pc] === op.AWAIT) {
          regs[code[pc + 1]!] = startValue;
          pc += 3;
        } else pc += 1; // GENERATOR: the first value sent is nobody's
      }

      for (;;) {
        // What a frame gives to its caller, where a case ends in `break`; all others `continue`.
        let result: unknown;
        let finished = true; // of a generator: false at a yield
        let givesStep = false; // the result is a generator's step

        switch (code[pc]) {
          // -- loads
          case 0: // MOVE
            regs[code[pc + 1]!] = regs[code[pc + 2]!];
            pc += 3;
            continue;
          case 1: // CONST
            regs[code[pc + 1]!] = frame.code.program.program.constants[code[pc + 2]!];
            pc += 3;
            continue;
          case 2: // INT
            regs[code[pc + 1]!] = code[pc + 2]!;
            pc += 3;
            continue;
          case 3: // UNDEFINED
            regs[code[pc + 1]!] = undefined;
            pc += 2;
            continue;
          case 4: // NULL
            regs[code[pc + 1]!] = null;
            pc += 2;
            continue;
          case 5: // TRUE
            regs[code[pc + 1]!] = true;
            pc += 2;
            continue;
          case 6: // FALSE
            regs[code[pc + 1]!] = false;
            pc += 2;
            continue;
          case 7: // TDZ
            regs[code[pc + 1]!] = hole;
            pc += 2;
            continue;
          case 8: // GLOBAL
            regs[code[pc + 1]!] = globalNamed(frame.code.program.program.constants[code[pc + 2]!] as string);
            pc += 3;
            continue;
          case 9: // STATIC
            frame.pc = pc;
            vm.top = frame;
            regs[code[pc + 1]!] = staticOf(code[pc + 2]!);
            pc += 3;
            continue;
          case 10: // REF
            regs[code[pc + 1]!] = referenceOf(code[pc + 2]!);
            pc += 3;
            continue;
          case 11: // CALLEE
            regs[code[pc + 1]!] = frame.callee;
            pc += 2;
            continue;
          case 12: // THIS
            regs[code[pc + 1]!] = frame.self;
            pc += 2;
            continue;
          case 13: // NEWTARGET
            regs[code[pc + 1]!] = frame.newTarget;
            pc += 2;
            continue;
          case 14: // HOME
            regs[code[pc + 1]!] = frame.closure.home;
            pc += 2;
            continue;
          case 15: {
            // REST
            const args = frame.args ?? [];
            const from = code[pc + 2]!;
            const rest: unknown[] = [];
            for (let i = from; i < args.length; i++) rest[i - from] = args[i];
            regs[code[pc + 1]!] = rest;
            pc += 3;
            continue;
          }
          case 16: // ARGUMENTS
            regs[code[pc + 1]!] = argumentsObject(frame.args ?? []);
            pc += 2;
            continue;

          // -- cells
          case 17: // CELL
            regs[code[pc + 1]!] = new Cell(regs[code[pc + 2]!]);
            pc += 3;
            continue;
          case 18: // GETCELL
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as Cell).value;
            pc += 3;
            continue;
          case 19: // SETCELL
            (regs[code[pc + 1]!] as Cell).value = regs[code[pc + 2]!];
            pc += 3;
            continue;
          case 20: // GETUP
            regs[code[pc + 1]!] = (frame.closure.cells[code[pc + 2]!] as Cell).value;
            pc += 3;
            continue;
          case 21: // SETUP
            (frame.closure.cells[code[pc + 1]!] as Cell).value = regs[code[pc + 2]!];
            pc += 3;
            continue;
          case 22: // CHECK
            if (regs[code[pc + 1]!] === hole)
              throw uninitialised(frame.code.program.program.constants[code[pc + 2]!] as string);
            pc += 3;
            continue;
          case 23: {
            // CLOSURE
            const made = frame.code.program.codes[code[pc + 2]!]!;
            regs[code[pc + 1]!] = makeClosure(made, capture(made, frame));
            pc += 3;
            continue;
          }

          // -- properties
          case 24: // GET
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as Bag)[
              frame.code.program.program.constants[code[pc + 3]!] as string
            ];
            pc += 4;
            continue;
          case 25: // GETI
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as Bag)[regs[code[pc + 3]!] as string];
            pc += 4;
            continue;
          case 26: {
            // SET
            const target = regs[code[pc + 1]!];
            const key = frame.code.program.program.constants[code[pc + 2]!] as string;
            const value = regs[code[pc + 3]!];
            try {
              (target as Bag)[key] = value;
            } catch (error) {
              overrideSet(target, key, value, error);
            }
            pc += 4;
            continue;
          }
          case 27: {
            // SETI
            const target = regs[code[pc + 1]!];
            const key = regs[code[pc + 2]!];
            const value = regs[code[pc + 3]!];
            if (typeof key === "object" || typeof key === "function") {
              // The key is made once: an override must not run `toString` again.
              if (target === undefined || target === null) (target as unknown as Bag)[key as unknown as string] = value;
              const made = toKey(key);
              try {
                (target as Bag)[made] = value;
              } catch (error) {
                overrideSet(target, made, value, error);
              }
            } else {
              try {
                (target as Bag)[key as string] = value;
              } catch (error) {
                overrideSet(target, key as string, value, error);
              }
            }
            pc += 4;
            continue;
          }
          case 28: // DELETE
            regs[code[pc + 1]!] = delete (regs[code[pc + 2]!] as Bag)[regs[code[pc + 3]!] as string];
            pc += 4;
            continue;
          case 29: {
            // IN
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as string) in (regs[code[pc + 3]!] as object);
            pc += 4;
            continue;
          }
          case 30: // INSTANCEOF
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as object) instanceof (regs[code[pc + 3]!] as new () => object);
            pc += 4;
            continue;
          case 31: {
            // SUPERGET
            const above = Object.getPrototypeOf(regs[code[pc + 2]!]) as object | null;
            const key = toKey(regs[code[pc + 4]!]);
            if (above === null) throw new TypeError(`Cannot read properties of null (reading '${String(key)}')`);
            regs[code[pc + 1]!] = Reflect.get(above, key, regs[code[pc + 3]!]);
            pc += 5;
            continue;
          }
          case 32: {
            // SUPERSET
            const above = Object.getPrototypeOf(regs[code[pc + 1]!]) as object | null;
            const self = regs[code[pc + 2]!];
            const key = toKey(regs[code[pc + 3]!]);
            const value = regs[code[pc + 4]!];
            if (above === null) throw new TypeError(`Cannot set properties of null (setting '${String(key)}')`);
            if (!Reflect.set(above, key, value, self)) {
              overrideSet(
                self,
                key,
                value,
                new TypeError(`Cannot assign to read only property '${String(key)}' of object`),
              );
            }
            pc += 5;
            continue;
          }
          case 33: // PRIVATENAME
            regs[code[pc + 1]!] = new PrivateName(frame.code.program.program.constants[code[pc + 2]!] as string);
            pc += 3;
            continue;
          case 34: // PRIVATEGET
            regs[code[pc + 1]!] = privateGet(regs[code[pc + 2]!], regs[code[pc + 3]!]);
            pc += 4;
            continue;
          case 35: // PRIVATESET
            privateSet(regs[code[pc + 1]!], regs[code[pc + 2]!], regs[code[pc + 3]!]);
            pc += 4;
            continue;
          case 36: // PRIVATEHAS
            regs[code[pc + 1]!] = privateHas(regs[code[pc + 2]!], regs[code[pc + 3]!]);
            pc += 4;
            continue;
          case 37: // PRIVATEDEF
            privateDefine(regs[code[pc + 1]!], regs[code[pc + 2]!], regs[code[pc + 3]!], code[pc + 4]!);
            pc += 5;
            continue;

          // -- literals
          case 38: // OBJECT
            regs[code[pc + 1]!] = {};
            pc += 2;
            continue;
          case 39: // ARRAY
            regs[code[pc + 1]!] = [];
            pc += 2;
            continue;
          case 40: {
            // APPEND
            const target = regs[code[pc + 1]!] as unknown[];
            target[target.length] = regs[code[pc + 2]!];
            pc += 3;
            continue;
          }
          case 41: // APPENDHOLE
            (regs[code[pc + 1]!] as unknown[]).length++;
            pc += 2;
            continue;
          case 42: {
            // APPENDALL
            frame.pc = pc;
            vm.top = frame;
            const target = regs[code[pc + 1]!] as unknown[];
            const pair = iteratorOf(regs[code[pc + 2]!], calleeText(frame, pc));
            for (;;) {
              const step = iteratorStep(pair);
              if (step === null) break;
              target[target.length] = step.value;
            }
            pc += 3;
            continue;
          }
          case 43: // DEFINE
            defineData(
              regs[code[pc + 1]!] as object,
              frame.code.program.program.constants[code[pc + 2]!] as string,
              regs[code[pc + 3]!],
            );
            pc += 4;
            continue;
          case 44: // DEFINEI
            defineData(regs[code[pc + 1]!] as object, regs[code[pc + 2]!] as PropertyKey, regs[code[pc + 3]!]);
            pc += 4;
            continue;
          case 45: // METHOD
            defineMethod(
              regs[code[pc + 1]!] as object,
              regs[code[pc + 2]!] as PropertyKey,
              regs[code[pc + 3]!] as Callable,
              code[pc + 4]!,
            );
            pc += 5;
            continue;
          case 46: {
            // SETPROTO
            const above = regs[code[pc + 2]!];
            if (above === null || isObject(above)) Object.setPrototypeOf(regs[code[pc + 1]!] as object, above);
            pc += 3;
            continue;
          }
          case 47: // COPY
            copyData(
              regs[code[pc + 1]!] as object,
              regs[code[pc + 2]!],
              code[pc + 3]! < 0 ? undefined : regs[code[pc + 3]!],
            );
            pc += 4;
            continue;
          case 48: // REGEXP
            regs[code[pc + 1]!] = new RegExp(
              frame.code.program.program.constants[code[pc + 2]!] as string,
              frame.code.program.program.constants[code[pc + 3]!] as string,
            );
            pc += 4;
            continue;
          case 49: // TEMPLATE
            regs[code[pc + 1]!] = templateOf(frame.code, pc, code[pc + 2]!);
            pc += 3;
            continue;
          case 50: // SETNAME
            setName(regs[code[pc + 1]!], regs[code[pc + 2]!], code[pc + 3]!);
            pc += 4;
            continue;

          // -- operators
          case 51: // ADD
            {
              const sum = (regs[code[pc + 2]!] as number) + (regs[code[pc + 3]!] as number);
              if (typeof sum === "string") guardString((sum as string).length);
              regs[code[pc + 1]!] = sum;
            }
            pc += 4;
            continue;
          case 52: // SUB
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) - (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 53: // MUL
            if (typeof regs[code[pc + 2]!] === "bigint" && typeof regs[code[pc + 3]!] === "bigint") {
              guardBigint("*", regs[code[pc + 2]!] as bigint, regs[code[pc + 3]!] as bigint);
            }
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) * (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 54: // DIV
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) / (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 55: // MOD
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) % (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 56: // EXP
            if (typeof regs[code[pc + 2]!] === "bigint" && typeof regs[code[pc + 3]!] === "bigint") {
              guardBigint("**", regs[code[pc + 2]!] as bigint, regs[code[pc + 3]!] as bigint);
            }
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) ** (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 57: // BITAND
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) & (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 58: // BITOR
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) | (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 59: // BITXOR
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) ^ (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 60: // SHL
            if (typeof regs[code[pc + 2]!] === "bigint" && typeof regs[code[pc + 3]!] === "bigint") {
              guardBigint("<<", regs[code[pc + 2]!] as bigint, regs[code[pc + 3]!] as bigint);
            }
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) << (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 61: // SHR
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) >> (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 62: // USHR
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) >>> (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 63: // EQ
            // biome-ignore lint/suspicious/noDoubleEquals: the instruction
            regs[code[pc + 1]!] = regs[code[pc + 2]!] == regs[code[pc + 3]!];
            pc += 4;
            continue;
          case 64: // NE
            // biome-ignore lint/suspicious/noDoubleEquals: the instruction
            regs[code[pc + 1]!] = regs[code[pc + 2]!] != regs[code[pc + 3]!];
            pc += 4;
            continue;
          case 65: // SEQ
            regs[code[pc + 1]!] = regs[code[pc + 2]!] === regs[code[pc + 3]!];
            pc += 4;
            continue;
          case 66: // SNE
            regs[code[pc + 1]!] = regs[code[pc + 2]!] !== regs[code[pc + 3]!];
            pc += 4;
            continue;
          case 67: // LT
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) < (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 68: // LE
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) <= (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 69: // GT
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) > (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 70: // GE
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) >= (regs[code[pc + 3]!] as number);
            pc += 4;
            continue;
          case 71: // ADDI
            regs[code[pc + 1]!] = (regs[code[pc + 2]!] as number) + code[pc + 3]!;
            pc += 4;
            continue;
          case 72: // NEG
            regs[code[pc + 1]!] = -(regs[code[pc + 2]!] as number);
            pc += 3;
            continue;
          case 73: // PLUS
            regs[code[pc + 1]!] = +(regs[code[pc + 2]!] as number);
            pc += 3;
            continue;
          case 74: // BITNOT
            regs[code[pc + 1]!] = ~(regs[code[pc + 2]!] as number);
            pc += 3;
            continue;
          case 75: // NOT
            regs[code[pc + 1]!] = !regs[code[pc + 2]!];
            pc += 3;
            continue;
          case 76: // TYPEOF
            regs[code[pc + 1]!] = typeof regs[code[pc + 2]!];
            pc += 3;
            continue;
          case 77: {
            // NUMERIC
            let value = regs[code[pc + 2]!] as number;
            regs[code[pc + 1]!] = typeof value === "number" || typeof value === "bigint" ? value : value++;
            pc += 3;
            continue;
          }
          case 78: {
            // INC
            let value = regs[code[pc + 2]!] as number;
            value++;
            regs[code[pc + 1]!] = value;
            pc += 3;
            continue;
          }
          case 79: {
            // DEC
            let value = regs[code[pc + 2]!] as number;
            value--;
            regs[code[pc + 1]!] = value;
            pc += 3;
            continue;
          }
          case 80: // STRING
            regs[code[pc + 1]!] = `${regs[code[pc + 2]!] as string}`;
            pc += 3;
            continue;
          case 81: // KEY
            regs[code[pc + 1]!] = toKey(regs[code[pc + 2]!]);
            pc += 3;
            continue;
          case 82: {
            // COERCIBLE
            const value = regs[code[pc + 1]!];
            if (value === undefined || value === null)
              throw notDestructurable(value, frame.code.program.program.constants[code[pc + 2]!] as string);
            pc += 3;
            continue;
          }

          // -- jumps
          case 83: {
            // JUMP
            const to = code[pc + 1]!;
            if (to <= pc && vm.fuel-- <= 0) outOfFuel();
            pc = to;
            continue;
          }
          case 84: // JT
            if (regs[code[pc + 1]!]) {
              const to = code[pc + 2]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 3;
            continue;
          case 85: // JF
            if (!regs[code[pc + 1]!]) {
              const to = code[pc + 2]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 3;
            continue;
          case 86: {
            // JNULLISH
            const value = regs[code[pc + 1]!];
            if (value === undefined || value === null) {
              const to = code[pc + 2]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 3;
            continue;
          }
          case 87: {
            // JNOTNULLISH
            const value = regs[code[pc + 1]!];
            if (value !== undefined && value !== null) {
              const to = code[pc + 2]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 3;
            continue;
          }
          case 88: // JDEFINED
            if (regs[code[pc + 1]!] !== undefined) {
              const to = code[pc + 2]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 3;
            continue;
          case 89: // JLT
            if ((regs[code[pc + 1]!] as number) < (regs[code[pc + 2]!] as number)) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;
          case 90: // JNLT
            if (!((regs[code[pc + 1]!] as number) < (regs[code[pc + 2]!] as number))) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;
          case 91: // JLE
            if ((regs[code[pc + 1]!] as number) <= (regs[code[pc + 2]!] as number)) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;
          case 92: // JNLE
            if (!((regs[code[pc + 1]!] as number) <= (regs[code[pc + 2]!] as number))) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;
          case 93: // JGT
            if ((regs[code[pc + 1]!] as number) > (regs[code[pc + 2]!] as number)) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;
          case 94: // JNGT
            if (!((regs[code[pc + 1]!] as number) > (regs[code[pc + 2]!] as number))) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;
          case 95: // JGE
            if ((regs[code[pc + 1]!] as number) >= (regs[code[pc + 2]!] as number)) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;
          case 96: // JNGE
            if (!((regs[code[pc + 1]!] as number) >= (regs[code[pc + 2]!] as number))) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;
          case 97: // JSEQ
            if (regs[code[pc + 1]!] === regs[code[pc + 2]!]) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;
          case 98: // JSNE
            if (regs[code[pc + 1]!] !== regs[code[pc + 2]!]) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;
          case 99: // JINT
            if (regs[code[pc + 1]!] === code[pc + 2]!) {
              const to = code[pc + 3]!;
              if (to <= pc && vm.fuel-- <= 0) outOfFuel();
              pc = to;
            } else pc += 4;
            continue;

          // -- calls
          case 100: {
            // CALL d callee this first count
            let callee = regs[code[pc + 2]!];
            let self = code[pc + 3]! < 0 ? undefined : regs[code[pc + 3]!];
            let first = code[pc + 4]!;
            let count = code[pc + 5]!;
            if (vm.fuel-- <= 0) outOfFuel();
            if (typeof callee !== "function") throw notCallable(frame, pc, callee, "a function");
            // `f.call(x)` is a call of f: it must not use up a native level.
            while (callee === nativeCall && typeof self === "function") {
              callee = self;
              self = count > 0 ? regs[first] : undefined;
              if (count > 0) {
                first++;
                count--;
              }
            }
            const inner = innerOf(callee as object);
            if (inner instanceof Closure) {
              const target = inner.code;
              if (target.classConstructor)
                throw new TypeError(`Class constructor ${target.name} cannot be invoked without 'new'`);
              if (frame.depth >= limits.depth) fault("WM443", `More than ${limits.depth} calls are open at once.`);
              const called = openFrame(inner, callee as Callable);
              const into = called.regs;
              const passed = Math.min(count, target.parameters);
              for (let i = 0; i < passed; i++) into[i] = regs[first + i];
              if (target.keepsArguments) called.args = listOf(regs, first, count);
              called.self = self;
              if (target.kind === asynchronous) called.promise = newPromise();
              frame.pc = pc;
              called.parent = frame;
              called.depth = frame.depth + 1;
              frame = called;
              regs = into;
              code = target.code;
              pc = 0;
              continue;
            }
            frame.pc = pc;
            vm.top = frame;
            if (callee === nativeApply && typeof self === "function" && innerOf(self) instanceof Closure) {
              const given = count > 1 ? regs[first + 1] : undefined;
              const args = given === undefined || given === null ? [] : (given as ArrayLike<unknown>);
              const called = openCall(
                innerOf(self) as Closure,
                self as Callable,
                count > 0 ? regs[first] : undefined,
                args,
                frame,
              );
              frame = called;
              regs = frame.regs;
              code = frame.code.code;
              pc = 0;
              continue;
            }
            if (callee === generatorNext) {
              const generator = generatorOf(self);
              if (generator !== undefined && (generator.status === "start" || generator.status === "yield")) {
                const sent = count > 0 ? regs[first] : undefined;
                const next = generator.frame as Frame;
                next.parent = frame;
                next.depth = frame.depth + 1;
                if (next.depth > limits.depth) fault("WM443", `More than ${limits.depth} calls are open at once.`);
                generator.status = "running";
                frame = next;
                regs = frame.regs;
                code = frame.code.code;
                pc = frame.pc;
                if (code[pc] === op.YIELD) {
                  regs[code[pc + 1]!] = sent;
                  regs[code[pc + 1]! + 1] = 0;
                  pc += 3;
                } else pc += 1;
                continue;
              }
            }
            const value = callNative(callee, self, regs, first, count);
            if (typeof value === "object" && value !== null && errorMakers.has(callee as object))
              addTrace(value, frame);
            regs[code[pc + 1]!] = value;
            pc += 6;
            continue;
          }
          case 101: {
            // CALLA d callee this array
            const callee = regs[code[pc + 2]!];
            const self = code[pc + 3]! < 0 ? undefined : regs[code[pc + 3]!];
            const args = regs[code[pc + 4]!] as unknown[];
            if (vm.fuel-- <= 0) outOfFuel();
            if (typeof callee !== "function") throw notCallable(frame, pc, callee, "a function");
            frame.pc = pc;
            vm.top = frame;
            const inner = innerOf(callee);
            if (inner instanceof Closure) {
              frame = openCall(inner, callee as Callable, self, args, frame);
              regs = frame.regs;
              code = frame.code.code;
              pc = 0;
              continue;
            }
            const value = Reflect.apply(callee, self, args) as unknown;
            if (typeof value === "object" && value !== null && errorMakers.has(callee)) addTrace(value, frame);
            regs[code[pc + 1]!] = value;
            pc += 5;
            continue;
          }
          case 102: // NEW d class first count
          case 103: // NEWA d class array
          case 104: // SUPERCALL d class first count
          case 105: {
            // SUPERCALLA d class array
            const which = code[pc]!;
            const args =
              which === op.NEW || which === op.SUPERCALL
                ? listOf(regs, code[pc + 3]!, code[pc + 4]!)
                : (regs[code[pc + 3]!] as unknown[]);
            let callee = regs[code[pc + 2]!];
            let target: unknown = callee;
            if (vm.fuel-- <= 0) outOfFuel();
            if (which >= op.SUPERCALL) {
              target = regs[code[pc + 1]! + 1];
              const child = callee as Callable;
              callee = Object.getPrototypeOf(child);
              if (!isConstructor(callee))
                throw new TypeError(
                  `Super constructor ${callee === null ? "null" : describe(callee)} of anonymous class is not a constructor`,
                );
            } else if (!isConstructor(callee)) throw notCallable(frame, pc, callee, "a constructor");
            frame.pc = pc;
            vm.top = frame;
            let list: ArrayLike<unknown> = args;
            for (;;) {
              const bound = innerOf(callee as object);
              if (!(bound instanceof Builtin) || bound.definition !== boundFunction) break;
              if (target === callee) target = bound.slots[0];
              callee = bound.slots[0];
              list = joined(bound.slots[2] as unknown[], list);
            }
            const inner = innerOf(callee as object);
            if (inner instanceof Closure) {
              const derived = inner.code.derived;
              const self = derived ? undefined : createThis(target);
              if (!derived && inner.fields !== null) Reflect.apply(inner.fields, self, []);
              const called = openCall(inner, callee as Callable, self, list, frame, true);
              called.newTarget = target;
              called.constructing = derived ? 2 : 1;
              frame = called;
              regs = frame.regs;
              code = frame.code.code;
              pc = 0;
              continue;
            }
            const value = Reflect.construct(callee as Callable, list, target as Callable) as unknown;
            if (errorMakers.has(callee as object)) addTrace(value, frame);
            regs[code[pc + 1]!] = value;
            pc += sizes[which]!;
            continue;
          }
          case 106: {
            // INITFIELDS class instance
            const inner = innerOf(regs[code[pc + 1]!] as object);
            const fields = inner instanceof Closure ? inner.fields : null;
            if (fields === null) {
              pc += 3;
              continue;
            }
            frame.pc = pc;
            frame = openCall(innerOf(fields) as Closure, fields, regs[code[pc + 2]!], [], frame);
            regs = frame.regs;
            code = frame.code.code;
            pc = 0;
            continue;
          }
          case 107: {
            // RETURN
            result = regs[code[pc + 1]!];
            const kind = frame.code.kind;
            if (kind === plain) {
              if (frame.constructing !== 0 && !isObject(result)) {
                if (frame.constructing === 1) result = frame.self;
                else if (result === undefined)
                  throw new ReferenceError(
                    "Must call super constructor in derived class before accessing 'this' or returning from derived constructor",
                  );
                else throw new TypeError("Derived constructors may only return object or undefined");
              }
            } else if (kind === asynchronous) {
              resolvePromise(frame.promise as object, result);
              result = frame.promise;
            } else if (kind === generating) {
              const generator = frame.generator as GeneratorRecord;
              generator.status = "done";
              generator.frame = null;
              givesStep = true;
            } else {
              frame.pc = pc;
              finishAsyncGenerator(frame.promise as object, frame.generator as AsyncGeneratorRecord, false, result);
              result = undefined;
            }
            break;
          }
          case 108: // THROW
            throw regs[code[pc + 1]!];
          case 109: {
            // THROWNEW
            const text = frame.code.program.program.constants[code[pc + 2]!] as string;
            throw code[pc + 1]! === 0 ? new TypeError(text) : new ReferenceError(text);
          }

          // -- suspension
          case 110: {
            // AWAIT
            frame.pc = pc;
            vm.top = frame;
            vm.lastAwait = frame;
            awaitValue(frame, regs[code[pc + 2]!]);
            result = frame.promise;
            break;
          }
          case 111: {
            // GENERATOR
            const above = (frame.callee as unknown as { prototype: unknown }).prototype;
            const asyncKind = frame.code.kind === asyncGenerating;
            const record = asyncKind ? new AsyncGeneratorRecord(frame) : new GeneratorRecord(frame);
            const made = stamp(
              Object.create(isObject(above) ? above : asyncKind ? hidden.asyncGenerator : hidden.generator) as object,
              record,
            );
            frame.generator = record;
            if (asyncKind) frame.promise = made;
            frame.pc = pc;
            result = made;
            break;
          }
          case 112: {
            // YIELD
            frame.pc = pc;
            const generator = frame.generator as GeneratorRecord | AsyncGeneratorRecord;
            if (generator instanceof AsyncGeneratorRecord) {
              answer(generator, false, regs[code[pc + 2]!], false);
              const request = generator.requests[0];
              if (request !== undefined) {
                if (request.mode === 2) throw request.value;
                regs[code[pc + 1]!] = request.value;
                regs[code[pc + 1]! + 1] = request.mode;
                pc += 3;
                continue;
              }
              generator.status = "yield";
              result = undefined;
              break;
            }
            generator.status = "yield";
            result = regs[code[pc + 2]!];
            finished = false;
            givesStep = true;
            break;
          }

          // -- iteration
          case 113: {
            // ITER
            frame.pc = pc;
            vm.top = frame;
            const pair = iteratorOf(regs[code[pc + 2]!], calleeText(frame, pc));
            regs[code[pc + 1]!] = pair.iterator;
            regs[code[pc + 1]! + 1] = pair.next;
            pc += 3;
            continue;
          }
          case 114: {
            // ASYNCITER
            frame.pc = pc;
            vm.top = frame;
            const pair = asyncIteratorOf(regs[code[pc + 2]!], calleeText(frame, pc));
            regs[code[pc + 1]!] = pair.iterator;
            regs[code[pc + 1]! + 1] = pair.next;
            pc += 3;
            continue;
          }
          case 115: {
            // ITERNEXT d rr t
            const iterator = regs[code[pc + 2]!] as object;
            const next = regs[code[pc + 2]! + 1];
            if (next === arrayNext) {
              const cursor = innerOf(iterator);
              if (cursor instanceof ArrayCursor && cursor.kind === valuesOf) {
                const target = cursor.target as ArrayLike<unknown>;
                if (arrayStep(cursor)) {
                  regs[code[pc + 1]!] = target[cursor.index - 1];
                  pc += 4;
                } else pc = code[pc + 3]!;
                continue;
              }
            } else if (next === generatorNext) {
              const generator = generatorOf(iterator);
              if (generator !== undefined && (generator.status === "start" || generator.status === "yield")) {
                frame.pc = pc;
                const called = generator.frame as Frame;
                called.parent = frame;
                called.depth = frame.depth + 1;
                if (called.depth > limits.depth) fault("WM443", `More than ${limits.depth} calls are open at once.`);
                generator.status = "running";
                frame = called;
                regs = frame.regs;
                code = frame.code.code;
                pc = frame.pc;
                if (code[pc] === op.YIELD) {
                  regs[code[pc + 1]!] = undefined;
                  regs[code[pc + 1]! + 1] = 0;
                  pc += 3;
                } else pc += 1;
                continue;
              }
            }
            frame.pc = pc;
            vm.top = frame;
            const step = callNext(iterator, next);
            if (step.done) pc = code[pc + 3]!;
            else {
              regs[code[pc + 1]!] = step.value;
              pc += 4;
            }
            continue;
          }
          case 116: {
            // ITERCALL d rr
            frame.pc = pc;
            vm.top = frame;
            const next = regs[code[pc + 2]! + 1];
            if (typeof next !== "function") throw new TypeError(`${describe(next)} is not a function`);
            regs[code[pc + 1]!] = callWith(next, regs[code[pc + 2]!]);
            pc += 3;
            continue;
          }
          case 117: {
            // ITERUNPACK d r t
            const step = regs[code[pc + 2]!];
            if (!isObject(step)) throw new TypeError(`Iterator result ${describe(step)} is not an object`);
            if ((step as { done: unknown }).done) pc = code[pc + 3]!;
            else {
              regs[code[pc + 1]!] = (step as { value: unknown }).value;
              pc += 4;
            }
            continue;
          }
          case 118: // ITERCLOSE
          case 119: // ITERABORT
            frame.pc = pc;
            vm.top = frame;
            closeIterator({ iterator: regs[code[pc + 1]!] as object, next: undefined }, code[pc] === op.ITERABORT);
            pc += 2;
            continue;
          case 120: {
            // FORIN
            const target = regs[code[pc + 2]!];
            const keys: string[] = [];
            const object = target === undefined || target === null ? keys : (Object(target) as object);
            if (object !== keys) for (const key in object) keys[keys.length] = key;
            regs[code[pc + 1]!] = new Enumerator(object, keys);
            pc += 3;
            continue;
          }
          case 121: {
            // FORINNEXT d r t
            const enumerator = regs[code[pc + 2]!] as Enumerator;
            const { keys, target } = enumerator;
            while (enumerator.index < keys.length && !(keys[enumerator.index]! in target)) enumerator.index++;
            if (enumerator.index >= keys.length) pc = code[pc + 3]!;
            else {
              regs[code[pc + 1]!] = keys[enumerator.index++];
              pc += 4;
            }
            continue;
          }

          // -- classes
          case 122: {
            // CLASS dd o f
            const made = frame.code.program.codes[code[pc + 3]!]!;
            const maker = makeClosure(made, capture(made, frame));
            const extending = code[pc + 2]! >= 0;
            const prototype = linkClass(maker, extending ? regs[code[pc + 2]!] : undefined, extending);
            regs[code[pc + 1]!] = maker;
            regs[code[pc + 1]! + 1] = prototype;
            pc += 4;
            continue;
          }
          case 123: // FIELDS class closure
            (innerOf(regs[code[pc + 1]!] as object) as Closure).fields = regs[code[pc + 2]!] as Callable;
            pc += 3;
            continue;
          case 124: // SETHOME closure object
            (innerOf(regs[code[pc + 1]!] as object) as Closure).home = regs[code[pc + 2]!] as object;
            pc += 3;
            continue;
          default:
            throw new Fault("WM900", `internal: no instruction ${code[pc]}`);
        }

        // -- a frame gave a result to whoever waits for it in this loop, or to the native below
        const parent: Frame | null = frame.parent;
        frame.parent = null;
        if (frame.code.kind === plain) closeFrame(frame);
        if (parent === null) {
          yielded.done = finished;
          return result;
        }
        frame = parent;
        regs = frame.regs;
        code = frame.code.code;
        pc = frame.pc;
        const waiting = code[pc]!;
        if (waiting === op.ITERNEXT) {
          if (finished) pc = code[pc + 3]!;
          else {
            regs[code[pc + 1]!] = result;
            pc += 4;
          }
        } else {
          if (waiting !== op.INITFIELDS) regs[code[pc + 1]!] = givesStep ? { value: result, done: finished } : result;
          pc += sizes[waiting]!;
        }
      }
    } catch (thrown) {
      frame.pc = pc;
      vm.top = frame;
      if (thrown instanceof Fault) {
        vm.fault ??= thrown;
        vm.faultAt ??= frame;
        throw thrown;
      }
      // How deep the host's stack is differs between machines: never something a workflow may catch.
      if (isOverflow(thrown)) vm.faultAt ??= frame;
      if (isOverflow(thrown)) fault("WM442", "The workflow's calls through built-in functions are nested too deeply.");
      addTrace(thrown, frame);

      // -- unwind: the innermost handler around pc, frame by frame
      unwinding: for (;;) {
        const { handlers } = frame.code;
        for (let i = 0; i < handlers.length; i++) {
          const handler = handlers[i]!;
          if (pc >= handler.start && pc < handler.end) {
            regs[handler.into] = thrown;
            pc = handler.handler;
            break unwinding;
          }
        }
        const ended: Frame = frame;
        const parent: Frame | null = ended.parent;
        ended.parent = null;
        const kind = ended.code.kind;
        if (kind === asynchronous || (kind === asyncGenerating && ended.generator !== null)) {
          if (kind === asynchronous) rejectPromise(ended.promise as object, thrown);
          else finishAsyncGenerator(ended.promise as object, ended.generator as AsyncGeneratorRecord, true, thrown);
          if (parent === null) return ended.promise;
          frame = parent;
          regs = frame.regs;
          code = frame.code.code;
          pc = frame.pc;
          regs[code[pc + 1]!] = ended.promise;
          pc += sizes[code[pc]!]!;
          break;
        }
        if (kind === plain) closeFrame(ended);
        else if (kind === generating && ended.generator !== null) {
          ended.generator.status = "done";
          ended.generator.frame = null;
        }
        if (parent === null) throw thrown;
        frame = parent;
        regs = frame.regs;
        code = frame.code.code;
        pc = frame.pc;
      }
    }
  }
}

/** A frame for a call with its arguments in a list. */
function openCall(
  inner: Closure,
  callee: Callable,
  self: unknown,
  args: ArrayLike<unknown>,
  parent: Frame,
  constructs = false,
): Frame {
  const target = inner.code;
  if (target.classConstructor && !constructs)
    throw new TypeError(`Class constructor ${target.name} cannot be invoked without 'new'`);
  if (parent.depth >= limits.depth) fault("WM443", `More than ${limits.depth} calls are open at once.`);
  const called = openFrame(inner, callee);
  const count = Math.min(args.length, target.parameters);
  for (let i = 0; i < count; i++) called.regs[i] = args[i];
  if (target.keepsArguments) called.args = args;
  called.self = self;
  if (target.kind === asynchronous) called.promise = newPromise();
  called.parent = parent;
  called.depth = parent.depth + 1;
  return called;
}

function uninitialised(name: string): ReferenceError {
  return new ReferenceError(
    name === "this"
      ? "Must call super constructor in derived class before accessing 'this' or returning from derived constructor"
      : `Cannot access '${name}' before initialization`,
  );
}

function notDestructurable(value: unknown, what: string): TypeError {
  const shown = value === null ? "null" : "undefined";
  if (what === "") return new TypeError(`Cannot read properties of ${shown}`);
  return new TypeError(`Cannot destructure property '${what}' of '${shown}' as it is ${shown}.`);
}
