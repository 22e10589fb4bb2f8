// What a compiled workflow is: immutable data that the compiler writes, the store keeps once, and the VM executes.
// `code` part decides the hash; `debug` part (names, positions, sources, graph) does not.

/** Format number of programs and snapshots this build writes. A host claims only formats it can run. */
export const programFormat = 1;

export type Constant = string | number | bigint;

/** Bits of `FunctionCode.flags`. */
export const functionFlags = {
  async: 1,
  generator: 2,
  arrow: 4, // not constructible, no prototype
  method: 8, // not constructible, no prototype
  derived: 16, // class constructor with `extends`
  constructor: 32, // class constructor: throws without `new`
  initialiser: 64, // synthetic: field initialiser or static block
} as const;

export interface FunctionCode {
  /** `name` property. */
  name: string;
  /** `length` property: parameters before the first default or rest. */
  length: number;
  /** Parameters that the call copies into registers 0, 1, ...; missing ones become undefined. */
  parameters: number;
  registers: number;
  flags: number;
  /** Cells a closure takes: n >= 0 the register of the creating frame that holds the cell, n < 0 its own captured cell ~n. */
  captures: readonly number[];
  code: Int32Array;
  /** Innermost first. While pc is in [start, end) a throw goes to `handler` with the value in register `into`. */
  handlers: readonly { start: number; end: number; handler: number; into: number }[];
}

/** Something captured from the module: made at first use, one identity per instance. */
export type StaticDef =
  | { kind: "function"; function: number } // closure without cells
  | { kind: "class"; function: number } // function called once, without arguments; returns the class
  | { kind: "data"; data: number }; // frozen data: index into `data`

/** Names outside the program. */
export type Reference =
  | { kind: "action"; name: string; policy: Uint8Array | null } // declared policy, value-coded plain data
  | { kind: "workflow"; name: string }
  | { kind: "durable"; name: "sleep" | "now" | "random" | "uuid" | "runAction" };

export interface Program {
  format: number;
  workflow: string;
  /** Function 0 is the entry: called with the input array spread as arguments. */
  functions: readonly FunctionCode[];
  constants: readonly Constant[];
  /** Template literals of tagged templates: cooked (undefined where invalid) and raw. */
  templates: readonly { cooked: readonly (string | undefined)[]; raw: readonly string[] }[];
  statics: readonly StaticDef[];
  /** Value-coded captured constants. */
  data: readonly Uint8Array[];
  references: readonly Reference[];
  debug: Debug;
}

export interface Debug {
  /** Original files, absolute path or URL, and their text where known. */
  sources: readonly { file: string; text: string | null }[];
  functions: readonly {
    source: number;
    /** Triples pc, line (1-based), column (1-based), ascending by pc: position from pc on. */
    positions: Int32Array;
    /** [register, name, start pc, end pc] of each local. */
    locals: readonly (readonly [number, string, number, number])[];
    /** Names of `captures`. */
    captures: readonly string[];
    /** `toString()` text. */
    text: string;
    /** Callee text by pc of CALL/NEW, for "x.y is not a function". */
    callees: readonly (readonly [number, string])[];
  }[];
  graph: Graph;
}

/** The shape of a workflow, for people: derived from the same tree that emits the code. */
export interface Graph {
  nodes: readonly GraphNode[];
  edges: readonly { from: number; to: number; label?: string }[];
}

export interface GraphNode {
  id: number;
  kind:
    | "start"
    | "end"
    | "action"
    | "sleep"
    | "child"
    | "durable"
    | "branch"
    | "loop"
    | "fanout"
    | "try"
    | "catch"
    | "finally"
    | "throw"
    | "call";
  label: string;
  /** Enclosing node (loop body, branch, try), or -1. */
  parent: number;
  /** Position in the original source. */
  at: { source: number; line: number; column: number } | null;
  /** Call sites (function, pc) whose effects belong to this node. */
  sites: readonly { function: number; pc: number }[];
}
