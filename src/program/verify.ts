// Says whether a program can be executed without looking outside itself: every operand in range, every jump on an
// instruction, every function ending where it cannot run off its end. Programs come from a database: nothing here trusts
// a number, and no input makes it throw or loop.

import { op, opNames, shapes } from "./instructions.ts";
import type { FunctionCode, Program } from "./program.ts";

export const registersMax = 65_535;

const ends: ReadonlySet<number> = new Set([op.RETURN, op.THROW, op.THROWNEW, op.JUMP]);
const allFlags = 127;

/** null, or the first fault found, in words. */
export function verifyProgram(program: Program): string | null {
  if (program.functions.length === 0) return "it has no functions";
  for (const [index, fn] of program.functions.entries()) {
    const fault = verifyFunction(program, fn);
    if (fault !== null) return `function ${index} (${fn.name}): ${fault}`;
  }
  if (program.functions[0]!.captures.length > 0) return "the entry captures variables";
  for (const [index, item] of program.statics.entries()) {
    if (item.kind === "data") {
      if (!within(item.data, program.data.length)) return `static ${index} names data ${item.data}`;
    } else {
      const fn = program.functions[item.function];
      if (fn === undefined) return `static ${index} names function ${item.function}`;
      if (fn.captures.length > 0) return `static ${index} is a function that captures variables`;
    }
  }
  for (const [index, { cooked, raw }] of program.templates.entries())
    if (cooked.length !== raw.length || raw.length === 0) return `template ${index} is uneven`;
  return captures(program);
}

function verifyFunction(program: Program, fn: FunctionCode): string | null {
  if (!within(fn.registers, registersMax + 1)) return `${fn.registers} registers`;
  if (fn.parameters > fn.registers) return "more parameters than registers";
  if (fn.flags < 0 || fn.flags > allFlags) return `flags ${fn.flags}`;
  const { code } = fn;
  if (code.length === 0) return "no code";
  const starts = new Uint8Array(code.length + 1);
  let last = 0;
  for (let pc = 0; pc < code.length; pc += 1 + shapes[code[pc]!]!.length) {
    const shape = shapes[code[pc]!];
    if (shape === undefined) return `no instruction ${code[pc]} at ${pc}`;
    if (pc + shape.length >= code.length) return `cut short at ${pc}`;
    starts[pc] = 1;
    last = pc;
  }
  if (!ends.has(code[last]!)) return "it can run off its end";
  for (let pc = 0; pc < code.length; pc += 1 + shapes[code[pc]!]!.length) {
    const fault = operands(program, fn, pc, starts);
    if (fault !== null) return `${opNames[code[pc]!]} at ${pc}: ${fault}`;
  }
  for (const { start, end, handler, into } of fn.handlers) {
    if (start >= end || !starts[start] || !(end === code.length || starts[end]))
      return `a handler guards ${start} to ${end}`;
    if (!within(handler, code.length) || !starts[handler]) return `a handler at ${handler}`;
    if (!within(into, fn.registers)) return `a handler into register ${into}`;
  }
  return null;
}

function operands(program: Program, fn: FunctionCode, pc: number, starts: Uint8Array): string | null {
  const { code } = fn;
  const number = code[pc]!;
  const shape = shapes[number]!;
  // Arguments stand in neighbouring registers; with a count of 0 the first is not looked at.
  const block = number === op.CALL ? 4 : number === op.NEW || number === op.SUPERCALL ? 3 : 0;
  for (let i = 0; i < shape.length; i++) {
    const operand = code[pc + 1 + i]!;
    if (i + 1 === block && code[pc + block + 1] === 0) continue;
    const kind = shape[i]!;
    switch (kind) {
      case "d":
      case "r":
        if (!within(operand, fn.registers)) return `register ${operand}`;
        break;
      case "dd":
      case "rr":
        if (!within(operand, fn.registers - 1)) return `registers ${operand} and the next`;
        break;
      case "o":
        if (operand !== -1 && !within(operand, fn.registers)) return `register ${operand}`;
        break;
      case "k": {
        const constant = program.constants[operand];
        if (operand < 0 || constant === undefined) return `constant ${operand}`;
        if (number !== op.CONST && typeof constant !== "string") return `constant ${operand} is not a name`;
        break;
      }
      case "t":
        if (!within(operand, code.length) || !starts[operand]) return `jump to ${operand}`;
        break;
      case "f":
        if (!within(operand, program.functions.length)) return `function ${operand}`;
        break;
      case "s":
        if (!within(operand, program.statics.length)) return `static ${operand}`;
        break;
      case "e":
        if (!within(operand, program.references.length)) return `reference ${operand}`;
        break;
      case "p":
        if (!within(operand, program.templates.length)) return `template ${operand}`;
        break;
      case "u":
        if (!within(operand, fn.captures.length)) return `captured cell ${operand}`;
        break;
      case "i":
        break;
    }
  }
  if (block > 0) {
    const first = code[pc + block]!;
    const count = code[pc + block + 1]!;
    if (count < 0 || first + count > fn.registers) return `arguments ${first} to ${first + count - 1}`;
  }
  if ((number === op.SUPERCALL || number === op.SUPERCALLA) && !within(code[pc + 1]! + 1, fn.registers))
    return "no register for new.target";
  return null;
}

/** What a closure captures must exist in the function that makes it. */
function captures(program: Program): string | null {
  for (const [index, fn] of program.functions.entries()) {
    for (let pc = 0; pc < fn.code.length; pc += 1 + shapes[fn.code[pc]!]!.length) {
      const number = fn.code[pc]!;
      if (number !== op.CLOSURE && number !== op.CLASS) continue;
      const made = program.functions[fn.code[pc + (number === op.CLOSURE ? 2 : 3)]!]!;
      for (const n of made.captures) {
        if (n >= 0 ? n >= fn.registers : ~n >= fn.captures.length) return `function ${index}: a closure captures ${n}`;
      }
    }
  }
  return null;
}

function within(value: number, limit: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < limit;
}
