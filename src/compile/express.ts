// Expressions. `value` puts one into a register that nothing in the expression can see: it may be written early.
// `operand` says where a value is, which may be a variable's own register, if nothing that runs before it is used writes it.

import type {
  AnyNode,
  AssignmentExpression,
  CallExpression,
  ChainExpression,
  Expression,
  MemberExpression,
  NewExpression,
  ObjectExpression,
  Property,
  SpreadElement,
  TaggedTemplateExpression,
  TemplateLiteral,
  UpdateExpression,
} from "acorn";
import type { Op } from "../program/instructions.ts";
import { functionFlags } from "../program/program.ts";
import type { Label } from "./assemble.ts";
import { classValue } from "./classes.ts";
import { closure, type Frame, type Leaf } from "./emit.ts";
import { children } from "./parse.ts";
import { bind, captured } from "./pattern.ts";
import { isFunction } from "./scope.ts";
import { yieldAll, yieldOne } from "./suspend.ts";

const binary: Readonly<Record<string, Op>> = {
  "+": "ADD", "-": "SUB", "*": "MUL", "/": "DIV", "%": "MOD", "**": "EXP", "&": "BITAND", "|": "BITOR", "^": "BITXOR",
  "<<": "SHL", ">>": "SHR", ">>>": "USHR", "==": "EQ", "!=": "NE", "===": "SEQ", "!==": "SNE", "<": "LT", "<=": "LE",
  ">": "GT", ">=": "GE", in: "IN", instanceof: "INSTANCEOF",
}; // biome-ignore format: a table
const jumps: Readonly<Record<string, readonly [yes: Op, no: Op]>> = {
  "<": ["JLT", "JNLT"], "<=": ["JLE", "JNLE"], ">": ["JGT", "JNGT"], ">=": ["JGE", "JNGE"], "===": ["JSEQ", "JSNE"], "!==": ["JSNE", "JSEQ"],
}; // biome-ignore format: a table

export function value(f: Frame, node: AnyNode, dst: number, name?: string): void {
  const { asm } = f;
  const mark = asm.mark;
  switch (node.type) {
    case "Literal":
      if (node.regex) asm.emit("REGEXP", dst, f.k(node.regex.pattern), f.k(node.regex.flags));
      else if (node.bigint !== undefined && node.bigint !== null) constant(f, BigInt(node.bigint), dst);
      else constant(f, node.value as string | number | boolean | null, dst);
      break;
    case "Identifier":
      identifier(f, node, dst);
      break;
    case "ThisExpression":
      f.at(node);
      f.readSpecial("this", dst);
      break;
    case "MetaProperty":
      f.readSpecial("new.target", dst);
      break;
    case "TemplateLiteral":
      template(f, node, dst);
      break;
    case "TaggedTemplateExpression":
      tagged(f, node, dst);
      break;
    case "BinaryExpression": {
      if (node.left.type === "PrivateIdentifier") {
        const object = operand(f, node.right, []);
        asm.emit("PRIVATEHAS", dst, privateName(f, node.left), object);
        break;
      }
      const left = operand(f, node.left, [node.right]);
      if (node.operator === "+" && isSmall(node.right)) {
        f.at(node);
        asm.emit("ADDI", dst, left, node.right.value);
        break;
      }
      const right = operand(f, node.right, []);
      f.at(node);
      asm.emit(binary[node.operator]!, dst, left, right);
      break;
    }
    case "LogicalExpression": {
      const end = asm.label();
      value(f, node.left, dst);
      asm.jump(shortCircuit(node.operator), [dst], end);
      value(f, node.right, dst);
      asm.place(end);
      break;
    }
    case "UnaryExpression":
      unary(f, node.operator, node.argument, dst);
      break;
    case "UpdateExpression":
      update(f, node, dst);
      break;
    case "AssignmentExpression":
      assign(f, node, dst);
      break;
    case "ConditionalExpression": {
      const other = asm.label();
      const end = asm.label();
      branch(f, node.test, other, false);
      value(f, node.consequent, dst);
      asm.jump("JUMP", [], end);
      asm.place(other);
      value(f, node.alternate, dst);
      asm.place(end);
      break;
    }
    case "SequenceExpression":
      for (const one of node.expressions.slice(0, -1)) effect(f, one);
      value(f, node.expressions.at(-1)!, dst);
      break;
    case "ParenthesizedExpression":
      value(f, node.expression, dst, name);
      break;
    case "ArrayExpression":
      array(f, node.elements, dst);
      break;
    case "ObjectExpression":
      object(f, node, dst);
      break;
    case "FunctionExpression":
    case "ArrowFunctionExpression":
      closure(f, node, dst, name ?? "");
      break;
    case "ClassExpression":
      classValue(f, node, dst, name ?? "");
      break;
    case "MemberExpression":
      member(f, node, dst);
      break;
    case "ChainExpression":
      chain(
        f,
        node,
        (inner) => value(f, inner, dst),
        () => asm.emit("UNDEFINED", dst),
      );
      break;
    case "CallExpression":
      call(f, node, dst);
      break;
    case "NewExpression":
      construct(f, node, dst);
      break;
    case "AwaitExpression": {
      const promise = operand(f, node.argument, []);
      f.at(node);
      asm.emit("AWAIT", dst, promise);
      break;
    }
    case "YieldExpression":
      if (node.delegate) yieldAll(f, node.argument!, dst);
      else yieldOne(f, node.argument ?? null, dst);
      break;
    case "ImportExpression":
      asm.emit("UNDEFINED", dst);
      break;
    default:
      f.unit.report("WM145", { syntax: node.type }, node);
  }
  asm.release(mark);
}

