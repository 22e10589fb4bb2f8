// A hand assembler: programs of a few instructions, so that the VM is tested apart from the compiler.
import { encodeProgram } from "../../src/program/encode.ts";
import { instructions, type Op } from "../../src/program/instructions.ts";
import {
  type Constant,
  type FunctionCode,
  functionFlags,
  type Program,
  programFormat,
  type Reference,
  type StaticDef,
} from "../../src/program/program.ts";

export type Line = string | readonly [Op, ...(number | string | { k: Constant } | { label: string })[]];

export interface FunctionText {
  name?: string;
  parameters?: number;
  registers: number;
  flags?: number;
  captures?: readonly number[];
  lines: readonly Line[];
  handlers?: readonly { from: string; to: string; handler: string; into: number }[];
}

/** A string alone is a label; `{ label }` is its pc; `{ k }` a constant. */
export function assemble(
  functions: readonly FunctionText[],
  rest: { references?: Reference[]; statics?: StaticDef[]; data?: Uint8Array[] } = {},
): { body: Uint8Array; debug: Uint8Array } {
  const constants: Constant[] = [];
  const constant = (value: Constant): number => {
    const at = constants.indexOf(value);
    return at >= 0 ? at : constants.push(value) - 1;
  };
  const made = functions.map((text): FunctionCode => {
    const labels = new Map<string, number>();
    let pc = 0;
    for (const line of text.lines) {
      if (typeof line === "string") labels.set(line, pc);
      else pc += line.length;
    }
    const labelled = (name: string): number => {
      const at = labels.get(name);
      if (at === undefined) throw new Error(`no label ${name}`);
      return at;
    };
    const words: number[] = [];
    for (const line of text.lines) {
      if (typeof line === "string") continue;
      const [name, ...operands] = line;
      const expected = instructions[name][1] === "" ? 0 : instructions[name][1].split(" ").length;
      if (operands.length !== expected) throw new Error(`${name} takes ${expected} operands`);
      words.push(instructions[name][0]);
      for (const operand of operands) {
        if (typeof operand === "number") words.push(operand);
        else if (typeof operand === "string") words.push(constant(operand));
        else words.push("k" in operand ? constant(operand.k) : labelled(operand.label));
      }
    }
    return {
      name: text.name ?? "",
      length: text.parameters ?? 0,
      parameters: text.parameters ?? 0,
      registers: text.registers,
      flags: text.flags ?? 0,
      captures: text.captures ?? [],
      code: Int32Array.from(words),
      handlers: (text.handlers ?? []).map((h) => ({
        start: labelled(h.from),
        end: labelled(h.to),
        handler: labelled(h.handler),
        into: h.into,
      })),
    };
  });
  const program: Program = {
    format: programFormat,
    workflow: "test",
    functions: made,
    constants,
    templates: [],
    statics: rest.statics ?? [],
    data: rest.data ?? [],
    references: rest.references ?? [],
    debug: {
      sources: [],
      functions: made.map(() => ({
        source: 0,
        positions: new Int32Array(0),
        locals: [],
        captures: [],
        text: "",
        callees: [],
      })),
      graph: { nodes: [], edges: [] },
    },
  };
  return encodeProgram(program);
}

export const flags = functionFlags;
