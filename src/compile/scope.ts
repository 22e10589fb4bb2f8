// Who owns which name. One walk over a tree: declares, resolves every use, and decides what the emitter needs to know of
// a variable: is it shared with a closure (then it lives in a cell), is it ever written again, can it be read before it is
// initialised (then it starts as the hole marker and the doubtful reads are checked).

import type { AnyNode, Identifier } from "acorn";
import { type ClassNode, children, type FunctionNode } from "./parse.ts";

export type VariableKind =
  | "var"
  | "let"
  | "const"
  | "class"
  | "function"
  | "parameter"
  | "catch"
  | "using"
  | "self" // the own name of a function expression
  | "special" // this, new.target, arguments, %home, %callee
  | "private" // #name
  | "hidden"; // computed field keys, private methods // biome-ignore format: a table

export interface Variable {
  name: string;
  kind: VariableKind;
  scope: Scope;
  fn: FunctionScope;
  captured: boolean;
  assigned: boolean;
  /** Starts as the hole marker. */
  hole: boolean;
  /** Offset in the source from which it is surely initialised. */
  ready: number;
  /** Emitter: register while its scope is open. */
  register: number;
}

export interface Scope {
  parent: Scope | null;
  fn: FunctionScope;
  variables: Map<string, Variable>;
  /** Functions to create on entry. */
  functions: FunctionNode[];
  /** Where closures of hoisted functions may first be called. */
  start: number;
  /** `switch`: entered in the middle, so textual order proves nothing. */
  unordered: boolean;
}

export interface FunctionScope {
  node: AnyNode;
  parent: FunctionScope | null;
  /** `this` and its like come from the surroundings. */
  arrow: boolean;
  derived: boolean;
  anchor: number;
  specials: Map<string, Variable>;
  scope: Scope;
  /** Where `var` goes, if parameters have a scope of their own. */
  body: Scope;
  simple: boolean;
  /** Emitter: captured variables, in order of first use. */
  upvalues: Variable[];
}

export interface Use {
  /** null: free. */
  variable: Variable | null;
  check: boolean;
  write: boolean;
}

export interface Analysis {
  root: FunctionScope;
  functions: Map<AnyNode, FunctionScope>;
  /** Field initialisers and static initialisers by class. */
  fields: Map<AnyNode, FunctionScope>;
  statics: Map<AnyNode, FunctionScope>;
  scopes: Map<AnyNode, Scope>;
  uses: Map<AnyNode, Use>;
  free: { name: string; node: AnyNode; write: boolean; typeof: boolean }[];
  /** `this`, `arguments`, `new.target`, `super` that no function here binds. */
  outer: { name: string; node: AnyNode }[];
}

const lexical = new Set<VariableKind>(["let", "const", "class", "using"]);

/** A tree that is one function, class or method expression, or a script. */
export function analyse(root: AnyNode): Analysis {
  return new Analyser().run(root);
}

export function isFunction(node: AnyNode): node is FunctionNode {
  return (
    node.type === "FunctionExpression" || node.type === "FunctionDeclaration" || node.type === "ArrowFunctionExpression"
  );
}

class Analyser {
  readonly result: Omit<Analysis, "root"> = {
    functions: new Map(),
    fields: new Map(),
    statics: new Map(),
    scopes: new Map(),
    uses: new Map(),
    free: [],
    outer: [],
  };
  scope!: Scope;
  fn!: FunctionScope;

  run(root: AnyNode): Analysis {
    const top = this.#function(root, root.type !== "Program", root.start);
    if (root.type === "Program") {
      top.arrow = false;
      this.#body(root.body);
    } else this.#visit(root);
    return { ...this.result, root: top };
  }

