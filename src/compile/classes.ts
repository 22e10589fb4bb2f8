// Classes, in the order of the specification: private names, heritage, constructor, methods and computed keys as they
// stand, the name, the field initialiser, then static fields and blocks. A class captured from a module is emitted from
// its text too, but its heritage and statics are the values they have there: the definition is not run again.

import type { AnyNode, MethodDefinition, PropertyDefinition } from "acorn";
import { functionFlags } from "../program/program.ts";
import { close, closure, compileFunction, Frame, specials } from "./emit.ts";
import { isAnonymousFunction, named, operand, privateName, propertyName, value } from "./express.ts";
import type { ClassNode } from "./parse.ts";
import { type FunctionScope, keyName, methodName } from "./scope.ts";
import { statements } from "./state.ts";

/** What a captured class takes from the module instead of from its text. */
export interface Override {
  /** Puts the heritage into a register. null: there is none. */
  heritage: ((f: Frame, dst: number) => void) | null;
  /** Defines the statics on the class in a register. */
  statics: (f: Frame, register: number) => void;
}

/** `key`: register of a computed name for a class without one. */
export function classValue(f: Frame, node: ClassNode, dst: number, name: string, key = -1): void {
  const { asm } = f;
  const scope = f.unit.analysis.scopes.get(node)!;
  const override = f.unit.overrides.get(node);
  f.block(scope, () => {
    for (const variable of scope.variables.values()) {
      if (variable.kind !== "private") continue;
      const mark = asm.mark;
      const register = asm.take();
      asm.emit("PRIVATENAME", register, f.k(variable.name));
      f.initialise(variable, register);
      asm.release(mark);
    }
    const heritage = override
      ? override.heritage === null
        ? -1
        : asm.take()
      : node.superClass
        ? operand(f, node.superClass, [])
        : -1;
    if (override?.heritage) override.heritage(f, heritage);
    const pair = asm.take(2);
    f.at(node);
    asm.emit("CLASS", pair, heritage, constructorOf(f, node, node.id?.name ?? name, heritage >= 0));
    if (key >= 0) asm.emit("SETNAME", pair, key, 0);
    for (const element of node.body.body) {
      const mark = asm.mark;
      if (element.type === "MethodDefinition") method(f, element, pair);
      else if (element.type === "PropertyDefinition" && element.computed) {
        const register = asm.take();
        value(f, element.key, register);
        asm.emit("KEY", register, register);
        f.initialise(scope.variables.get(keyName(element.start))!, register);
      }
      asm.release(mark);
    }
    for (const element of node.body.body) {
      if (element.type === "MethodDefinition" && element.static && element.key.type === "PrivateIdentifier")
        definePrivate(f, element, pair);
    }
    const own = node.id ? scope.variables.get(node.id.name) : undefined;
    if (own !== undefined) f.initialise(own, pair);
    fields(f, node, pair);
    if (override) override.statics(f, pair);
    else statics(f, node, pair);
    asm.emit("MOVE", dst, pair);
  });
}

function constructorOf(f: Frame, node: ClassNode, name: string, derived: boolean): number {
  const flags = functionFlags.constructor | (derived ? functionFlags.derived : 0);
  const own = node.body.body.find(
    (element): element is MethodDefinition => element.type === "MethodDefinition" && element.kind === "constructor",
  );
  if (own !== undefined) return compileFunction(f.builder, f.unit, f, own.value, name, { flags, text: node });
  const inner = new Frame(f.builder, f.unit, blank(f.scope, node));
  const { asm } = inner;
  if (derived) {
    const [callee, given, made] = [asm.take(), asm.take(), asm.take(2)];
    asm.emit("CALLEE", callee);
    asm.emit("REST", given, 0);
    asm.emit("NEWTARGET", made + 1);
    asm.emit("SUPERCALLA", made, callee, given);
    asm.emit("INITFIELDS", callee, made);
    asm.emit("RETURN", made);
  } else {
    const result = asm.take();
    asm.emit("UNDEFINED", result);
    asm.emit("RETURN", result);
  }
  close(inner, f, { name, length: 0, parameters: 0, flags, text: f.unit.text.slice(node.start, node.end) });
  return inner.index;
}

function blank(parent: FunctionScope, node: AnyNode): FunctionScope {
  const fn = {
    node,
    parent,
    arrow: false,
    derived: false,
    anchor: node.start,
    specials: new Map(),
    simple: true,
    upvalues: [],
  } as unknown as FunctionScope;
  fn.scope = { parent: parent.scope, fn, variables: new Map(), functions: [], start: node.start, unordered: false };
  fn.body = fn.scope;
  return fn;
}

function kindOf(element: MethodDefinition): number {
  return element.kind === "get" ? 1 : element.kind === "set" ? 2 : 0;
}

