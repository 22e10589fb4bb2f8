// Ties a text to its module: every free name, by the longest path of constant keys, becomes a constant, a captured
// function or class, frozen data, a reference, or a global of the VM. Helpers are compiled in the order they are met,
// each once.

import type { AnyNode } from "acorn";
import type { At } from "../base/failure.ts";
import { refusedGlobals, vmGlobals } from "../program/globals.ts";
import type { Debug, Reference } from "../program/program.ts";
import { encodeValue } from "../program/value.ts";
import { type AnyFunction, type Captured, captureFunction } from "./capture.ts";
import { check } from "./check.ts";
import { classValue, type Override } from "./classes.ts";
import { type Classified, classify } from "./classify.ts";
import { type Diagnostic, type DiagnosticCode, diagnostic, type Parameters, refusal } from "./diagnostics.ts";
import { type Builder, close, compileFunction, Frame, type Leaf, type Unit } from "./emit.ts";
import { leaf as emitLeaf, propertyName } from "./express.ts";
import type { ClassNode } from "./parse.ts";
import { analyse, emptyScope, isFunction } from "./scope.ts";

export interface CapturedValue {
  path: string;
  bytes: number;
}

const values = new Map<string, undefined | number>([
  ["undefined", undefined],
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
]);
const refused: Leaf = { kind: "refused" };

export class Linker {
  readonly diagnostics: Diagnostic[] = [];
  readonly captured: CapturedValue[] = [];
  readonly sources: Debug["sources"][number][] = [];
  readonly units: Unit[] = [];
  readonly builder: Builder;
  readonly #statics = new Map<object, number>();
  readonly #references = new Map<string, number>();
  readonly #work: (() => void)[] = [];

  constructor(builder: Builder) {
    this.builder = builder;
  }