/** For what it does only. */
export function effect(f: Frame, node: AnyNode): void {
  const mark = f.asm.mark;
  if (node.type === "AssignmentExpression") assign(f, node, -1);
  else if (node.type === "UpdateExpression") update(f, node, -1);
  else if (node.type === "SequenceExpression") for (const one of node.expressions) effect(f, one);
  else if (node.type === "Literal") return;
  else value(f, node, f.asm.take());
  f.asm.release(mark);
}

/** `later`: what is evaluated before the register is read. */
export function operand(f: Frame, node: AnyNode, later: readonly AnyNode[]): number {
  const use = node.type === "Identifier" ? f.unit.analysis.uses.get(node) : undefined;
  const direct = node.type === "ThisExpression" ? thisRegister(f) : f.direct(use);
  if (direct >= 0 && (use?.variable == null || !use.variable.assigned || later.every(harmless))) return direct;
  const register = f.asm.take();
  value(f, node, register);
  return register;
}

function thisRegister(f: Frame): number {
  const variable = f.special("this");
  return variable !== undefined && variable.fn === f.scope && !variable.captured && !variable.hole
    ? variable.register
    : -1;
}

/** Writes no variable of this function. */
function harmless(node: AnyNode): boolean {
  if (node.type === "AssignmentExpression" || node.type === "UpdateExpression") return false;
  return isFunction(node) || children(node).every(harmless);
}

/** Writes its destination only with its last instruction, so the destination may be a variable it reads. */
export function writesLast(node: AnyNode): boolean {
  switch (node.type) {
    case "Literal":
    case "Identifier":
    case "ThisExpression":
    case "BinaryExpression":
    case "AwaitExpression":
    case "NewExpression":
    case "FunctionExpression":
    case "ArrowFunctionExpression":
      return true;
    case "MemberExpression":
    case "CallExpression":
      return !inChain(node);
    case "UnaryExpression":
      return node.operator !== "void" && node.operator !== "delete";
    default:
      return false;
  }
}

function inChain(node: AnyNode): boolean {
  if (node.type === "MemberExpression") return node.optional || inChain(node.object);
  if (node.type === "CallExpression") return node.optional || inChain(node.callee);
  return false;
}

export function isAnonymousFunction(node: AnyNode): boolean {
  if (node.type === "ArrowFunctionExpression") return true;
  return (node.type === "FunctionExpression" || node.type === "ClassExpression") && !node.id;
}