  #function(node: AnyNode, arrow: boolean, anchor: number): FunctionScope {
    const fn = {
      node,
      parent: this.fn ?? null,
      arrow,
      derived: false,
      anchor,
      specials: new Map(),
      simple: true,
      upvalues: [],
    } as unknown as FunctionScope;
    fn.scope = { parent: this.scope ?? null, fn, variables: new Map(), functions: [], start: anchor, unordered: false };
    fn.body = fn.scope;
    this.fn = fn;
    this.scope = fn.scope;
    return fn;
  }

  #leave(fn: FunctionScope): void {
    this.fn = fn.parent!;
    this.scope = fn.scope.parent!;
  }

  #open(node: AnyNode, unordered = false): Scope {
    this.scope = { parent: this.scope, fn: this.fn, variables: new Map(), functions: [], start: node.start, unordered };
    this.result.scopes.set(node, this.scope);
    return this.scope;
  }

  #close(): void {
    this.scope = this.scope.parent!;
  }

  #declare(scope: Scope, name: string, kind: VariableKind, ready: number): Variable {
    const known = scope.variables.get(name);
    if (known !== undefined) {
      if (kind !== "var" && kind !== "hidden") known.kind = known.kind === "parameter" ? known.kind : kind;
      if (kind === "function" || kind === "var") known.assigned = true;
      return known;
    }
    const variable: Variable = {
      name,
      kind,
      scope,
      fn: scope.fn,
      captured: false,
      assigned: false,
      hole: false,
      ready,
      register: -1,
    };
    scope.variables.set(name, variable);
    return variable;
  }

  #declarePattern(scope: Scope, pattern: AnyNode, kind: VariableKind, ready: number): void {
    for (const id of names(pattern)) this.#declare(scope, id.name, kind, ready);
  }

  /** Declares what a list of statements binds in this block. */
  #lexicals(scope: Scope, statements: readonly AnyNode[], top: boolean): void {
    for (const statement of statements) {
      const node = statement.type === "LabeledStatement" ? unlabel(statement) : statement;
      if (node.type === "VariableDeclaration" && node.kind !== "var") {
        const kind = node.kind === "await using" ? "using" : (node.kind as VariableKind);
        for (const one of node.declarations) this.#declarePattern(scope, one.id, kind, one.end);
      } else if (node.type === "ClassDeclaration") this.#declare(scope, node.id!.name, "class", node.end);
      else if (node.type === "FunctionDeclaration") {
        const { name } = node.id!;
        const variable = this.#declare(scope, name, top ? "var" : "function", 0);
        if (scope.functions.some((other) => nameOf(other) === name)) variable.assigned = true;
        scope.functions = [...scope.functions.filter((other) => nameOf(other) !== name), node];
      }
    }
  }

  #hoist(scope: Scope, statements: readonly AnyNode[]): void {
    for (const node of statements) this.#hoistOne(scope, node);
  }

  #hoistOne(scope: Scope, node: AnyNode): void {
    if (node.type === "VariableDeclaration") {
      if (node.kind === "var")
        for (const one of node.declarations)
          for (const id of names(one.id)) this.#declare(scope, id.name, "var", 0).assigned = true;
      return;
    }
    if (
      isFunction(node) ||
      node.type.endsWith("Expression") ||
      node.type === "ClassDeclaration" ||
      node.type === "ClassExpression"
    )
      return;
    for (const child of children(node)) this.#hoistOne(scope, child);
  }

  #body(statements: readonly AnyNode[]): void {
    this.#hoist(this.scope, statements);
    this.#lexicals(this.scope, statements, true);
    for (const statement of statements) this.#visit(statement);
  }

  #block(node: AnyNode, statements: readonly AnyNode[]): void {
    this.#lexicals(this.#open(node), statements, false);
    for (const statement of statements) this.#visit(statement);
    this.#close();
  }

  use(name: string, node: AnyNode, how: "read" | "write" | "init" | "typeof"): void {
    for (let scope: Scope | null = this.scope; scope !== null; scope = scope.parent) {
      const variable = scope.variables.get(name);
      if (variable === undefined) continue;
      this.#bind(variable, node, how);
      return;
    }
    this.result.uses.set(node, { variable: null, check: false, write: how === "write" });
    this.result.free.push({ name, node, write: how === "write", typeof: how === "typeof" });
  }

  #bind(variable: Variable, node: AnyNode, how: "read" | "write" | "init" | "typeof"): void {
    let at = node.start;
    for (let fn = this.fn; fn !== variable.fn; fn = fn.parent!) {
      at = fn.anchor;
      variable.captured = true;
    }
    const doubtful =
      lexical.has(variable.kind) ||
      (variable.kind === "parameter" && !variable.fn.simple) ||
      (variable.name === "this" && variable.fn.derived);
    const check = how !== "init" && doubtful && (at < variable.ready || variable.scope.unordered);
    if (check) variable.hole = true;
    if (how === "write") variable.assigned = true;
    this.result.uses.set(node, { variable, check, write: how === "write" });
  }

  /** `this` and its like: of the nearest function that is not an arrow. */
  special(name: string, node: AnyNode): void {
    let fn = this.fn;
    while (fn.arrow && fn.parent !== null) fn = fn.parent;
    if (fn.arrow) {
      this.result.outer.push({ name, node });
      return;
    }
    let variable = fn.specials.get(name);
    if (variable === undefined) {
      const ready = name === "this" && fn.derived ? Number.POSITIVE_INFINITY : 0;
      variable = {
        name,
        kind: "special",
        scope: fn.scope,
        fn,
        captured: false,
        assigned: ready > 0,
        hole: ready > 0,
        ready,
        register: -1,
      };
      fn.specials.set(name, variable);
    }
    if (fn !== this.fn) variable.captured = true;
  }

  #visit(node: AnyNode): void {
    switch (node.type) {
      case "Identifier":
        if (node.name === "arguments" && !this.#declared("arguments")) this.special("arguments", node);
        else this.use(node.name, node, "read");
        return;
      case "PrivateIdentifier":
        this.use(`#${node.name}`, node, "read");
        return;
      case "ThisExpression":
        this.special("this", node);
        return;
      case "MetaProperty":
        if (node.meta.name === "new") this.special("new.target", node);
        else this.result.outer.push({ name: "import.meta", node });
        return;
      case "ImportExpression":
        this.result.outer.push({ name: "import()", node });
        this.#visit(node.source);
        return;
      case "UnaryExpression":
        if (node.operator === "typeof" && node.argument.type === "Identifier" && node.argument.name !== "arguments") {
          this.use(node.argument.name, node.argument, "typeof");
          return;
        }
        break;
      case "CallExpression":
        if (node.callee.type === "Super") {
          for (const name of ["this", "new.target", "%callee"]) this.special(name, node.callee);
          for (const argument of node.arguments) this.#visit(argument);
          return;
        }
        break;
      case "MemberExpression":
        if (node.object.type === "Super") {
          this.special("%home", node.object);
          this.special("this", node.object);
        } else this.#visit(node.object);
        if (node.computed || node.property.type === "PrivateIdentifier") this.#visit(node.property);
        return;
      case "Property":
        if (node.computed) this.#visit(node.key);
        if (isFunction(node.value as AnyNode)) this.#enter(node.value as FunctionNode, node.start);
        else this.#visit(node.value);
        return;
      case "AssignmentExpression":
        if (node.operator === "=") this.#target(node.left, "write");
        else {
          this.#target(node.left, "write");
          if (node.left.type !== "Identifier") this.#visit(node.left);
        }
        this.#visit(node.right);
        return;
      case "UpdateExpression":
        this.#target(node.argument, "write");
        return;
      case "VariableDeclaration":
        for (const one of node.declarations) {
          this.#target(one.id, "init");
          if (one.init) this.#visit(one.init);
        }
        return;
      case "FunctionDeclaration":
        this.#enter(node, this.scope.start);
        return;
      case "FunctionExpression":
      case "ArrowFunctionExpression":
        this.#enter(node, node.start);
        return;
      case "ClassDeclaration":
      case "ClassExpression":
        this.#class(node);
        return;
      case "BlockStatement":
        this.#block(node, node.body);
        return;
      case "SwitchStatement": {
        this.#visit(node.discriminant);
        this.#lexicals(
          this.#open(node, true),
          node.cases.flatMap((one) => one.consequent),
          false,
        );
        for (const one of node.cases) {
          if (one.test) this.#visit(one.test);
          for (const statement of one.consequent) this.#visit(statement);
        }
        this.#close();
        return;
      }
      case "ForStatement":
        this.#open(node);
        if (node.init?.type === "VariableDeclaration") this.#lexicals(this.scope, [node.init], false);
        for (const part of [node.init, node.test, node.update, node.body]) if (part) this.#visit(part);
        this.#close();
        return;
      case "ForInStatement":
      case "ForOfStatement": {
        const scope = this.#open(node);
        if (node.left.type === "VariableDeclaration" && node.left.kind !== "var") {
          const kind = node.left.kind === "await using" ? "using" : (node.left.kind as VariableKind);
          this.#declarePattern(scope, node.left.declarations[0]!.id, kind, node.right.end);
        }
        this.#visit(node.right);
        if (node.left.type === "VariableDeclaration") {
          this.#target(node.left.declarations[0]!.id, "init");
          if (node.left.kind === "var")
            for (const id of names(node.left)) this.result.uses.get(id)!.variable!.assigned = true;
        } else this.#target(node.left, "write");
        this.#visit(node.body);
        this.#close();
        return;
      }
      case "CatchClause": {
        const scope = this.#open(node);
        if (node.param) {
          this.#declarePattern(scope, node.param, node.param.type === "Identifier" ? "catch" : "let", node.param.end);
          this.#target(node.param, "init");
        }
        this.#visit(node.body);
        this.#close();
        return;
      }
      case "LabeledStatement":
        this.#visit(node.body);
        return;
      case "BreakStatement":
      case "ContinueStatement":
        return;
    }
    for (const child of children(node)) this.#visit(child);
  }

  #declared(name: string): boolean {
    for (let scope: Scope | null = this.scope; scope !== null; scope = scope.parent)
      if (scope.variables.has(name)) return true;
    return false;
  }

  #target(node: AnyNode, how: "write" | "init"): void {
    switch (node.type) {
      case "Identifier":
        this.use(node.name, node, how);
        return;
      case "ObjectPattern":
        for (const property of node.properties) {
          if (property.type === "RestElement") this.#target(property.argument, how);
          else {
            if (property.computed) this.#visit(property.key);
            this.#target(property.value, how);
          }
        }
        return;
      case "ArrayPattern":
        for (const element of node.elements) if (element) this.#target(element, how);
        return;
      case "AssignmentPattern":
        this.#target(node.left, how);
        this.#visit(node.right);
        return;
      case "RestElement":
        this.#target(node.argument, how);
        return;
      default:
        this.#visit(node);
    }
  }

  /** `derived`: constructor of a class with heritage. */
  #enter(node: FunctionNode, anchor: number, derived = false): void {
    const selfNamed = node.type === "FunctionExpression" && node.id;
    const fn = this.#function(node, node.type === "ArrowFunctionExpression", anchor);
    fn.derived = derived;
    this.result.functions.set(node, fn);
    fn.simple = node.params.every((parameter) => parameter.type === "Identifier");
    const bound = new Set(node.params.flatMap((parameter) => names(parameter).map((id) => id.name)));
    for (const parameter of node.params) this.#declarePattern(fn.scope, parameter, "parameter", parameter.end);
    if (selfNamed && !bound.has(selfNamed.name)) this.#declare(fn.scope, selfNamed.name, "self", 0);
    for (const parameter of node.params) this.#target(parameter, "init");
    if (node.body.type === "BlockStatement") {
      if (!fn.simple || selfNamed) fn.body = this.#open(node.body);
      this.#body(node.body.body);
    } else this.#visit(node.body);
    this.#leave(fn);
  }

  #class(node: ClassNode): void {
    if (node.type === "ClassDeclaration" && node.id) this.use(node.id.name, node.id, "init");
    const scope = this.#open(node);
    if (node.id) this.#declare(scope, node.id.name, "const", node.end);
    const elements = node.body.body;
    for (const element of elements) {
      if (element.type === "StaticBlock" || element.key.type !== "PrivateIdentifier") continue;
      this.#declare(scope, `#${element.key.name}`, "private", 0).captured = true;
      if (element.type === "MethodDefinition")
        this.#declare(scope, methodName(element.start), "hidden", 0).captured = true;
    }
    if (node.superClass) this.#visit(node.superClass);
    const instance: AnyNode[] = [];
    const statics: AnyNode[] = [];
    for (const element of elements) {
      if (element.type === "StaticBlock") {
        statics.push(element);
        continue;
      }
      if (element.key.type === "PrivateIdentifier") this.use(`#${element.key.name}`, element.key, "init");
      else if (element.computed) this.#visit(element.key);
      if (element.type === "MethodDefinition") {
        this.#enter(element.value, element.start, element.kind === "constructor" && !!node.superClass);
        if (element.key.type === "PrivateIdentifier" && !element.static) instance.push(element);
      } else {
        if (element.computed) this.#declare(scope, keyName(element.start), "hidden", 0).captured = true;
        (element.static ? statics : instance).push(element);
      }
    }
    this.#initialiser(node, this.result.fields, instance);
    this.#initialiser(node, this.result.statics, statics);
    this.#close();
  }

  #initialiser(node: ClassNode, table: Map<AnyNode, FunctionScope>, elements: AnyNode[]): void {
    if (elements.length === 0) return;
    const fn = this.#function(node, false, node.start);
    table.set(node, fn);
    for (const element of elements) {
      this.special("this", element);
      if (element.type === "StaticBlock") {
        const scope = this.#open(element);
        this.#hoist(scope, element.body);
        this.#lexicals(scope, element.body, true);
        for (const statement of element.body) this.#visit(statement);
        this.#close();
      } else if (element.type === "PropertyDefinition") {
        if (element.value) this.#visit(element.value);
      }
    }
    this.#leave(fn);
  }
}