  /** Compiles what was met and not compiled yet, and what that meets. */
  drain(): void {
    for (let next = this.#work.shift(); next !== undefined; next = this.#work.shift()) next();
  }

  source(file: string, text: string | null): number {
    const known = this.sources.findIndex((one) => one.file === file);
    return known >= 0 ? known : this.sources.push({ file, text }) - 1;
  }

  /** `trail`: how the text was reached, outermost first. */
  unit(captured: Captured, trail: readonly string[]): { unit: Unit; root: AnyNode } {
    const node = captured.node as AnyNode;
    const root = node.type === "Property" || node.type === "MethodDefinition" ? (node.value as AnyNode) : node;
    const shift = captured.prefix.length;
    const places = new Map<number, At | null>();
    const placeOf = (offset: number): At | null => {
      let place = places.get(offset);
      if (place === undefined) {
        place = attempt(() => captured.positionAt(offset - shift));
        places.set(offset, place);
      }
      return place;
    };
    const first = placeOf(root.start);
    const unit: Unit = {
      text: captured.prefix + captured.text + captured.suffix,
      source: this.source(
        first?.file ?? captured.url ?? `(${trail.at(-1)})`,
        first === null ? null : captured.sourceText(first.file),
      ),
      statics: -1,
      analysis: analyse(root),
      sites: new Map(),
      leaves: new Map(),
      overrides: new Map(),
      at: (at) => placeOf(at.start),
      offset: placeOf,
      place: (at) => placeIn(captured, at).at,
      frame: (at) => placeIn(captured, at).frame,
      resolve: (name, keys, at, how) => this.#resolve(captured, unit, trail, name, keys, at, how),
      report: (code, parameters, at) => this.#report(captured, trail, code, parameters, at),
      isGlobal: (name) => {
        const found = captured.lookup(name);
        return !found.found && found.reason === "global";
      },
    };
    this.units.push(unit);
    for (const { name, node: at } of unit.analysis.outer) {
      if (name === "this") unit.report("WM140", {}, at);
      else if (name === "arguments") unit.report("WM141", {}, at);
      else if (name === "new.target") unit.report("WM142", {}, at);
      else if (name === "import.meta" || name === "import()") this.#refuse(captured, trail, name, at);
      else unit.report("WM145", { syntax: "`super` of the surroundings" }, at);
    }
    for (const { code, shape, start } of captured.problems) {
      const place = { ...root, start, end: start };
      if (code === "WM146") unit.report(code, { name: trail.at(-1) ?? "", shape }, place);
      else unit.report(code, { name: trail.at(-1) ?? "" }, place);
    }
    for (const { name, node: at, write } of unit.analysis.free) if (write) unit.report("WM120", { name }, at);
    check(unit, root, (what, at) => this.#refuse(captured, trail, what, at));
    return { unit, root };
  }

  /** A captured function, class or method as function `index` of the program. */
  function(
    fn: AnyFunction,
    trail: readonly string[],
    options: { scope?: (() => Record<string, unknown>) | undefined; statics?: number } = {},
  ): number {
    const captured = captureFunction(fn, options);
    const { unit, root } = this.unit(captured, trail);
    unit.statics = options.statics ?? -1;
    if (root.type === "ClassExpression" || root.type === "ClassDeclaration")
      return this.#class(unit, root as ClassNode, fn, trail);
    if (!isFunction(root)) throw new Error(`${root.type} is not a function`);
    const home = unit.analysis.functions.get(root)?.specials.has("%home");
    if (home) unit.report("WM145", { syntax: "`super` in a method captured without its class" }, root);
    const text = captured.kind === "method" ? (captured.node as AnyNode) : root;
    return compileFunction(this.builder, unit, null, root, fn.name, {
      flags: captured.kind === "method" ? 8 : 0,
      text,
    });
  }

  /** A function without arguments that builds the class. */
  #class(unit: Unit, node: ClassNode, fn: AnyFunction, trail: readonly string[]): number {
    const f = new Frame(this.builder, unit, unit.analysis.root);
    unit.overrides.set(node, this.#override(unit, node, fn, trail));
    const result = f.asm.take();
    classValue(f, node, result, fn.name);
    f.asm.emit("RETURN", result);
    close(f, null, { name: fn.name, length: 0, parameters: 0, flags: 0, text: "" });
    return f.index;
  }

  #override(unit: Unit, node: ClassNode, fn: AnyFunction, trail: readonly string[]): Override {
    const parent = Object.getPrototypeOf(fn) as AnyFunction | null;
    const extended = node.superClass != null;
    const mine = new Set<string | symbol>(["length", "name", "prototype", "caller", "arguments"]);
    const computed = node.body.body.some((element) => "static" in element && element.static && element.computed);
    for (const element of node.body.body) {
      const key = element.type === "MethodDefinition" && element.static ? propertyName(element) : null;
      if (key !== null) mine.add(key);
      if (element.type === "PropertyDefinition" && element.static && element.key.type === "PrivateIdentifier")
        unit.report("WM145", { syntax: "A private static field of a captured class" }, element);
    }
    return {
      heritage: extended
        ? (f, dst) => {
            if (parent === Function.prototype || parent === null) f.asm.emit("NULL", dst);
            else
              emitLeaf(
                f,
                this.#link(unit, parent, [...trail, `parent of ${fn.name}`], node.superClass!),
                node.superClass!,
                dst,
              );
          }
        : null,
      statics: (f, register) => {
        for (const key of Reflect.ownKeys(fn)) {
          if (mine.has(key)) continue;
          const property = Object.getOwnPropertyDescriptor(fn, key)!;
          if (typeof key === "symbol" || !("value" in property)) {
            // One with a computed key in the class text is built by the text.
            if (!computed)
              unit.report(
                "WM145",
                { syntax: `Static \`${String(key)}\`, added to a captured class from outside,` },
                node,
              );
            continue;
          }
          const mark = f.asm.mark;
          const value = f.asm.take();
          emitLeaf(f, this.#link(unit, property.value, [...trail, key], node), node, value);
          f.asm.emit("DEFINE", register, f.k(key), value);
          f.asm.release(mark);
        }
      },
    };
  }

  #resolve(
    captured: Captured,
    unit: Unit,
    trail: readonly string[],
    name: string,
    keys: readonly string[],
    node: AnyNode,
    how: "read" | "typeof",
  ): ReturnType<Unit["resolve"]> {
    const found = captured.lookup(name);
    if (!found.found) return this.#global(captured, unit, trail, found.reason, name, keys, node, how);
    let value = found.value;
    let taken = 0;
    const spelled = [name];
    while (taken < keys.length && typeof value === "object" && value !== null) {
      const key = keys[taken]!;
      const plain = isPlain(value);
      if (plain ? !Object.hasOwn(value, key) : !(key in value) || isBuiltinInstance(value)) break;
      const owner = value;
      const next = attempt(() => ({ value: (owner as Record<string, unknown>)[key] }));
      if (next === null) break;
      value = next.value;
      spelled.push(key);
      taken++;
    }
    const label = [...trail, spelled.join(".")];
    return {
      taken,
      link: () => {
        const leaf = this.#link(unit, value, label, node);
        if (taken > 0 && leaf.kind === "static" && typeof value === "function" && usesThis(value as AnyFunction))
          unit.report(
            "WM145",
            { syntax: `\`${spelled.join(".")}\`, a function that uses \`this\` of a captured object,` },
            node,
          );
        return leaf;
      },
    };
  }

  #global(
    captured: Captured,
    unit: Unit,
    trail: readonly string[],
    reason: "missing" | "uninitialised" | "global",
    name: string,
    keys: readonly string[],
    node: AnyNode,
    how: "read" | "typeof",
  ): ReturnType<Unit["resolve"]> {
    if (reason === "uninitialised") {
      return {
        taken: 0,
        link: () => {
          unit.report("WM125", { name, path: spell([...trail, name]) }, node);
          return refused;
        },
      };
    }
    if (values.has(name)) return { taken: 0, link: () => ({ kind: "primitive", value: values.get(name) }) };
    const member = keys[0] !== undefined && refusedGlobals.has(`${name}.${keys[0]}`) ? `${name}.${keys[0]}` : null;
    if (member !== null)
      return {
        taken: 1,
        link: () => {
          this.#refuse(captured, trail, member, node);
          return refused;
        },
      };
    if (vmGlobals.has(name)) return { taken: 0, link: () => ({ kind: "global", path: [name] }) };
    if (how === "typeof") return { taken: 0, link: () => ({ kind: "primitive", value: undefined }) };
    return {
      taken: 0,
      link: () => {
        if (refusedGlobals.has(name)) this.#refuse(captured, trail, name, node);
        else if (reason === "global") unit.report("WM111", { name }, node);
        else unit.report("WM110", { name }, node);
        return refused;
      },
    };
  }