export function constant(f: Frame, item: string | number | bigint | boolean | null | undefined, dst: number): void {
  const { asm } = f;
  if (item === undefined) asm.emit("UNDEFINED", dst);
  else if (item === null) asm.emit("NULL", dst);
  else if (typeof item === "boolean") asm.emit(item ? "TRUE" : "FALSE", dst);
  else if (typeof item === "number" && Object.is(item, item | 0)) asm.emit("INT", dst, item);
  else asm.emit("CONST", dst, f.k(item));
}

function isSmall(node: AnyNode): node is AnyNode & { value: number } {
  return node.type === "Literal" && typeof node.value === "number" && Object.is(node.value, node.value | 0);
}

function shortCircuit(operator: string): Op {
  return operator === "&&" ? "JF" : operator === "||" ? "JT" : "JNOTNULLISH";
}

function identifier(f: Frame, node: AnyNode & { type: "Identifier" }, dst: number): void {
  const use = f.unit.analysis.uses.get(node);
  if (use === undefined) {
    f.readSpecial("arguments", dst);
    return;
  }
  if (use.variable === null) {
    f.at(node);
    leaf(f, f.unit.resolve(node.name, [], node, "read").link(), node, dst);
    return;
  }
  if (use.check) f.at(node);
  f.read(use.variable, dst, use.check);
}

export function leaf(f: Frame, found: Leaf, node: AnyNode, dst: number): void {
  const { asm } = f;
  f.unit.leaves.set(node, found);
  switch (found.kind) {
    case "primitive":
      constant(f, found.value, dst);
      return;
    case "static":
      asm.emit("STATIC", dst, found.index);
      return;
    case "reference":
      asm.emit("REF", dst, found.index);
      return;
    case "global":
      asm.emit("GLOBAL", dst, f.k(found.path[0]!));
      for (const key of found.path.slice(1)) asm.emit("GET", dst, dst, f.k(key));
      return;
    case "rename":
    case "refused":
      asm.emit("UNDEFINED", dst);
  }
}

/** A free name and the constant keys read from it, if that is what the expression is. */
export function path(f: Frame, node: AnyNode): { name: string; root: AnyNode; keys: string[] } | null {
  const keys: string[] = [];
  let at = node;
  while (at.type === "MemberExpression") {
    if (!at.computed && at.property.type === "Identifier") keys.unshift(at.property.name);
    else if (
      at.computed &&
      at.property.type === "Literal" &&
      (typeof at.property.value === "string" || typeof at.property.value === "number")
    )
      keys.unshift(String(at.property.value));
    else return null;
    at = at.object;
  }
  if (at.type !== "Identifier" || f.unit.analysis.uses.get(at)?.variable !== null) return null;
  return { name: at.name, root: at, keys };
}

/** Loads `node` if the whole of it is a captured leaf. */
function capturedPath(f: Frame, node: MemberExpression, dst: number): boolean {
  const found = path(f, node);
  if (found === null) return false;
  const resolved = f.unit.resolve(found.name, found.keys, node, "read");
  if (resolved.taken < found.keys.length) return false;
  f.at(node);
  leaf(f, resolved.link(), node, dst);
  return true;
}

// -- members

export type Reference =
  | { kind: "name"; node: AnyNode & { type: "Identifier" } }
  | { kind: "member"; node: MemberExpression; object: number; key: number; constant: number }
  | { kind: "private"; node: MemberExpression; object: number; name: number }
  | { kind: "super"; node: MemberExpression; home: number; self: number; key: number };