export function nameOf(node: FunctionNode): string | undefined {
  return node.type === "ArrowFunctionExpression" ? undefined : node.id?.name;
}

/** Hidden variables of a class, by the offset of the element. */
export function methodName(offset: number): string {
  return `%method ${offset}`;
}
export function keyName(offset: number): string {
  return `%key ${offset}`;
}

/** Identifiers a pattern or declaration binds. */
export function names(pattern: AnyNode): Identifier[] {
  switch (pattern.type) {
    case "Identifier":
      return [pattern];
    case "ObjectPattern":
      return pattern.properties.flatMap((property) =>
        names(property.type === "RestElement" ? property.argument : property.value),
      );
    case "ArrayPattern":
      return pattern.elements.flatMap((element) => (element ? names(element) : []));
    case "AssignmentPattern":
      return names(pattern.left);
    case "RestElement":
      return names(pattern.argument);
    case "VariableDeclaration":
      return pattern.declarations.flatMap((one) => names(one.id));
    default:
      return [];
  }
}

function unlabel(node: AnyNode): AnyNode {
  return node.type === "LabeledStatement" ? unlabel(node.body) : node;
}

/** Scope of a function that is emitted without a text of its own. */
export function emptyScope(): FunctionScope {
  const fn = {
    parent: null,
    arrow: false,
    derived: false,
    anchor: 0,
    specials: new Map(),
    simple: true,
    upvalues: [],
  } as unknown as FunctionScope;
  fn.scope = { parent: null, fn, variables: new Map(), functions: [], start: 0, unordered: false };
  fn.body = fn.scope;
  return fn;
}
