// What a running function is: registers, a position, and whom it returns to. Registers do not inherit from the realm's
// Array.prototype, because arrays below a frozen prototype leave V8's fast paths (2 to 5 times slower, measured).

import { op, shapes } from "../program/instructions.ts";
import { type FunctionCode, functionFlags, type Program } from "../program/program.ts";
import type { AsyncGeneratorRecord, Callable, Closure, GeneratorRecord } from "./stamp.ts";

export class Registers extends Array<unknown> {}
Object.setPrototypeOf(Registers.prototype, null);

export function registers(size: number): Registers {
  const made = new Registers(size);
  for (let i = 0; i < size; i++) made[i] = undefined;
  return made;
}

/** What a variable shared by closures is kept in. */
export class Cell {
  value: unknown;
  constructor(value: unknown) {
    this.value = value;
  }
}

/** Stands in a register whose variable has no value yet. */
export class Hole {}
export const hole = new Hole();

/** How a frame ends. */
export const plain = 0;
export const asynchronous = 1;
export const generating = 2;
export const asyncGenerating = 3;

/** A function of a loaded program, with what the loop wants to know about it. */
export class Code {
  readonly program: Loaded;
  readonly index: number;
  readonly name: string;
  readonly length: number;
  readonly parameters: number;
  readonly registers: number;
  readonly flags: number;
  readonly captures: readonly number[];
  readonly code: Int32Array;
  readonly handlers: FunctionCode["handlers"];
  readonly kind: number;
  readonly constructs: boolean;
  readonly classConstructor: boolean;
  readonly derived: boolean;
  /** Whether the code looks at its arguments other than through parameters. */
  readonly keepsArguments: boolean;
  free: Frame | null = null;

  constructor(program: Loaded, index: number, source: FunctionCode) {
    this.program = program;
    this.index = index;
    this.name = source.name;
    this.length = source.length;
    this.parameters = source.parameters;
    this.registers = source.registers;
    this.flags = source.flags;
    this.captures = source.captures;
    this.code = source.code;
    this.handlers = source.handlers;
    const { async, generator, arrow, method, constructor: ofClass, derived, initialiser } = functionFlags;
    this.kind = (source.flags & async ? 1 : 0) + (source.flags & generator ? 2 : 0);
    this.constructs = (source.flags & (async | generator | arrow | method | initialiser)) === 0;
    this.classConstructor = (source.flags & ofClass) !== 0;
    this.derived = (source.flags & derived) !== 0;
    this.keepsArguments = looksAtArguments(source.code);
  }
}

function looksAtArguments(code: Int32Array): boolean {
  for (let pc = 0; pc < code.length; pc += 1 + shapes[code[pc]!]!.length) {
    if (code[pc] === op.REST || code[pc] === op.ARGUMENTS) return true;
  }
  return false;
}

/** A program linked for this realm. */
export class Loaded {
  readonly program: Program;
  readonly codes: Code[] = [];
  /** Captured data, decoded once, deep frozen. */
  readonly data: unknown[] = [];
  /** Which of them instances share; found out at first use. */
  readonly shared: (boolean | undefined)[] = [];
  constructor(program: Program) {
    this.program = program;
    for (let i = 0; i < program.functions.length; i++) this.codes[i] = new Code(this, i, program.functions[i]!);
  }
}

export class Frame {
  code: Code;
  regs: Registers;
  /** The instruction that is running, or that waits for a value. */
  pc = 0;
  self: unknown = undefined;
  newTarget: unknown = undefined;
  callee: Callable;
  closure: Closure;
  args: ArrayLike<unknown> | null = null;
  /** Who gets the result, while the caller waits for it in the same loop. */
  parent: Frame | null = null;
  /** Only for traces: the frame that stood on top when a native called in. */
  below: Frame | null = null;
  depth = 0;
  /** 0 a call, 1 `new` on a base, 2 `new` on a derived class. */
  constructing = 0;
  promise: object | null = null;
  generator: GeneratorRecord | AsyncGeneratorRecord | null = null;
  next: Frame | null = null;

  constructor(code: Code, callee: Callable, closure: Closure) {
    this.code = code;
    this.callee = callee;
    this.closure = closure;
    this.regs = registers(code.registers);
  }
}

/** A frame for a call; of a plain function, one used before. */
export function openFrame(closure: Closure, callee: Callable): Frame {
  const code = closure.code;
  const free = code.free;
  if (free === null) return new Frame(code, callee, closure);
  code.free = free.next;
  free.next = null;
  free.callee = callee;
  free.closure = closure;
  free.pc = 0;
  return free;
}

/** Only frames of plain functions that nobody can hold any more. Registers are cleared: nothing may leak to the next call. */
export function closeFrame(frame: Frame): void {
  const regs = frame.regs;
  for (let i = 0; i < regs.length; i++) regs[i] = undefined;
  frame.self = undefined;
  frame.newTarget = undefined;
  frame.args = null;
  frame.parent = null;
  frame.below = null;
  frame.constructing = 0;
  frame.next = frame.code.free;
  frame.code.free = frame;
}
