// A program as text: for `waymark compile --asm`, golden tests, and people. Source lines stand above what they became.

import { opNames, shapes } from "./instructions.ts";
import { type FunctionCode, functionFlags, type Program } from "./program.ts";

export function disassemble(program: Program): string {
  const parts = program.functions.map((fn, index) => printFunction(program, fn, index));
  const tables = [
    ...program.statics.map(
      (item, i) =>
        `static ${i}: ${item.kind} ${item.kind === "data" ? `#${item.data}, ${program.data[item.data]?.length ?? 0} bytes` : `function ${item.function}`}`,
    ),
    ...program.references.map((reference, i) => `reference ${i}: ${reference.kind} ${reference.name}`),
  ];
  return [...parts, ...(tables.length > 0 ? [tables.join("\n")] : [])].join("\n\n");
}

function printFunction(program: Program, fn: FunctionCode, index: number): string {
  const debug = program.debug.functions[index];
  const flags = Object.entries(functionFlags).flatMap(([name, bit]) => (fn.flags & bit ? [name] : []));
  const captures = fn.captures.map((n, i) => `${debug?.captures[i] ?? i}=${n >= 0 ? `r${n}` : `up${~n}`}`);
  const head = [
    `function ${index}${fn.name === "" ? "" : ` ${fn.name}`}`,
    `${fn.parameters} parameters`,
    `${fn.registers} registers`,
    ...flags,
    ...(captures.length > 0 ? [`captures ${captures.join(" ")}`] : []),
  ];
  const lines = [`${head.join(", ")}:`];
  const source = debug === undefined ? undefined : program.debug.sources[debug.source]?.text?.split("\n");
  let shown = 0;
  let position = 0;
  for (let pc = 0; pc < fn.code.length; ) {
    const shape = shapes[fn.code[pc]!];
    if (shape === undefined) {
      lines.push(`${String(pc).padStart(5)}  ? ${fn.code[pc]}`);
      break;
    }
    while (debug !== undefined && position < debug.positions.length && debug.positions[position]! <= pc) {
      const line = debug.positions[position + 1]!;
      if (line !== shown) {
        const text = source?.[line - 1]?.trim();
        lines.push(`      ; ${line}${text === undefined ? "" : `: ${text}`}`);
        shown = line;
      }
      position += 3;
    }
    const operands = shape.map((kind, i) => printOperand(program, index, kind, fn.code[pc + 1 + i]!, pc));
    lines.push(`${String(pc).padStart(5)}  ${opNames[fn.code[pc]!]!.padEnd(12)}${operands.join(", ")}`.trimEnd());
    pc += 1 + shape.length;
  }
  for (const { start, end, handler, into } of fn.handlers)
    lines.push(`       handler ${start}..${end} -> ${handler} (r${into})`);
  return lines.join("\n");
}

function printOperand(program: Program, index: number, kind: string, operand: number, pc: number): string {
  switch (kind) {
    case "d":
    case "r":
    case "o": {
      if (operand < 0) return "-";
      const local = program.debug.functions[index]?.locals.find(
        ([register, , start, end]) => register === operand && pc >= start && pc < end,
      );
      return local === undefined ? `r${operand}` : `r${operand}:${local[1]}`;
    }
    case "dd":
    case "rr":
      return `r${operand}+`;
    case "k": {
      const constant = program.constants[operand];
      return typeof constant === "string"
        ? JSON.stringify(constant)
        : typeof constant === "bigint"
          ? `${constant}n`
          : Object.is(constant, -0)
            ? "-0"
            : String(constant);
    }
    case "t":
      return `-> ${operand}`;
    case "f":
      return `function ${operand}`;
    case "s":
      return `static ${operand}`;
    case "e": {
      const reference = program.references[operand];
      return reference === undefined ? `reference ${operand}` : `${reference.kind} ${reference.name}`;
    }
    case "p":
      return `template ${operand}`;
    case "u":
      return `up${operand}:${program.debug.functions[index]?.captures[operand] ?? ""}`;
    default:
      return String(operand);
  }
}