/** Evaluates what stands before the last dot. Registers stay taken. */
export function reference(f: Frame, target: AnyNode, later: readonly AnyNode[]): Reference {
  const { asm } = f;
  if (target.type === "ParenthesizedExpression") return reference(f, target.expression, later);
  if (target.type === "Identifier") return { kind: "name", node: target };
  if (target.type !== "MemberExpression") throw new Error(`${target.type} is not a target`);
  if (target.object.type === "Super") {
    const [home, self, key] = [asm.take(), asm.take(), asm.take()];
    f.at(target);
    f.readSpecial("%home", home);
    f.readSpecial("this", self);
    if (target.computed) value(f, target.property, key);
    else constant(f, (target.property as { name: string }).name, key);
    return { kind: "super", node: target, home, self, key };
  }
  const object = operand(f, target.object, [target.property, ...later]);
  if (target.optional) asm.jump("JNULLISH", [object], f.chains.at(-1)!);
  if (target.property.type === "PrivateIdentifier")
    return { kind: "private", node: target, object, name: privateName(f, target.property) };
  if (!target.computed)
    return { kind: "member", node: target, object, key: -1, constant: f.k((target.property as { name: string }).name) };
  if (
    target.property.type === "Literal" &&
    typeof target.property.value === "string" &&
    !isIndex(target.property.value)
  )
    return { kind: "member", node: target, object, key: -1, constant: f.k(target.property.value) };
  return { kind: "member", node: target, object, key: operand(f, target.property, later), constant: -1 };
}

function isIndex(text: string): boolean {
  return /^\d/.test(text);
}

export function load(f: Frame, from: Reference, dst: number): void {
  const { asm } = f;
  if (from.kind === "name") {
    identifier(f, from.node, dst);
    return;
  }
  asm.at(f.unit.at(from.node.property));
  if (from.kind === "private") asm.emit("PRIVATEGET", dst, from.object, from.name);
  else if (from.kind === "super") asm.emit("SUPERGET", dst, from.home, from.self, from.key);
  else if (from.key < 0) asm.emit("GET", dst, from.object, from.constant);
  else asm.emit("GETI", dst, from.object, from.key);
}

export function store(f: Frame, to: Reference, from: number): void {
  const { asm } = f;
  if (to.kind === "name") {
    const use = f.unit.analysis.uses.get(to.node);
    f.at(to.node);
    if (use?.variable == null) captured(f, to.node);
    else f.write(use, from);
    return;
  }
  asm.at(f.unit.at(to.node.property));
  if (to.kind === "private") asm.emit("PRIVATESET", to.object, to.name, from);
  else if (to.kind === "super") asm.emit("SUPERSET", to.home, to.self, to.key, from);
  else if (to.key < 0) asm.emit("SET", to.object, to.constant, from);
  else asm.emit("SETI", to.object, to.key, from);
}

export function privateName(f: Frame, node: AnyNode): number {
  const register = f.asm.take();
  f.read(f.unit.analysis.uses.get(node)!.variable!, register, false);
  return register;
}

function member(f: Frame, node: MemberExpression, dst: number): void {
  if (!capturedPath(f, node, dst)) load(f, reference(f, node, []), dst);
}

/** `?.` inside leaves for the end of the chain, where `absent` gives the value. */
function chain(f: Frame, node: ChainExpression, body: (inner: AnyNode) => void, absent: () => void): void {
  const { asm } = f;
  const missing = asm.label();
  const end = asm.label();
  f.chains.push(missing);
  body(node.expression);
  f.chains.pop();
  if (missing.uses.length === 0) return;
  asm.jump("JUMP", [], end);
  asm.place(missing);
  absent();
  asm.place(end);
}

// -- operators

function unary(f: Frame, operator: string, argument: Expression, dst: number): void {
  const { asm } = f;
  if (operator === "delete") {
    erase(f, argument, dst);
    return;
  }
  if (operator === "void") {
    effect(f, argument);
    asm.emit("UNDEFINED", dst);
    return;
  }
  if (operator === "-" && argument.type === "Literal" && typeof argument.value === "number") {
    constant(f, -argument.value, dst);
    return;
  }
  if (
    operator === "typeof" &&
    argument.type === "Identifier" &&
    f.unit.analysis.uses.get(argument)?.variable === null
  ) {
    const found = f.unit.resolve(argument.name, [], argument, "typeof").link();
    leaf(f, found, argument, dst);
    if (found.kind !== "primitive" || found.value !== undefined) asm.emit("TYPEOF", dst, dst);
    else constant(f, "undefined", dst);
    return;
  }
  const register = operand(f, argument, []);
  f.at(argument);
  asm.emit(
    operator === "typeof"
      ? "TYPEOF"
      : operator === "!"
        ? "NOT"
        : operator === "-"
          ? "NEG"
          : operator === "+"
            ? "PLUS"
            : "BITNOT",
    dst,
    register,
  );
}

