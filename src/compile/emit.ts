// A tree becomes functions of a program. This file holds what everything else emits into: the program under construction
// (`Builder`) and one function of it (`Frame`: variables, control flow out of nested constructs, prologue and epilogue).
//
// Agreed with the VM:
// - Registers start as undefined; arguments stand in registers 0, 1, ...
// - A base constructor's fields are initialised by the VM before the body; a derived one's by INITFIELDS after SUPERCALL.
// - Constructors: the VM turns a returned non-object into `this` (base) or a TypeError (derived: the compiler has already
//   replaced undefined by `this`).
// - Async generators: the compiler awaits what is yielded and returned; the VM does not.

import type { AnyNode } from "acorn";
import type { At } from "../base/failure.ts";
import type { Constant, Debug, FunctionCode, Reference, StaticDef } from "../program/program.ts";
import { functionFlags } from "../program/program.ts";
import { Assembler, type Label, type Region } from "./assemble.ts";
import type { Override } from "./classes.ts";
import type { DiagnosticCode, Parameters } from "./diagnostics.ts";
import { value } from "./express.ts";
import type { FunctionNode } from "./parse.ts";
import { bind } from "./pattern.ts";
import { type Analysis, type FunctionScope, nameOf, type Scope, type Use, type Variable } from "./scope.ts";
import { statement, statements } from "./state.ts";

/** What a free name, or a path of constant keys from it, stands for. */
export type Leaf =
  | { kind: "primitive"; value: string | number | bigint | boolean | null | undefined }
  | { kind: "static"; index: number }
  | { kind: "reference"; index: number; reference: Reference }
  /** Global `path[0]`, then properties. */
  | { kind: "global"; path: readonly string[] }
  /** esbuild's `__name(fn, "name")`. */
  | { kind: "rename" }
  /** Reported already. */
  | { kind: "refused" };

/** One source text with what is known of it. */
export interface Unit {
  /** Text the tree was parsed from. */
  text: string;
  source: number;
  /** Static this text became, or -1. */
  statics: number;
  analysis: Analysis;
  sites: Map<AnyNode, { function: number; pc: number }>;
  leaves: Map<AnyNode, Leaf>;
  /** Classes captured from a module. */
  overrides: Map<AnyNode, Override>;
  at(node: AnyNode): { line: number; column: number } | null;
  offset(offset: number): { line: number; column: number } | null;
  place(node: AnyNode): At | null;
  frame(node: AnyNode): string | null;
  /** Whether a free name is the host's global. */
  isGlobal(name: string): boolean;
  /** How many of `keys` the leaf takes in, and the leaf itself, linked on demand. */
  resolve(
    name: string,
    keys: readonly string[],
    node: AnyNode,
    how: "read" | "typeof",
  ): { taken: number; link(): Leaf };
  report<Code extends DiagnosticCode>(code: Code, parameters: Parameters<Code>, node: AnyNode): void;
}

export class Builder {
  readonly functions: FunctionCode[] = [];
  readonly debug: Debug["functions"][number][] = [];
  readonly constants: Constant[] = [];
  readonly templates: { cooked: (string | undefined)[]; raw: string[] }[] = [];
  readonly statics: StaticDef[] = [];
  readonly data: Uint8Array[] = [];
  readonly references: Reference[] = [];
  readonly #constants = new Map<string, number>();