function method(f: Frame, element: MethodDefinition, pair: number): void {
  if (element.kind === "constructor") return;
  const { asm } = f;
  const target = element.static ? pair : pair + 1;
  const kind = { flags: functionFlags.method, text: element };
  if (element.key.type === "PrivateIdentifier") {
    const register = asm.take();
    const prefix = element.kind === "get" ? "get " : element.kind === "set" ? "set " : "";
    closure(f, element.value, register, `${prefix}#${element.key.name}`, kind);
    asm.emit("SETHOME", register, target);
    f.initialise(f.unit.analysis.scopes.get(classOf(f, element))!.variables.get(methodName(element.start))!, register);
    return;
  }
  const key = asm.take();
  const fixed = propertyName(element);
  if (fixed !== null) asm.emit("CONST", key, f.k(fixed));
  else {
    value(f, element.key, key);
    asm.emit("KEY", key, key);
  }
  const register = asm.take();
  closure(f, element.value, register, fixed ?? "", kind);
  asm.emit("METHOD", target, key, register, kindOf(element));
}

/** Adds a private method to the class or to the instance in `object`. */
function definePrivate(f: Frame, element: MethodDefinition, object: number): void {
  const { asm } = f;
  const mark = asm.mark;
  const name = privateName(f, element.key);
  const register = asm.take();
  f.read(f.unit.analysis.scopes.get(classOf(f, element))!.variables.get(methodName(element.start))!, register, false);
  asm.emit("PRIVATEDEF", object, name, register, 1 + kindOf(element));
  asm.release(mark);
}

/** The class whose scope binds the element's private name. */
function classOf(f: Frame, element: MethodDefinition): AnyNode {
  const variable = f.unit.analysis.uses.get(element.key)!.variable!;
  for (const [node, scope] of f.unit.analysis.scopes) if (scope === variable.scope) return node;
  throw new Error("a private name belongs to a class");
}

function fields(f: Frame, node: ClassNode, pair: number): void {
  const scope = f.unit.analysis.fields.get(node);
  if (scope === undefined) return;
  const elements = node.body.body.filter(
    (element) =>
      element.type !== "StaticBlock" &&
      !element.static &&
      (element.type === "PropertyDefinition" || element.key.type === "PrivateIdentifier"),
  );
  const register = initialiser(f, node, scope, "<instance_members_initializer>", (inner, self) => {
    for (const element of elements) if (element.type === "MethodDefinition") definePrivate(inner, element, self);
    for (const element of elements) if (element.type === "PropertyDefinition") field(inner, node, element, self);
  });
  f.asm.emit("SETHOME", register, pair + 1);
  f.asm.emit("FIELDS", pair, register);
}

function statics(f: Frame, node: ClassNode, pair: number): void {
  const scope = f.unit.analysis.statics.get(node);
  if (scope === undefined) return;
  const register = initialiser(f, node, scope, "<static_initializer>", (inner, self) => {
    for (const element of node.body.body) {
      if (element.type === "StaticBlock")
        inner.block(inner.unit.analysis.scopes.get(element), () => statements(inner, element.body));
      else if (element.type === "PropertyDefinition" && element.static) field(inner, node, element, self);
    }
  });
  const { asm } = f;
  asm.emit("SETHOME", register, pair);
  asm.emit("CALL", register, register, pair, 0, 0);
}

/** A synthetic method, called once with `this` = the instance or the class. Gives the register of its closure. */
function initialiser(
  f: Frame,
  node: ClassNode,
  scope: FunctionScope,
  name: string,
  body: (inner: Frame, self: number) => void,
): number {
  const inner = new Frame(f.builder, f.unit, scope);
  const { asm } = inner;
  specials(inner);
  const self = asm.take();
  inner.readSpecial("this", self);
  body(inner, self);
  const result = asm.take();
  asm.emit("UNDEFINED", result);
  asm.emit("RETURN", result);
  close(inner, f, {
    name,
    length: 0,
    parameters: 0,
    flags: functionFlags.initialiser | functionFlags.method,
    text: f.unit.text.slice(node.start, node.end),
  });
  const register = f.asm.take();
  f.asm.emit("CLOSURE", register, inner.index);
  return register;
}

function field(f: Frame, node: ClassNode, element: PropertyDefinition, self: number): void {
  const { asm } = f;
  const mark = asm.mark;
  f.at(element);
  const register = asm.take();
  if (element.key.type === "PrivateIdentifier") {
    initial(f, element, register, `#${element.key.name}`);
    asm.emit("PRIVATEDEF", self, privateName(f, element.key), register, 0);
  } else if (element.computed) {
    const key = asm.take();
    f.read(f.unit.analysis.scopes.get(node)!.variables.get(keyName(element.start))!, key, false);
    if (element.value) named(f, element.value, register, key);
    else asm.emit("UNDEFINED", register);
    asm.emit("DEFINEI", self, key, register);
  } else {
    const name = propertyName(element)!;
    initial(f, element, register, name);
    asm.emit("DEFINE", self, f.k(name), register);
  }
  asm.release(mark);
}

function initial(f: Frame, element: PropertyDefinition, dst: number, name: string): void {
  if (element.value) value(f, element.value, dst, isAnonymousFunction(element.value) ? name : undefined);
  else f.asm.emit("UNDEFINED", dst);
}