function erase(f: Frame, argument: Expression, dst: number): void {
  const { asm } = f;
  if (argument.type === "ChainExpression") {
    chain(
      f,
      argument,
      (inner) => erase(f, inner as Expression, dst),
      () => asm.emit("TRUE", dst),
    );
    return;
  }
  if (argument.type !== "MemberExpression") {
    effect(f, argument);
    asm.emit("TRUE", dst);
    return;
  }
  const from = reference(f, argument, []);
  if (from.kind === "super") {
    asm.emit("THROWNEW", 1, f.k("Unsupported reference to 'super'"));
    asm.emit("UNDEFINED", dst);
    return;
  }
  if (from.kind !== "member") throw new Error("delete of a private member");
  let key = from.key;
  if (key < 0) {
    key = asm.take();
    asm.emit("CONST", key, from.constant);
  }
  f.at(argument);
  asm.emit("DELETE", dst, from.object, key);
}

function update(f: Frame, node: UpdateExpression, dst: number): void {
  const { asm } = f;
  const name: Op = node.operator === "++" ? "INC" : "DEC";
  f.at(node);
  const direct = node.argument.type === "Identifier" ? writable(f, node.argument) : -1;
  if (direct >= 0 && (dst < 0 || node.prefix)) {
    asm.emit("NUMERIC", direct, direct);
    asm.emit(name, direct, direct);
    if (dst >= 0) asm.emit("MOVE", dst, direct);
    return;
  }
  const target = reference(f, node.argument, []);
  lockKey(f, target);
  const old = asm.take();
  load(f, target, old);
  asm.emit("NUMERIC", old, old);
  const fresh = asm.take();
  asm.emit(name, fresh, old);
  store(f, target, fresh);
  if (dst >= 0) asm.emit("MOVE", dst, node.prefix ? fresh : old);
}

/** A key read and written is converted once. */
function lockKey(f: Frame, target: Reference): void {
  if (target.kind !== "member" || target.key < 0) return;
  const property = target.node.property;
  if (property.type === "Literal") return;
  const key = f.asm.take();
  f.asm.emit("COERCIBLE", target.object, f.k(""));
  f.asm.emit("KEY", key, target.key);
  target.key = key;
}

/** Register of a variable that may be written in place. */
function writable(f: Frame, node: AnyNode): number {
  const use = f.unit.analysis.uses.get(node);
  const kind = use?.variable?.kind;
  return kind === "const" || kind === "self" || kind === "using" ? -1 : f.direct(use);
}

/** `dst` -1: the value is not wanted. */
function assign(f: Frame, node: AssignmentExpression, dst: number): void {
  const { asm } = f;
  const { left, right, operator } = node;
  const name = left.type === "Identifier" && isAnonymousFunction(right) ? left.name : undefined;
  if (operator === "=") {
    if (left.type === "ObjectPattern" || left.type === "ArrayPattern") {
      const from = operand(f, right, [left]);
      bind(f, left, from, "assign");
      if (dst >= 0 && dst !== from) asm.emit("MOVE", dst, from);
      return;
    }
    const direct = left.type === "Identifier" ? writable(f, left) : -1;
    if (direct >= 0 && writesLast(right)) {
      value(f, right, direct, name);
      if (dst >= 0) asm.emit("MOVE", dst, direct);
      return;
    }
    const target = reference(f, left, [right]);
    const from = name === undefined ? operand(f, right, []) : asm.take();
    if (name !== undefined) value(f, right, from, name);
    store(f, target, from);
    if (dst >= 0 && dst !== from) asm.emit("MOVE", dst, from);
    return;
  }
  const target = reference(f, left, [right]);
  lockKey(f, target);
  const current = asm.take();
  if (operator === "&&=" || operator === "||=" || operator === "??=") {
    const end = asm.label();
    load(f, target, current);
    asm.jump(shortCircuit(operator.slice(0, -1)), [current], end);
    value(f, right, current, name);
    store(f, target, current);
    asm.place(end);
    if (dst >= 0) asm.emit("MOVE", dst, current);
    return;
  }
  const direct = left.type === "Identifier" ? writable(f, left) : -1;
  const held = direct >= 0 && harmless(right) && !suspends(right) ? direct : current;
  if (held === current) load(f, target, current);
  const into = direct >= 0 ? direct : current;
  if (operator === "+=" && isSmall(right)) {
    f.at(node);
    asm.emit("ADDI", into, held, right.value);
  } else {
    const other = operand(f, right, []);
    f.at(node);
    asm.emit(binary[operator.slice(0, -1)]!, into, held, other);
  }
  if (direct < 0) store(f, target, current);
  if (dst >= 0) asm.emit("MOVE", dst, into);
}