  constant(item: Constant): number {
    const key =
      typeof item === "number"
        ? `n${Object.is(item, -0) ? "-0" : item}`
        : `${typeof item === "string" ? "s" : "b"}${item}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    this.#constants.set(key, this.constants.length);
    return this.constants.push(item) - 1;
  }

  /** Numbers are given in the order functions are met, so that entry 0 is the workflow. */
  reserve(): number {
    this.debug.push({ source: -1, positions: new Int32Array(0), locals: [], captures: [], text: "", callees: [] });
    return (
      this.functions.push({
        name: "",
        length: 0,
        parameters: 0,
        registers: 0,
        flags: 0,
        captures: [],
        code: new Int32Array(0),
        handlers: [],
      }) - 1
    );
  }

  finish(
    index: number,
    code: Omit<FunctionCode, "code" | "handlers" | "registers">,
    asm: Assembler,
    debug: Omit<Debug["functions"][number], "positions" | "locals" | "callees">,
  ): void {
    this.functions[index] = {
      ...code,
      registers: asm.registers,
      code: Int32Array.from(asm.code),
      handlers: asm.handlers.map(({ start, end, label, into }) => ({ start, end, handler: label.at, into })),
    };
    this.debug[index] = {
      ...debug,
      positions: Int32Array.from(asm.positions),
      locals: asm.locals,
      callees: asm.callees,
    };
  }
}

/** What lies between a statement and the end of its function. */
export type Control =
  | { kind: "target"; labels: string[]; breaks: Label | null; continues: Label | null; loop: boolean; plain: boolean }
  /** An open iterator: leaving closes it. `done`: register that is true once it is exhausted. */
  | { kind: "iterator"; register: number; region: Region | null; async: boolean; done: number }
  | { kind: "finally"; completion: number; value: number; label: Label; exits: Exit[]; region: Region }
  /** An inner handler that must not cover what runs on the way out. */
  | { kind: "region"; region: Region };

export type Exit = { kind: "return" } | { kind: "jump"; to: Control & { kind: "target" }; continues: boolean };

export class Frame {
  readonly asm = new Assembler();
  readonly control: Control[] = [];
  readonly chains: Label[] = [];
  readonly builder: Builder;
  readonly unit: Unit;
  readonly scope: FunctionScope;
  readonly index: number;
  async = false;
  generator = false;
  /** Scripts: register of the completion value. */
  completion = -1;

  constructor(builder: Builder, unit: Unit, scope: FunctionScope) {
    this.builder = builder;
    this.unit = unit;
    this.scope = scope;
    this.index = builder.reserve();
  }

  k(item: Constant): number {
    return this.builder.constant(item);
  }

  at(node: AnyNode): void {
    this.asm.at(this.unit.at(node));
  }

  // -- variables

  up(variable: Variable): number {
    const known = this.scope.upvalues.indexOf(variable);
    return known >= 0 ? known : this.scope.upvalues.push(variable) - 1;
  }

  read(variable: Variable, dst: number, check: boolean): void {
    if (variable.fn !== this.scope) this.asm.emit("GETUP", dst, this.up(variable));
    else if (variable.captured) this.asm.emit("GETCELL", dst, variable.register);
    else if (dst !== variable.register) this.asm.emit("MOVE", dst, variable.register);
    if (check) this.asm.emit("CHECK", dst, this.k(variable.name));
  }

  /** Register that holds the variable's value itself, or -1. */
  direct(use: Use | undefined): number {
    const variable = use?.variable;
    return variable && variable.fn === this.scope && !variable.captured && !use.check ? variable.register : -1;
  }

  write(use: Use, from: number): void {
    const variable = use.variable!;
    if (use.check) {
      const mark = this.asm.mark;
      this.read(variable, this.asm.take(), true);
      this.asm.release(mark);
    }
    if (variable.kind === "const" || variable.kind === "self" || variable.kind === "using")
      this.asm.emit("THROWNEW", 0, this.k("Assignment to constant variable."));
    else this.set(variable, from);
  }

  set(variable: Variable, from: number): void {
    if (variable.fn !== this.scope) this.asm.emit("SETUP", this.up(variable), from);
    else if (variable.captured) this.asm.emit("SETCELL", variable.register, from);
    else if (from !== variable.register) this.asm.emit("MOVE", variable.register, from);
  }

  /** First value of a declared variable. */
  initialise(variable: Variable, from: number): void {
    if (variable.fn === this.scope && variable.captured && !hasCellAtEntry(variable))
      this.asm.emit("CELL", variable.register, from);
    else this.set(variable, from);
  }

  /** `this`, `new.target`, `arguments`, `%home`, `%callee` of the nearest function that is not an arrow. */
  special(name: string): Variable | undefined {
    let fn = this.scope;
    while (fn.arrow && fn.parent !== null) fn = fn.parent;
    return fn.specials.get(name);
  }

  readSpecial(name: string, dst: number): void {
    const variable = this.special(name);
    if (variable === undefined) this.asm.emit("UNDEFINED", dst);
    else this.read(variable, dst, variable.hole);
  }

  // -- scopes

  /** Registers and cells of a block's variables, then its functions. Close with `leave`. */
  enter(scope: Scope | undefined): number {
    const mark = this.asm.mark;
    if (scope === undefined) return mark;
    for (const variable of scope.variables.values())
      if (variable.register < 0 || variable.kind !== "parameter") this.allocate(variable);
    this.hoist(scope);
    return mark;
  }

  allocate(variable: Variable): void {
    variable.register = this.asm.take();
    if (variable.hole) this.asm.emit("TDZ", variable.register);
    else if (variable.kind === "var" && variable.captured) this.asm.emit("UNDEFINED", variable.register);
    if (variable.captured && hasCellAtEntry(variable)) this.asm.emit("CELL", variable.register, variable.register);
  }

  hoist(scope: Scope): void {
    for (const node of scope.functions) {
      const variable = scope.variables.get(nameOf(node)!)!;
      const mark = this.asm.mark;
      const direct = variable.captured ? this.asm.take() : variable.register;
      closure(this, node, direct, nameOf(node)!);
      if (variable.captured) this.asm.emit("SETCELL", variable.register, direct);
      this.asm.release(mark);
    }
  }

  leave(mark: number, scope: Scope | undefined, start: number): void {
    for (const variable of scope?.variables.values() ?? []) {
      if (!variable.name.startsWith("%") && !variable.name.startsWith("#"))
        this.asm.local(variable.register, variable.name, start);
    }
    this.asm.release(mark);
  }

  block(scope: Scope | undefined, body: () => void): void {
    const start = this.asm.pc;
    const mark = this.enter(scope);
    body();
    this.leave(mark, scope, start);
  }

  // -- leaving

  /** Emits the way out: closes iterators, visits `finally` blocks, and arrives at the target. `from`: register of a returned value. */
  exit(exit: Exit, from: number, depth = this.control.length): void {
    const paused: Region[] = [];
    for (let i = depth - 1; i >= 0; i--) {
      const entry = this.control[i]!;
      if (exit.kind === "jump" && entry === exit.to) break;
      if (entry.kind === "region" || (entry.kind === "iterator" && entry.region !== null)) {
        const region = entry.region!;
        this.asm.pause(region);
        paused.push(region);
      }
      if (entry.kind === "iterator") {
        const end = this.asm.label();
        if (entry.done >= 0) this.asm.jump("JT", [entry.done], end);
        if (entry.async) closeAsync(this, entry.register);
        else this.asm.emit("ITERCLOSE", entry.register);
        this.asm.place(end);
      }
      if (entry.kind === "finally") {
        const known = entry.exits.findIndex(
          (other) =>
            other.kind === exit.kind &&
            (other.kind === "return" ||
              (exit.kind === "jump" && other.to === exit.to && other.continues === exit.continues)),
        );
        const number = known >= 0 ? known : entry.exits.push(exit) - 1;
        if (exit.kind === "return" && from !== entry.value) this.asm.emit("MOVE", entry.value, from);
        this.asm.emit("INT", entry.completion, number + 2);
        this.asm.jump("JUMP", [], entry.label);
        for (const region of paused) this.asm.resume(region);
        return;
      }
    }
    if (exit.kind === "jump") this.asm.jump("JUMP", [], (exit.continues ? exit.to.continues : exit.to.breaks)!);
    else this.finish(from);
    for (const region of paused) this.asm.resume(region);
  }

  /** The end of the function. A derived constructor that returns undefined returns `this`. */
  finish(from: number): void {
    if (this.scope.derived) {
      const object = this.asm.label();
      const mark = this.asm.mark;
      const result = this.asm.take();
      this.asm.emit("MOVE", result, from);
      this.asm.jump("JDEFINED", [result], object);
      this.readSpecial("this", result);
      this.asm.place(object);
      this.asm.emit("RETURN", result);
      this.asm.release(mark);
    } else this.asm.emit("RETURN", from);
  }
}

export function hasCellAtEntry(variable: Variable): boolean {
  return (
    variable.hole ||
    variable.kind === "var" ||
    variable.kind === "function" ||
    variable.kind === "parameter" ||
    variable.kind === "special" ||
    variable.kind === "self"
  );
}

/** `iterator.return()` awaited, and its result checked. */
export function closeAsync(f: Frame, iterator: number): void {
  const { asm } = f;
  const mark = asm.mark;
  const end = asm.label();
  const method = asm.take();
  asm.emit("GET", method, iterator, f.k("return"));
  asm.jump("JNULLISH", [method], end);
  asm.emit("CALL", method, method, iterator, 0, 0);
  asm.emit("AWAIT", method, method);
  requireObject(f, method);
  asm.place(end);
  asm.release(mark);
}

/** What an iterator's method gives must be an object. */
function requireObject(f: Frame, register: number): void {
  const { asm } = f;
  const mark = asm.mark;
  const good = asm.label();
  const bad = asm.label();
  const kind = asm.take();
  const expected = asm.take();
  asm.jump("JNULLISH", [register], bad);
  asm.emit("TYPEOF", kind, register);
  for (const name of ["object", "function"]) {
    asm.emit("CONST", expected, f.k(name));
    asm.jump("JSEQ", [kind, expected], good);
  }
  asm.place(bad);
  asm.emit("THROWNEW", 0, f.k("iterator.return() did not give an object"));
  asm.place(good);
  asm.release(mark);
}

// -- functions

export interface FunctionKind {
  flags: number;
  /** Source range of `toString()`. */
  text?: { start: number; end: number };
}

export function closure(
  f: Frame,
  node: FunctionNode,
  dst: number,
  name: string,
  kind: FunctionKind = { flags: 0 },
): void {
  const index = compileFunction(f.builder, f.unit, f, node, name, kind);
  f.asm.emit("CLOSURE", dst, index);
}

/** Emits a function and says its number. */
export function compileFunction(
  builder: Builder,
  unit: Unit,
  parent: Frame | null,
  node: FunctionNode,
  name: string,
  kind: FunctionKind,
): number {
  const scope = unit.analysis.functions.get(node)!;
  const f = new Frame(builder, unit, scope);
  f.async = node.async;
  f.generator = node.generator === true;
  const { asm } = f;
  const start = asm.pc;
  const names: Scope[] = [scope.scope];
  asm.take(node.params.length);
  prologue(f, node);
  if (f.generator) asm.emit("GENERATOR");
  if (scope.body !== scope.scope) {
    names.push(scope.body);
    f.enter(scope.body);
    for (const variable of scope.body.variables.values()) {
      const parameter = variable.kind === "var" ? scope.scope.variables.get(variable.name) : undefined;
      if (parameter?.kind !== "parameter") continue;
      const mark = asm.mark;
      const copy = asm.take();
      f.read(parameter, copy, false);
      if (!scope.body.functions.some((other) => nameOf(other) === variable.name)) f.set(variable, copy);
      asm.release(mark);
    }
  } else {
    for (const variable of scope.scope.variables.values())
      if (variable.kind !== "parameter" && variable.kind !== "self" && variable.register < 0) f.allocate(variable);
    f.hoist(scope.scope);
  }
  if (node.body.type === "BlockStatement") {
    statements(f, node.body.body);
    asm.at(unit.offset(node.body.end - 1));
    const result = asm.take();
    asm.emit("UNDEFINED", result);
    f.finish(result);
  } else {
    const result = asm.take();
    value(f, node.body, result);
    f.finish(result);
  }
  for (const one of names) f.leave(asm.mark, one, start);
  const range = kind.text ?? node;
  close(f, parent, {
    name: node.type !== "ArrowFunctionExpression" && node.id ? node.id.name : name,
    length: lengthOf(node),
    parameters: node.params.length,
    flags:
      kind.flags |
      (node.async ? functionFlags.async : 0) |
      (f.generator ? functionFlags.generator : 0) |
      (node.type === "ArrowFunctionExpression" ? functionFlags.arrow : 0),
    text: unit.text.slice(range.start, range.end),
  });
  return f.index;
}

/** The last step of every function: its captures are now known. */
export function close(
  f: Frame,
  parent: Frame | null,
  head: { name: string; length: number; parameters: number; flags: number; text: string },
): void {
  const captures = f.scope.upvalues.map((variable) => {
    if (parent === null) throw new Error(`${variable.name} of a function without surroundings`);
    return parent.scope === variable.fn ? variable.register : ~parent.up(variable);
  });
  const { text, ...code } = head;
  f.builder.finish(f.index, { ...code, captures }, f.asm, {
    source: f.unit.source,
    captures: f.scope.upvalues.map((variable) => variable.name),
    text,
  });
}

/** Specials, own name and parameters. */
function prologue(f: Frame, node: FunctionNode): void {
  const { asm, scope } = f;
  specials(f);
  const self = [...scope.scope.variables.values()].find((variable) => variable.kind === "self");
  if (self !== undefined) {
    self.register = asm.take();
    asm.emit("CALLEE", self.register);
    if (self.captured) asm.emit("CELL", self.register, self.register);
  }
  if (scope.simple) {
    node.params.forEach((parameter, i) => {
      const variable = scope.scope.variables.get((parameter as { name: string }).name)!;
      variable.register = i;
      if (variable.captured) asm.emit("CELL", i, i);
    });
    return;
  }
  for (const variable of scope.scope.variables.values()) if (variable.kind === "parameter") f.allocate(variable);
  node.params.forEach((parameter, i) => {
    f.at(parameter);
    if (parameter.type === "RestElement") {
      const mark = asm.mark;
      const rest = asm.take();
      asm.emit("REST", rest, i);
      bind(f, parameter.argument, rest, "parameter");
      asm.release(mark);
    } else bind(f, parameter, i, "parameter");
  });
}

export function specials(f: Frame): void {
  for (const variable of f.scope.specials.values()) {
    const register = f.asm.take();
    variable.register = register;
    if (variable.hole) f.asm.emit("TDZ", register);
    else if (variable.name === "this") f.asm.emit("THIS", register);
    else if (variable.name === "new.target") f.asm.emit("NEWTARGET", register);
    else if (variable.name === "arguments") f.asm.emit("ARGUMENTS", register);
    else if (variable.name === "%home") f.asm.emit("HOME", register);
    else f.asm.emit("CALLEE", register);
    if (variable.captured) f.asm.emit("CELL", register, register);
  }
}

export function lengthOf(node: FunctionNode): number {
  const first = node.params.findIndex(
    (parameter) => parameter.type === "AssignmentPattern" || parameter.type === "RestElement",
  );
  return first < 0 ? node.params.length : first;
}

/** A script as function 0: async, and its completion value returned. */
export function compileScriptBody(builder: Builder, unit: Unit, body: readonly AnyNode[]): void {
  const f = new Frame(builder, unit, unit.analysis.root);
  f.async = true;
  const start = f.asm.pc;
  specials(f);
  f.completion = f.asm.take();
  const mark = f.enter(f.scope.scope);
  for (const node of body) statement(f, node);
  f.asm.emit("RETURN", f.completion);
  f.leave(mark, f.scope.scope, start);
  close(f, null, { name: "script", length: 0, parameters: 0, flags: functionFlags.async, text: unit.text });
}