  #link(unit: Unit, value: unknown, label: readonly string[], node: AnyNode): Leaf {
    if (typeof value === "function" && isRename(value as AnyFunction)) return { kind: "rename" };
    const url = this.sources[unit.source]?.file ?? null;
    const found: Classified = classify(value, { url, path: label });
    switch (found.kind) {
      case "primitive":
        if (label.length > 1 && typeof found.value === "string")
          this.captured.push({ path: label.slice(1).join(" -> "), bytes: found.value.length });
        return found;
      case "action": {
        const { name, policy } = found.definition;
        const bytes = Object.keys(policy).length === 0 ? null : encodeValue(policy);
        return this.#reference(`action ${name}`, { kind: "action", name, policy: bytes });
      }
      case "workflow":
        return this.#reference(`workflow ${found.definition.name}`, { kind: "workflow", name: found.definition.name });
      case "durable":
        return this.#reference(`durable ${found.name}`, { kind: "durable", name: found.name });
      case "data": {
        const index = this.#static(found.value, () => {
          const bytes = encodeValue(found.value, { what: label.at(-1) ?? "captured data" });
          this.captured.push({ path: label.slice(1).join(" -> "), bytes: bytes.length });
          return { kind: "data", data: this.builder.data.push(bytes) - 1 };
        });
        return { kind: "static", index };
      }
      case "intrinsic": {
        const row = refusedGlobals.get(found.path) ?? refusedGlobals.get(found.path.split(".")[0]!);
        if (row !== undefined) {
          this.diagnostics.push(refusal(row, unit.place(node), unit.frame(node), label[0] ?? null));
          return refused;
        }
        return { kind: "global", path: found.path.split(".") };
      }
      case "function":
      case "class": {
        const { fn, kind } = found;
        const index = this.#static(fn, (at) => {
          this.#work.push(() => {
            this.builder.statics[at] = {
              kind,
              function: this.#guarded(unit, node, () => this.function(fn, label, { statics: at })),
            };
          });
          return { kind, function: 0 };
        });
        return { kind: "static", index };
      }
      case "namespace": {
        if (!isAssembled(found.value)) {
          unit.report("WM126", { name: label.at(-1) ?? "", what: found.what, path: spell(label) }, node);
          return refused;
        }
        const index = this.#static(found.value, (at) => {
          this.#work.push(() => {
            this.builder.statics[at] = { kind: "class", function: this.#object(unit, found.value, label, node) };
          });
          return { kind: "class", function: 0 };
        });
        return { kind: "static", index };
      }
      case "refused":
        this.diagnostics.push(found.report(unit.place(node), unit.frame(node), label[0] ?? null));
        return refused;
    }
  }

  /** A function without arguments that builds a captured object or array whose members are not all data; frozen, like data. */
  #object(unit: Unit, value: object, label: readonly string[], node: AnyNode): number {
    const f = new Frame(this.builder, unit, emptyScope());
    const { asm } = f;
    const made = asm.take();
    const list = Array.isArray(value);
    asm.emit(list ? "ARRAY" : "OBJECT", made);
    for (const key of Object.keys(value)) {
      const mark = asm.mark;
      const member = asm.take();
      const held = (value as Record<string, unknown>)[key];
      emitLeaf(f, this.#link(unit, held, [...label.slice(0, -1), `${label.at(-1)}.${key}`], node), node, member);
      if (list) asm.emit("APPEND", made, member);
      else asm.emit("DEFINE", made, f.k(key), member);
      asm.release(mark);
    }
    const global = asm.take();
    const freeze = asm.take();
    asm.emit("GLOBAL", global, f.k("Object"));
    asm.emit("GET", freeze, global, f.k("freeze"));
    asm.emit("CALL", made, freeze, global, made, 1);
    asm.emit("RETURN", made);
    close(f, null, { name: "", length: 0, parameters: 0, flags: 0, text: "" });
    return f.index;
  }

  /** A capture that cannot be read is reported where it is used. */
  #guarded(unit: Unit, node: AnyNode, work: () => number): number {
    try {
      return work();
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (typeof code !== "string" || !code.startsWith("WM1") || code.startsWith("WM16")) throw error;
      const { message, hint } = error as { message: string; hint?: string };
      this.diagnostics.push({
        code: code as DiagnosticCode,
        message,
        at: unit.place(node),
        frame: unit.frame(node),
        hint: hint ?? "",
        within: null,
      });
      return 0;
    }
  }

  #static(value: object, make: (index: number) => Builder["statics"][number]): number {
    const known = this.#statics.get(value);
    if (known !== undefined) return known;
    const index = this.builder.statics.length;
    this.#statics.set(value, index);
    this.builder.statics.push({ kind: "data", data: 0 });
    this.builder.statics[index] = make(index);
    return index;
  }

  #reference(key: string, reference: Reference): Leaf {
    let index = this.#references.get(key);
    if (index === undefined) {
      index = this.builder.references.push(reference) - 1;
      this.#references.set(key, index);
    }
    return { kind: "reference", index, reference };
  }

  #report<Code extends DiagnosticCode>(
    captured: Captured,
    trail: readonly string[],
    code: Code,
    parameters: Parameters<Code>,
    node: AnyNode,
  ): void {
    const { at, frame } = placeIn(captured, node);
    const one = diagnostic(code, parameters, at, frame, trail.at(-1) ?? null);
    this.#add(one);
  }

  #refuse(captured: Captured, trail: readonly string[], what: string, node: AnyNode): void {
    const { at, frame } = placeIn(captured, node);
    this.#add(refusal(refusedGlobals.get(what)!, at, frame, trail.at(-1) ?? null));
  }

  #add(one: Diagnostic): void {
    const same = (other: Diagnostic) =>
      other.code === one.code &&
      other.message === one.message &&
      other.frame === one.frame &&
      other.at?.line === one.at?.line &&
      other.at?.column === one.at?.column;
    if (!this.diagnostics.some(same)) this.diagnostics.push(one);
  }
}