function suspends(node: AnyNode): boolean {
  return (
    node.type === "AwaitExpression" ||
    node.type === "YieldExpression" ||
    (!isFunction(node) && children(node).some(suspends))
  );
}

/** Jumps to `label` if the truth of `node` is `when`. */
export function branch(f: Frame, node: AnyNode, label: Label, when: boolean): void {
  const { asm } = f;
  const mark = asm.mark;
  if (node.type === "UnaryExpression" && node.operator === "!") branch(f, node.argument, label, !when);
  else if (node.type === "LogicalExpression" && node.operator !== "??") {
    if ((node.operator === "&&") === when) {
      const skip = asm.label();
      branch(f, node.left, skip, !when);
      branch(f, node.right, label, when);
      asm.place(skip);
    } else {
      branch(f, node.left, label, when);
      branch(f, node.right, label, when);
    }
  } else if (node.type === "BinaryExpression" && jumps[node.operator] !== undefined) {
    const left = operand(f, node.left, [node.right]);
    const right = operand(f, node.right, []);
    f.at(node);
    asm.jump(jumps[node.operator]![when ? 0 : 1], [left, right], label);
  } else if (node.type === "Literal" && typeof node.value === "boolean") {
    if (node.value === when) asm.jump("JUMP", [], label);
  } else {
    const register = operand(f, node, []);
    asm.jump(when ? "JT" : "JF", [register], label);
  }
  asm.release(mark);
}

// -- literals

function template(f: Frame, node: TemplateLiteral, dst: number): void {
  const { asm } = f;
  const first = node.quasis[0]!.value.cooked ?? "";
  if (node.expressions.length === 0) {
    constant(f, first, dst);
    return;
  }
  const text = asm.take();
  const part = asm.take();
  node.expressions.forEach((expression, i) => {
    const into = i === 0 && first === "" ? text : part;
    if (i === 0 && first !== "") constant(f, first, text);
    value(f, expression, into);
    f.at(expression);
    asm.emit("STRING", into, into);
    if (into === part) asm.emit("ADD", text, text, part);
    const next = node.quasis[i + 1]!.value.cooked ?? "";
    if (next === "") return;
    constant(f, next, part);
    asm.emit("ADD", text, text, part);
  });
  asm.emit("MOVE", dst, text);
}

function tagged(f: Frame, node: TaggedTemplateExpression, dst: number): void {
  const { asm } = f;
  const { fn, self } = callee(f, node.tag, node.quasi.expressions);
  const first = asm.take(node.quasi.expressions.length + 1);
  const quasis = node.quasi.quasis;
  const site =
    f.builder.templates.push({
      cooked: quasis.map((part) => part.value.cooked ?? undefined),
      raw: quasis.map((part) => part.value.raw),
    }) - 1;
  asm.emit("TEMPLATE", first, site);
  node.quasi.expressions.forEach((expression, i) => {
    value(f, expression, first + 1 + i);
  });
  f.at(node);
  const pc = asm.emit("CALL", dst, fn, self, first, node.quasi.expressions.length + 1);
  asm.callee(pc, textOf(f, node.tag));
}

