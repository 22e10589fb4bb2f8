// From a workflow to its program: capture, analyse, emit, link, encode, hash. Every problem is collected; nothing is
// returned unless there is none.

import { createHash } from "node:crypto";
import type { AnyNode } from "acorn";
import { type WorkflowDefinition, workflowBrand } from "../author/definition.ts";
import { WaymarkError } from "../base/failure.ts";
import { encodeProgram } from "../program/encode.ts";
import { refusedGlobals, vmGlobals } from "../program/globals.ts";
import { functionFlags, type Program, programFormat, type Reference } from "../program/program.ts";
import { verifyProgram } from "../program/verify.ts";
import { withCapture } from "./capture.ts";
import { check } from "./check.ts";
import { type Diagnostic, diagnostic, printDiagnostics, refusal } from "./diagnostics.ts";
import { Builder, close, compileScriptBody, Frame, type Unit } from "./emit.ts";
import { codeFrame } from "./frame.ts";
import { graphOf } from "./graph.ts";
import { type CapturedValue, Linker } from "./link.ts";
import { parseScript } from "./parse.ts";
import { analyse, emptyScope } from "./scope.ts";

export interface Compiled {
  program: Program;
  body: Uint8Array;
  debug: Uint8Array;
  /** SHA-256 of `body`. */
  hash: Uint8Array;
  /** Constants taken from the module, with the path they were reached by and their size. */
  captured: CapturedValue[];
}

export type CompileOptions = Record<string, never>;

export class CompileError extends WaymarkError {
  readonly diagnostics: readonly Diagnostic[];

  constructor(workflow: string, diagnostics: readonly Diagnostic[]) {
    const count = diagnostics.length === 1 ? "one problem" : `${diagnostics.length} problems`;
    super(
      "WM100",
      `\`${workflow}\` does not compile: ${count}.\n\n${printDiagnostics(diagnostics)}`,
      diagnostics[0]?.at ? { at: diagnostics[0].at } : {},
    );
    Object.defineProperty(this, "name", { value: "CompileError", configurable: true });
    this.diagnostics = diagnostics;
  }
}

const cache = new WeakMap<object, Compiled>();

/** A workflow as `workflow()` returned it, or its definition. Compiled once. */
export function compileWorkflow(target: object, _options: CompileOptions = {}): Compiled {
  const definition = definitionOf(target);
  const known = cache.get(definition);
  if (known !== undefined) return known;
  const compiled = withCapture(() => build(definition));
  cache.set(definition, compiled);
  return compiled;
}

function definitionOf(target: object): WorkflowDefinition {
  const branded = (target as { [workflowBrand]?: WorkflowDefinition })[workflowBrand];
  if (branded !== undefined) return branded;
  if (typeof target === "object" && "target" in target && "isClass" in target) return target as WorkflowDefinition;
  throw new WaymarkError("WM150", "Only what `workflow()` returned can be compiled.", {
    hint: 'Declare it: `workflow("name", async () => { ... })`.',
  });
}

function build(definition: WorkflowDefinition): Compiled {
  const builder = new Builder();
  const linker = new Linker(builder);
  const { name, target, isClass, scope } = definition;
  try {
    if (isClass) {
      builder.statics.push({ kind: "class", function: 0 });
      entryOfClass(builder, linker);
      builder.statics[0] = { kind: "class", function: linker.function(target, [name], { scope }) };
    } else linker.function(target, [name], { scope });
    linker.drain();
  } catch (error) {
    if (error instanceof WaymarkError && !(error instanceof CompileError) && linker.diagnostics.length > 0)
      throw new CompileError(name, linker.diagnostics);
    throw error;
  }
  return finish(name, builder, linker.diagnostics, linker.units, linker.sources, linker.captured);
}

/** `(...input) => new Workflow().run(...input)` */
function entryOfClass(builder: Builder, linker: Linker): void {
  const scope = emptyScope();
  const unit = { analysis: { root: scope }, source: linker.source("(waymark)", null), text: "" } as unknown as Unit;
  const f = new Frame(builder, unit, scope);
  const { asm } = f;
  const [input, fn, object] = [asm.take(), asm.take(), asm.take()];
  asm.emit("REST", input, 0);
  asm.emit("STATIC", fn, 0);
  asm.emit("NEW", object, fn, 0, 0);
  asm.emit("GET", fn, object, f.k("run"));
  asm.emit("CALLA", fn, fn, object, input);
  asm.emit("RETURN", fn);
  close(f, null, { name: "run", length: 0, parameters: 0, flags: functionFlags.async | functionFlags.arrow, text: "" });
}