export function placeIn(captured: Captured, node: AnyNode): { at: At | null; frame: string | null } {
  const offset = node.start - captured.prefix.length;
  return {
    at: attempt(() => captured.positionAt(offset)),
    frame: attempt(() => captured.frameAt(offset, Math.max(1, Math.min(node.end - node.start, 60)))),
  };
}

function spell(label: readonly string[]): string {
  return `\`${label.join(" -> ")}\``;
}

function attempt<T>(work: () => T): T | null {
  try {
    return work();
  } catch {
    return null; // Getters of captured namespaces, and positions, are asked for once and may refuse: then there is none.
  }
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  return (
    Array.isArray(value) ||
    (prototype !== null && Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "hasOwnProperty"))
  );
}

/** A plain object or dense array of plain members, without a way back to itself: what a program can put together again. */
function isAssembled(value: object, above: readonly object[] = []): boolean {
  if (!isPlain(value) || above.includes(value)) return false;
  const keys = Reflect.ownKeys(value);
  const list = Array.isArray(value);
  if (list && keys.length !== value.length + 1) return false;
  return keys.every((key) => {
    if (list && key === "length") return true;
    const property = Object.getOwnPropertyDescriptor(value, key)!;
    if (typeof key === "symbol" || !("value" in property) || !property.enumerable) return false;
    const held: unknown = property.value;
    return typeof held !== "object" || held === null || !isPlain(held) || isAssembled(held, [...above, value]);
  });
}

