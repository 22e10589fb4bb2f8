// The compiler's door: `waymark/compiler`.

export { type Compiled, CompileError, type CompileOptions, compileScript, compileWorkflow } from "./compile/compile.ts";
export { type Diagnostic, printDiagnostics } from "./compile/diagnostics.ts";
export { disassemble } from "./program/disassemble.ts";
export { decodeProgram, encodeProgram } from "./program/encode.ts";
export type { Debug, Graph, GraphNode, Program } from "./program/program.ts";
export { verifyProgram } from "./program/verify.ts";