export function array(f: Frame, elements: readonly (Expression | SpreadElement | null)[], dst: number): void {
  const { asm } = f;
  asm.emit("ARRAY", dst);
  for (const element of elements) {
    const mark = asm.mark;
    if (element === null) asm.emit("APPENDHOLE", dst);
    else if (element.type === "SpreadElement") {
      const all = operand(f, element.argument, []);
      f.at(element);
      asm.emit("APPENDALL", dst, all);
    } else asm.emit("APPEND", dst, operand(f, element, []));
    asm.release(mark);
  }
}

function object(f: Frame, node: ObjectExpression, dst: number): void {
  const { asm } = f;
  asm.emit("OBJECT", dst);
  for (const property of node.properties) {
    const mark = asm.mark;
    if (property.type === "SpreadElement") asm.emit("COPY", dst, operand(f, property.argument, []), -1);
    else one(f, property, dst);
    asm.release(mark);
  }
}

function one(f: Frame, property: Property, dst: number): void {
  const { asm } = f;
  const fixed = propertyName(property);
  const fn = property.value;
  if (property.kind !== "init" || property.method) {
    const key = asm.take();
    if (fixed !== null) constant(f, fixed, key);
    else {
      value(f, property.key, key);
      asm.emit("KEY", key, key);
    }
    const method = asm.take();
    if (fn.type !== "FunctionExpression") throw new Error("a method is a function");
    closure(f, fn, method, fixed ?? "", { flags: functionFlags.method, text: property });
    asm.emit("METHOD", dst, key, method, (property.kind === "get" ? 1 : property.kind === "set" ? 2 : 0) | 4);
    return;
  }
  if (fixed === "__proto__" && !property.shorthand && !property.computed) {
    asm.emit("SETPROTO", dst, operand(f, property.value, []));
    return;
  }
  if (fixed !== null) {
    const register = isAnonymousFunction(fn) ? asm.take() : operand(f, fn, []);
    if (isAnonymousFunction(fn)) value(f, fn, register, fixed);
    asm.emit("DEFINE", dst, f.k(fixed), register);
    return;
  }
  const key = asm.take();
  value(f, property.key, key);
  asm.emit("KEY", key, key);
  const register = asm.take();
  named(f, fn, register, key);
  asm.emit("DEFINEI", dst, key, register);
}

/** A value that takes its name from a computed key. */
export function named(f: Frame, node: AnyNode, dst: number, key: number): void {
  if (node.type === "ClassExpression" && !node.id) {
    classValue(f, node, dst, "", key);
    return;
  }
  value(f, node, dst);
  if (isAnonymousFunction(node)) f.asm.emit("SETNAME", dst, key, 0);
}

/** A key known now. Numbers as JavaScript prints them. */
export function propertyName(property: { key: AnyNode; computed: boolean }): string | null {
  const { key, computed } = property;
  if (!computed && key.type === "Identifier") return key.name;
  if (key.type !== "Literal" || (computed && typeof key.value !== "string")) return null;
  return key.bigint !== undefined && key.bigint !== null ? BigInt(key.bigint).toString() : String(key.value);
}

// -- calls

function callee(f: Frame, node: AnyNode, later: readonly AnyNode[]): { fn: number; self: number } {
  const { asm } = f;
  const target = node.type === "ParenthesizedExpression" ? node.expression : node;
  if (target.type === "ChainExpression") {
    const fn = asm.take();
    const self = asm.take();
    chain(
      f,
      target,
      (inner) => {
        const found = callee(f, inner, later);
        asm.emit("MOVE", fn, found.fn);
        if (found.self >= 0) asm.emit("MOVE", self, found.self);
        else asm.emit("UNDEFINED", self);
      },
      () => {
        asm.emit("UNDEFINED", fn);
        asm.emit("UNDEFINED", self);
      },
    );
    return { fn, self };
  }
  if (target.type !== "MemberExpression") return { fn: operand(f, target, later), self: -1 };
  const fn = asm.take();
  if (capturedPath(f, target, fn)) return { fn, self: -1 };
  const from = reference(f, target, later);
  load(f, from, fn);
  return { fn, self: from.kind === "super" ? from.self : (from as { object: number }).object };
}

