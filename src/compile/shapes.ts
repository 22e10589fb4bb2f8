// Undoes what other compilers did to a function before we saw it: `async` that became a generator in a helper, names kept
// through minification, coverage counters. A tree goes in, a tree comes out; nodes keep their offsets, so positions
// survive. Helpers are recognised by what they are (name or text of the value), because minifiers rename them. What is
// not recognised is left as it is: helpers are functions like any other and compile by themselves. Shapes from which
// the original cannot be recovered are reported.

import type {
  ArrowFunctionExpression,
  BlockStatement,
  CallExpression,
  Class,
  Expression,
  Function as FunctionNode,
  Node,
  Pattern,
  Statement,
} from "acorn";
import type { Captured } from "./capture.ts";
import { isNode, walk } from "./position.ts";

export interface ShapeProblem {
  code: "WM146" | "WM147";
  /** For WM146. */
  shape: string;
  /** Offset of the offending call, as in the tree. */
  start: number;
}

export interface Reduced {
  node: Node;
  /** Names that keep-name helpers would have given to functions and classes of the tree. */
  names: ReadonlyMap<Node, string>;
  problems: readonly ShapeProblem[];
}

/** `lookup` resolves free variables of the tree, as `Captured.lookup` does. */
export function reduceShapes(root: Node, lookup: Captured["lookup"]): Reduced {
  const names = new Map<Node, string>();
  const problems: ShapeProblem[] = [];
  const helpers = new Helpers(root, lookup);
  const reduce = (node: Node): Node => {
    const changed = copyWith(node, reduce, names);
    switch (changed.type) {
      case "CallExpression":
        return reduceCall(changed as CallExpression, helpers, names, problems);
      case "SequenceExpression":
        return withoutCounters(changed as Node & { expressions: Expression[] });
      case "FunctionDeclaration":
      case "FunctionExpression":
      case "ArrowFunctionExpression":
        return moved(changed, asAsync(changed as FunctionNode | ArrowFunctionExpression, helpers, names), names);
      case "ExpressionStatement":
        return isCounter((changed as Node & { expression: Node }).expression) ? empty(changed) : changed;
      case "ClassDeclaration":
      case "ClassExpression":
        return named(changed as Class, helpers, names);
      case "BlockStatement":
      case "Program":
        return tidy(changed as Node & { body: Statement[] }, helpers, names);
      default:
        return changed;
    }
  };
  return { node: reduce(root), names, problems };
}

// -- helpers, by what they are

type HelperKind = "awaiter" | "asyncToGenerator" | "name" | "stateMachine" | "privateMember";

const helperNames: Readonly<Record<string, HelperKind>> = {
  __awaiter: "awaiter",
  __async: "awaiter",
  _async_to_generator: "asyncToGenerator",
  _asyncToGenerator: "asyncToGenerator",
  __name: "name",
  __generator: "stateMachine",
  _ts_generator: "stateMachine",
  _regenerator: "stateMachine",
  _regeneratorRuntime: "stateMachine",
  _regenerator_runtime: "stateMachine",
};

class Helpers {
  readonly #lookup: Captured["lookup"];
  readonly #bound: ReadonlySet<string>;
  readonly #kinds = new Map<string, HelperKind | null>();

  constructor(root: Node, lookup: Captured["lookup"]) {
    this.#lookup = lookup;
    this.#bound = boundNames(root);
  }

  /** What the callee of a call is: `__awaiter(...)`, `tslib_1.__awaiter(...)`, `(0, t.a)(...)`. */
  kindOf(callee: Node): HelperKind | null {
    const path = pathOf(callee);
    if (path === null) return null;
    const [root] = path;
    // A name that is also bound inside may be another thing here.
    if (root === undefined || this.#bound.has(root)) return null;
    const key = path.join(".");
    let kind = this.#kinds.get(key);
    if (kind === undefined) {
      kind = this.#resolve(path);
      this.#kinds.set(key, kind);
    }
    return kind;
  }

  #resolve([root, ...members]: string[]): HelperKind | null {
    const found = this.#lookup(root!);
    // Babel and others leave a global `regeneratorRuntime`, which may not be there when this runs.
    if (!found.found) return root === "regeneratorRuntime" ? "stateMachine" : null;
    let value = found.value;
    for (const member of members) {
      if ((typeof value !== "object" && typeof value !== "function") || value === null) return null;
      value = (value as Record<string, unknown>)[member];
    }
    return typeof value === "function" ? kindOfValue(value as (...args: never[]) => unknown) : null;
  }
}