/** Data whose members are methods of the language, not names to follow. */
function isBuiltinInstance(value: object): boolean {
  return (
    ArrayBuffer.isView(value) ||
    /^\[object (Map|Set|Date|RegExp|Promise|WeakMap|WeakSet|Error|ArrayBuffer|URL)\]$/.test(
      Object.prototype.toString.call(value),
    )
  );
}

function usesThis(fn: AnyFunction): boolean {
  const text = attempt(() => captureFunction(fn));
  if (text === null) return false;
  const node = text.node as AnyNode;
  const root = node.type === "Property" || node.type === "MethodDefinition" ? (node.value as AnyNode) : node;
  return (
    root.type !== "ArrowFunctionExpression" &&
    isFunction(root) &&
    analyse(root).functions.get(root)!.specials.has("this")
  );
}

/** esbuild's `var __name = (target, value) => __defProp(target, "name", { value, configurable: true })`, minified or not. */
function isRename(fn: AnyFunction): boolean {
  return (
    fn.length === 2 &&
    /^\(?\w+,\s*\w+\)?\s*=>\s*\w+\(\w+,\s*"name",\s*\{\s*value(:\s*\w+)?,\s*configurable:\s*(true|!0)\s*\}\)$/.test(
      Function.prototype.toString.call(fn),
    )
  );
}