function call(f: Frame, node: CallExpression, dst: number): void {
  const { asm } = f;
  if (node.callee.type === "Super") {
    superCall(f, node, dst);
    return;
  }
  if (rename(f, node, dst)) return;
  const { fn, self } = callee(f, node.callee, node.arguments);
  if (node.optional) asm.jump("JNULLISH", [fn], f.chains.at(-1)!);
  const given = pass(f, node.arguments);
  asm.at(f.unit.at(node.callee.type === "MemberExpression" ? node.callee.property : node.callee));
  const pc =
    given.count < 0
      ? asm.emit("CALLA", dst, fn, self, given.first)
      : asm.emit("CALL", dst, fn, self, given.first, given.count);
  asm.callee(pc, textOf(f, node.callee));
  f.unit.sites.set(node, { function: f.index, pc });
}

/** `__name(fn, "n")`, which esbuild and tsx put around functions: gives the function its name. */
function rename(f: Frame, node: CallExpression, dst: number): boolean {
  const [fn, name] = node.arguments;
  const found = node.arguments.length === 2 && node.callee.type !== "Super" ? path(f, node.callee) : null;
  if (
    found === null ||
    fn === undefined ||
    fn.type === "SpreadElement" ||
    name?.type !== "Literal" ||
    typeof name.value !== "string"
  )
    return false;
  const resolved = f.unit.resolve(found.name, found.keys, node.callee, "read");
  if (resolved.taken < found.keys.length || resolved.link().kind !== "rename") return false;
  value(f, fn, dst, name.value);
  if (!isAnonymousFunction(fn)) {
    const key = f.asm.take();
    constant(f, name.value, key);
    f.asm.emit("SETNAME", dst, key, 0);
  }
  return true;
}

/** Arguments in neighbouring registers, or (count -1) an array of them. */
function pass(f: Frame, list: readonly (Expression | SpreadElement)[]): { first: number; count: number } {
  const { asm } = f;
  if (list.some((one) => one.type === "SpreadElement")) {
    const first = asm.take();
    array(f, list, first);
    return { first, count: -1 };
  }
  const first = asm.take(list.length);
  list.forEach((one, i) => {
    value(f, one, first + i);
  });
  return { first, count: list.length };
}

function construct(f: Frame, node: NewExpression, dst: number): void {
  const { asm } = f;
  const fn = operand(f, node.callee, node.arguments);
  const given = pass(f, node.arguments);
  f.at(node);
  const found = f.unit.leaves.get(node.callee);
  if (found?.kind === "global" && found.path.join(".") === "Date" && node.arguments.length === 0)
    f.unit.report("WM104", { what: "new Date()" }, node);
  const pc =
    given.count < 0 ? asm.emit("NEWA", dst, fn, given.first) : asm.emit("NEW", dst, fn, given.first, given.count);
  asm.callee(pc, textOf(f, node.callee));
}

function superCall(f: Frame, node: CallExpression, dst: number): void {
  const { asm } = f;
  const callee = asm.take();
  f.readSpecial("%callee", callee);
  const given = pass(f, node.arguments);
  const made = asm.take(2);
  f.readSpecial("new.target", made + 1);
  f.at(node);
  if (given.count < 0) asm.emit("SUPERCALLA", made, callee, given.first);
  else asm.emit("SUPERCALL", made, callee, given.first, given.count);
  bindThis(f, made);
  asm.emit("INITFIELDS", callee, made);
  asm.emit("MOVE", dst, made);
}

/** `this` of a derived callee, once. */
export function bindThis(f: Frame, made: number): void {
  const variable = f.special("this");
  if (variable === undefined) return;
  const { asm } = f;
  const mark = asm.mark;
  const free = asm.label();
  const taken = asm.label();
  const old = asm.take();
  const probe = asm.open(old, free);
  f.read(variable, old, true);
  asm.close(probe);
  asm.jump("JUMP", [], taken);
  asm.place(taken);
  asm.emit("THROWNEW", 1, f.k("Super constructor may only be called once"));
  asm.place(free);
  f.set(variable, made);
  asm.release(mark);
}

export function textOf(f: Frame, node: AnyNode): string {
  const text = f.unit.text.slice(node.start, node.end).replace(/\s+/g, " ");
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