function kindOfValue(fn: (...args: never[]) => unknown): HelperKind | null {
  if (Object.hasOwn(helperNames, fn.name)) return helperNames[fn.name]!;
  if (/^(__private(Get|Set|Add|Method|In|Wrapper)|__classPrivateField(Get|Set|In)|_class_private_\w+)$/.test(fn.name)) {
    return "privateMember";
  }
  const text = Function.prototype.toString.call(fn);
  if (text.length > 4000) return null;
  if (/Generator is already (executing|running)|sent:\s*function/.test(text)) return "stateMachine";
  if (
    /Cannot (read|write) private member|(read from|write to|access) private (field|method)|attempted to (get|set|use) private/.test(
      text,
    )
  ) {
    return "privateMember";
  }
  if (fn.length === 2 && text.length < 200 && /["'`]name["'`],\s*\{\s*value(:\s*[\w$]+)?,\s*configurable:/.test(text))
    return "name";
  if (!/new\s*\(?\s*[\w$]+/.test(text) || !/Promise/.test(text)) return null;
  // As strict as minified text allows: a user's own coroutine runner must not be taken for one of these.
  if (fn.length >= 3 && [/\.next\(/, /\.throw\(/, /\.done\s*\?/, /\.apply\(/].every((part) => part.test(text)))
    return "awaiter";
  return fn.length === 1 && /["'`]next["'`]/.test(text) && /["'`]throw["'`]/.test(text) ? "asyncToGenerator" : null;
}

/** `a`, `a.b.c`, `a["b"]`, and any of them behind `(0, ...)`. */
function pathOf(node: Node): string[] | null {
  const shape = node as Node & {
    name: string;
    object: Node;
    property: Node & { name?: string; value?: unknown };
    computed: boolean;
    expressions: Node[];
  };
  switch (node.type) {
    case "Identifier":
      return [shape.name];
    case "SequenceExpression":
      return shape.expressions.length === 2 && shape.expressions[0]!.type === "Literal"
        ? pathOf(shape.expressions[1]!)
        : null;
    case "MemberExpression": {
      const object = pathOf(shape.object);
      const key = shape.computed ? shape.property.value : shape.property.name;
      return object === null || typeof key !== "string" ? null : [...object, key];
    }
    default:
      return null;
  }
}

// -- names

function reduceCall(call: CallExpression, helpers: Helpers, names: Map<Node, string>, problems: ShapeProblem[]): Node {
  const kind = helpers.kindOf(call.callee) ?? regenerator(call.callee, helpers);
  if (kind === "stateMachine") problems.push({ code: "WM146", shape: "a state machine", start: call.start });
  if (kind === "privateMember") problems.push({ code: "WM147", shape: "", start: call.start });
  if (kind !== "name") return call;
  const [target, name] = call.arguments;
  const text = (name as (Node & { value?: unknown }) | undefined)?.value;
  if (target === undefined || target.type === "SpreadElement" || typeof text !== "string") return call;
  if (isFunctionOrClass(target)) names.set(target, text);
  // `this` in a static block and declared functions are named where they stand: see `named` and `tidy`.
  return isFunctionOrClass(target) ? target : call;
}

/** `regeneratorRuntime.mark(...)`, `_regenerator().m(...)`, `_regeneratorRuntime().wrap(...)`. */
function regenerator(callee: Node, helpers: Helpers): HelperKind | null {
  if (callee.type !== "MemberExpression") return null;
  const { object } = callee as Node & { object: Node };
  if (object.type === "CallExpression")
    return helpers.kindOf((object as CallExpression).callee) === "stateMachine" ? "stateMachine" : null;
  return object.type === "Identifier" && helpers.kindOf(object) === "stateMachine" ? "stateMachine" : null;
}

/** `class A { static { __name(this, "A"); } ... }` */
function named(node: Class, helpers: Helpers, names: Map<Node, string>): Node {
  const body = node.body.body.filter((member) => {
    if (member.type !== "StaticBlock" || member.body.length !== 1) return true;
    const text = nameCall(member.body[0]!, helpers, (target) => target.type === "ThisExpression");
    if (text !== null) names.set(node, text.name);
    return text === null;
  });
  if (body.length === node.body.body.length) return node;
  const copy = { ...node, body: { ...node.body, body } } as Node;
  return moved(node, copy, names);
}

/** `function f() {} ... __name(f, "f");` and what counters left empty. */
function tidy(block: Node & { body: Statement[] }, helpers: Helpers, names: Map<Node, string>): Node {
  const declared = new Map<string, Node>();
  for (const statement of block.body) {
    if (statement.type === "FunctionDeclaration" || statement.type === "ClassDeclaration")
      declared.set(statement.id.name, statement);
  }
  const body = block.body.filter((statement) => {
    if (statement.type === "EmptyStatement") return false;
    const call = nameCall(statement, helpers, (target) => target.type === "Identifier" && declared.has(target.name));
    if (call !== null && call.target.type === "Identifier") names.set(declared.get(call.target.name)!, call.name);
    return call === null;
  });
  return body.length === block.body.length ? block : moved<Node>(block, { ...block, body } as Node, names);
}

function nameCall(
  statement: Node,
  helpers: Helpers,
  fits: (target: Expression) => boolean,
): { target: Expression; name: string } | null {
  if (statement.type !== "ExpressionStatement") return null;
  const { expression } = statement as Node & { expression: Expression };
  if (expression.type !== "CallExpression" || helpers.kindOf(expression.callee) !== "name") return null;
  const [target, name] = expression.arguments;
  if (target === undefined || target.type === "SpreadElement" || !fits(target)) return null;
  return name?.type === "Literal" && typeof name.value === "string" ? { target, name: name.value } : null;
}

// -- async functions

/** `f(a) { return __awaiter(this, void 0, void 0, function* () { ... }) }` is `async f(a) { ... }`. */
function asAsync(outer: FunctionNode | ArrowFunctionExpression, helpers: Helpers, names: Map<Node, string>): Node {
  if (outer.async || outer.generator) return outer;
  const returned = onlyReturn(outer.body);
  if (returned?.type !== "CallExpression") return outer;
  const found = awaiterCall(returned, helpers) ?? toGeneratorCall(returned, helpers);
  if (found === null) return outer;
  const params = paramsOf(outer, found);
  if (params === null) return outer;
  const body = bodyFor(params, found.inner.body, names);
  return body === null ? outer : asNode({ ...outer, async: true, expression: false, params, body });
}

interface Wrapped {
  inner: FunctionNode & { body: BlockStatement };
  /** What stands for `arguments` of the inner function; `null` where none are given. */
  given: Node | null;
}

function awaiterCall(call: CallExpression, helpers: Helpers): Wrapped | null {
  if (helpers.kindOf(call.callee) !== "awaiter") return null;
  const inner = call.arguments.at(-1);
  const [receiver, given] = call.arguments;
  if (inner === undefined || receiver === undefined || !isGenerator(inner) || !isReceiver(receiver)) return null;
  return { inner, given: given === undefined || isNothing(given) ? null : given };
}

/** `_async_to_generator(function* () { ... })()`, `.call(this)`, `.apply(this, arguments)`. */
function toGeneratorCall(call: CallExpression, helpers: Helpers): Wrapped | null {
  const member = call.callee.type === "MemberExpression" && !call.callee.computed ? call.callee : null;
  const made = member === null ? call.callee : member.object;
  if (made.type !== "CallExpression" || helpers.kindOf(made.callee) !== "asyncToGenerator") return null;
  const [inner] = made.arguments;
  if (made.arguments.length !== 1 || inner === undefined || !isGenerator(inner)) return null;
  const [receiver, given] = call.arguments;
  if (member === null) return call.arguments.length === 0 ? { inner, given: null } : null;
  if (receiver === undefined || !isReceiver(receiver)) return null;
  const method = (member.property as Node & { name?: string }).name;
  if (method === "call") return call.arguments.length === 1 ? { inner, given: null } : null;
  return method === "apply" && call.arguments.length === 2 ? { inner, given: given ?? null } : null;
}

function onlyReturn(body: BlockStatement | Expression): Expression | null {
  if (body.type !== "BlockStatement") return body;
  const statements = body.body.filter((statement) => !("directive" in statement));
  const [only] = statements;
  return statements.length === 1 && only?.type === "ReturnStatement" ? (only.argument ?? null) : null;
}

function isGenerator(node: Node): node is FunctionNode & { body: BlockStatement } {
  const shape = node as FunctionNode;
  return node.type === "FunctionExpression" && shape.generator && !shape.async && shape.id == null;
}

function isReceiver(node: Node): boolean {
  return node.type === "ThisExpression" || isNothing(node);
}

/** `void 0`, `null`, `undefined`. */
function isNothing(node: Node): boolean {
  const shape = node as Node & { operator?: string; value?: unknown; name?: string };
  if (node.type === "UnaryExpression") return shape.operator === "void";
  return node.type === "Literal" ? shape.value === null : node.type === "Identifier" && shape.name === "undefined";
}

/**
 * Parameters with defaults move inside, and outside stand-ins are handed on unchanged: `(a_1, ...rest) =>
 * __awaiter(void 0, [a_1, ...rest], void 0, function* (a, b = 1) {})`. `null`: they are not handed on unchanged.
 */
function paramsOf(outer: FunctionNode | ArrowFunctionExpression, { inner, given }: Wrapped): Pattern[] | null {
  if (inner.params.length === 0)
    return given === null || isArguments(given) ? outer.params : sameList(given, outer.params) ? outer.params : null;
  if (given === null) return null;
  if (isArguments(given)) return outer.type === "ArrowFunctionExpression" ? null : inner.params;
  return sameList(given, outer.params) ? inner.params : null;
}

function isArguments(node: Node): boolean {
  return node.type === "Identifier" && (node as Node & { name: string }).name === "arguments";
}

function sameList(given: Node, params: readonly Pattern[]): boolean {
  const { elements } = given as Node & { elements?: (Node | null)[] };
  if (given.type !== "ArrayExpression" || elements === undefined || elements.length !== params.length) return false;
  return params.every((param, index) => {
    const element = elements[index];
    const [from, to] =
      param.type === "RestElement" && element?.type === "SpreadElement"
        ? [(element as Node & { argument: Node }).argument, param.argument]
        : [element, param];
    return (
      from?.type === "Identifier" && to.type === "Identifier" && (from as Node & { name: string }).name === to.name
    );
  });
}

/**
 * The body of the generator with its `yield` turned to `await`. A minifier may have used a parameter's name again inside:
 * for `let` a block keeps the two apart; for `var` and functions nothing does, and the helper stays (`null`).
 */
function bodyFor(params: readonly Pattern[], body: BlockStatement, names: Map<Node, string>): BlockStatement | null {
  const awaited = awaiting(body, names) as BlockStatement;
  const taken = new Set(params.flatMap(patternNames));
  const clash = (list: readonly string[]) => list.some((name) => taken.has(name));
  if (clash(varNames(awaited))) return null;
  return clash(lexicalNames(awaited.body)) ? { ...awaited, body: [awaited] } : awaited;
}

/** Own-level `yield x` as `await x`; functions inside are their own level. */
function awaiting(node: Node, names: Map<Node, string>): Node {
  const within = (child: Node): Node => (isFunction(child) ? child : awaiting(child, names));
  const copy = copyWith(node, within, names);
  const { delegate, argument } = copy as Node & { delegate?: boolean; argument?: Node | null };
  if (copy.type !== "YieldExpression" || delegate === true) return copy;
  const nothing = { type: "Identifier", name: "undefined", start: copy.start, end: copy.end };
  return { type: "AwaitExpression", start: copy.start, end: copy.end, argument: argument ?? nothing } as Node;
}

// -- coverage counters: `cov_2k5h0().s[3]++`, `cov_2k5h0().b[1][0]++`

function isCounter(node: Node): boolean {
  const shape = node as Node & { operator?: string; argument?: Node };
  if (node.type !== "UpdateExpression" || shape.operator !== "++") return false;
  let inner = shape.argument as (Node & { object?: Node; property?: { name?: string } }) | undefined;
  let field: string | undefined;
  while (inner?.type === "MemberExpression") {
    field = inner.property?.name ?? field;
    inner = inner.object as typeof inner;
  }
  const callee = inner?.type === "CallExpression" ? (inner as unknown as CallExpression).callee : null;
  return callee?.type === "Identifier" && /^cov_\w+$/.test(callee.name) && /^[sfb]$/.test(field ?? "");
}

function withoutCounters(node: Node & { expressions: Expression[] }): Node {
  const kept = node.expressions.filter((expression) => !isCounter(expression));
  if (kept.length === node.expressions.length) return node;
  const [only] = kept;
  if (kept.length !== 1 || only === undefined) return { ...node, expressions: kept } as Node;
  // `(counter, a.b)()` calls b without `this`, and `a.b()` would not.
  if (only.type !== "MemberExpression") return only;
  const zero = { type: "Literal", value: 0, raw: "0", start: node.start, end: node.start };
  return { ...node, expressions: [zero, only] } as Node;
}

function empty(node: Node): Node {
  return { type: "EmptyStatement", start: node.start, end: node.end } as Node;
}

// -- trees

/** acorn's types are closed; the trees made here are plain ESTree. */
function asNode(shape: Node & Record<string, unknown>): Node {
  return shape;
}

/** The node with its children replaced; the same node if none changed. */
function copyWith(node: Node, replace: (child: Node) => Node, names: Map<Node, string>): Node {
  let copy: Record<string, unknown> | null = null;
  for (const [key, value] of Object.entries(node)) {
    const next = Array.isArray(value) ? replaceAll(value, replace) : isNode(value) ? replace(value) : value;
    if (next === value) continue;
    copy ??= { ...node };
    copy[key] = next;
  }
  return copy === null ? node : moved(node, copy as unknown as Node, names);
}

function replaceAll(list: unknown[], replace: (child: Node) => Node): unknown[] {
  const next = list.map((item) => (isNode(item) ? replace(item) : item));
  return next.every((item, index) => item === list[index]) ? list : next;
}

/** A name goes along when its node is replaced by a copy. */
function moved<T extends Node>(from: Node, to: T, names: Map<Node, string>): T {
  const name = names.get(from);
  if (name !== undefined && from !== to) {
    names.delete(from);
    names.set(to, name);
  }
  return to;
}

function isFunction(node: Node): boolean {
  return /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/.test(node.type);
}

function isFunctionOrClass(node: Node): boolean {
  return isFunction(node) || node.type === "ClassExpression";
}

/** Every name that is bound anywhere in the tree. */
function boundNames(root: Node): Set<string> {
  const bound = new Set<string>();
  walk(root, (node) => {
    const { params, id, param } = node as Node & { params?: Pattern[]; id?: Pattern | null; param?: Pattern | null };
    for (const pattern of [...(params ?? []), ...(id == null ? [] : [id]), ...(param == null ? [] : [param])]) {
      for (const name of patternNames(pattern)) bound.add(name);
    }
  });
  return bound;
}

function patternNames(pattern: Pattern): string[] {
  switch (pattern.type) {
    case "Identifier":
      return [pattern.name];
    case "ObjectPattern":
      return pattern.properties.flatMap((property) =>
        patternNames(property.type === "RestElement" ? property.argument : property.value),
      );
    case "ArrayPattern":
      return pattern.elements.flatMap((element) => (element === null ? [] : patternNames(element)));
    case "AssignmentPattern":
      return patternNames(pattern.left);
    case "RestElement":
      return patternNames(pattern.argument);
    case "MemberExpression":
      return [];
  }
}

/** `var` anywhere below that is not in a function of its own, and functions declared at the top. */
function varNames(body: BlockStatement): string[] {
  const found: string[] = [];
  const visit = (node: Node): void => {
    const { kind, declarations, id } = node as Node & {
      kind?: string;
      declarations?: { id: Pattern }[];
      id?: Pattern | null;
    };
    if (node.type === "FunctionDeclaration" && id != null) found.push(...patternNames(id));
    if (isFunction(node)) return;
    if (node.type === "VariableDeclaration" && kind === "var")
      found.push(...declarations!.flatMap((one) => patternNames(one.id)));
    for (const value of Object.values(node) as unknown[])
      for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visit(child);
  };
  visit(body);
  return found;
}

function lexicalNames(statements: readonly Statement[]): string[] {
  return statements.flatMap((statement) => {
    if (statement.type === "ClassDeclaration") return [statement.id.name];
    return statement.type === "VariableDeclaration" && statement.kind !== "var"
      ? statement.declarations.flatMap(({ id }) => patternNames(id))
      : [];
  });
}