export interface ScriptOptions {
  /** Further names the VM is known to have. */
  globals?: readonly string[];
  /** Names that stand for actions, workflows or durable functions. */
  references?: Readonly<Record<string, Reference>>;
  file?: string;
}

/** A script without a module: top-level await, value of the last expression statement. */
export function compileScript(source: string, options: ScriptOptions = {}): Compiled {
  const builder = new Builder();
  const diagnostics: Diagnostic[] = [];
  const file = options.file ?? "script.js";
  const tree = parse(source, file);
  const lines = lineStarts(source);
  const place = (offset: number) => positionIn(lines, offset);
  const at = (node: AnyNode) => ({ file, ...place(node.start) });
  const frame = (node: AnyNode) =>
    codeFrame(source, place(node.start).line, place(node.start).column, {
      length: Math.max(1, Math.min(60, node.end - node.start)),
    });
  const known = new Set(options.globals ?? []);
  const refuse = (what: string, node: AnyNode) =>
    diagnostics.push(refusal(refusedGlobals.get(what)!, at(node), frame(node)));
  const unit: Unit = {
    text: source,
    source: 0,
    statics: -1,
    analysis: analyse(tree),
    sites: new Map(),
    leaves: new Map(),
    overrides: new Map(),
    at: (node) => place(node.start),
    offset: place,
    place: at,
    frame,
    isGlobal: () => true,
    report: (code, parameters, node) => diagnostics.push(diagnostic(code, parameters, at(node), frame(node))),
    resolve: (name, keys, node, how) => {
      const member = keys[0] !== undefined && refusedGlobals.has(`${name}.${keys[0]}`) ? `${name}.${keys[0]}` : null;
      if (member !== null)
        return {
          taken: 1,
          link: () => {
            refuse(member, node);
            return { kind: "refused" };
          },
        };
      return {
        taken: 0,
        link: () => {
          if (name === "undefined") return { kind: "primitive", value: undefined };
          if (name === "NaN" || name === "Infinity") return { kind: "primitive", value: Number(name) };
          const reference = options.references?.[name];
          if (reference !== undefined) return { kind: "reference", reference, index: indexOf(builder, reference) };
          if (vmGlobals.has(name) || known.has(name)) return { kind: "global", path: [name] };
          if (how === "typeof") return { kind: "primitive", value: undefined };
          if (refusedGlobals.has(name)) refuse(name, node);
          else unit.report("WM110", { name }, node);
          return { kind: "refused" };
        },
      };
    },
  };
  for (const { name, node } of unit.analysis.outer) refuse(name, node);
  for (const { name, node, write } of unit.analysis.free) if (write) unit.report("WM120", { name }, node);
  check(unit, tree, refuse);
  compileScriptBody(builder, unit, tree.body);
  return finish(file, builder, diagnostics, [unit], [{ file, text: source }], []);
}

function parse(source: string, file: string) {
  try {
    return parseScript(source);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const { line, column } = (error as SyntaxError & { loc: { line: number; column: number } }).loc;
    const place = { file, line, column: column + 1 };
    throw new CompileError(file, [
      diagnostic("WM148", { name: file, why: error.message }, place, codeFrame(source, line, column + 1)),
    ]);
  }
}

function finish(
  name: string,
  builder: Builder,
  diagnostics: readonly Diagnostic[],
  units: readonly Unit[],
  sources: Program["debug"]["sources"],
  captured: CapturedValue[],
): Compiled {
  if (diagnostics.length > 0) throw new CompileError(name, diagnostics);
  const program: Program = {
    format: programFormat,
    workflow: name,
    functions: builder.functions,
    constants: builder.constants,
    templates: builder.templates,
    statics: builder.statics,
    data: builder.data,
    references: builder.references,
    debug: { sources, functions: builder.debug, graph: graphOf(units) },
  };
  const fault = verifyProgram(program);
  if (fault !== null)
    throw new WaymarkError("WM900", `internal: the compiler made a program that does not verify: ${fault}`);
  const { body, debug } = encodeProgram(program);
  return { program, body, debug, hash: new Uint8Array(createHash("sha256").update(body).digest()), captured };
}

function indexOf(builder: Builder, reference: Reference): number {
  const known = builder.references.indexOf(reference);
  return known >= 0 ? known : builder.references.push(reference) - 1;
}

function lineStarts(source: string): number[] {
  const starts = [0];
  for (const match of source.matchAll(/\r\n|[\n\r\u2028\u2029]/g)) starts.push(match.index + match[0].length);
  return starts;
}

function positionIn(starts: readonly number[], offset: number): { line: number; column: number } {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle]! <= offset) low = middle;
    else high = middle - 1;
  }
  return { line: low + 1, column: offset - starts[low]! + 1 };
}
