// The shape of a workflow for people, from the tree that emitted its code. Helpers and callbacks are followed where they
// are called. An edge is "may come next"; every node knows the call sites whose effects belong to it.

import type { AnyNode, CallExpression } from "acorn";
import type { Graph, GraphNode } from "../program/program.ts";
import type { Leaf, Unit } from "./emit.ts";
import { children } from "./parse.ts";
import { isFunction, nameOf } from "./scope.ts";

const combinators = new Set(["all", "allSettled", "race", "any"]);
const nodesMax = 5_000;

/** Units in the order they were linked: the first is the workflow itself. */
export function graphOf(units: readonly Unit[]): Graph {
  return new Drawing(units).draw();
}

interface Ends {
  /** Nodes whose next is whatever follows. */
  open: { from: number; label?: string }[];
}

class Drawing {
  readonly nodes: GraphNode[] = [];
  readonly edges: Graph["edges"][number][] = [];
  readonly units: readonly Unit[];
  #open: Ends["open"] = [];
  #parent = -1;
  #loops: { breaks: Ends["open"]; node: number }[] = [];
  #returns: Ends["open"][] = [];
  #following = new Set<AnyNode>();

  constructor(units: readonly Unit[]) {
    this.units = units;
  }

  draw(): Graph {
    const unit = this.units[0];
    const root = unit?.analysis.root.node;
    this.#node("start", "start", null, null);
    if (unit !== undefined && root !== undefined) this.#entry(unit, root);
    this.#parent = -1;
    this.#node("end", "end", null, null);
    return { nodes: this.nodes, edges: this.edges };
  }

  #entry(unit: Unit, root: AnyNode): void {
    if (root.type === "ClassExpression" || root.type === "ClassDeclaration") {
      const run = root.body.body.find(
        (element) =>
          element.type === "MethodDefinition" &&
          !element.static &&
          element.key.type === "Identifier" &&
          element.key.name === "run",
      );
      if (run?.type === "MethodDefinition") this.#body(unit, run.value);
      return;
    }
    this.#body(unit, root);
  }

  #body(unit: Unit, node: AnyNode): void {
    this.#returns.push([]);
    const loops = this.#loops;
    this.#loops = [];
    this.#visit(unit, isFunction(node) ? node.body : node);
    this.#loops = loops;
    this.#open.push(...this.#returns.pop()!);
  }

  #node(
    kind: GraphNode["kind"],
    label: string,
    unit: Unit | null,
    node: AnyNode | null,
    sites: GraphNode["sites"] = [],
  ): number {
    const place = unit !== null && node !== null ? unit.at(node) : null;
    const id = this.nodes.length;
    this.nodes.push({
      id,
      kind,
      label,
      parent: this.#parent,
      at: place === null || unit === null ? null : { source: unit.source, line: place.line, column: place.column },
      sites,
    });
    for (const { from, label: on } of this.#open)
      this.edges.push(on === undefined ? { from, to: id } : { from, to: id, label: on });
    this.#open = [{ from: id }];
    return id;
  }

  #inside(id: number, work: () => void): void {
    const parent = this.#parent;
    this.#parent = id;
    work();
    this.#parent = parent;
  }

  #visit(unit: Unit, node: AnyNode | null | undefined): void {
    if (!node || this.nodes.length > nodesMax) return;
    switch (node.type) {
      case "IfStatement":
      case "ConditionalExpression":
        this.#visit(unit, node.test);
        if (!this.#matters(unit, node.consequent) && !this.#matters(unit, node.alternate)) return;
        this.#branch(unit, node, [
          ["yes", () => this.#visit(unit, node.consequent)],
          ["no", () => this.#visit(unit, node.alternate)],
        ]);
        return;
      case "LogicalExpression":
        this.#visit(unit, node.left);
        if (this.#matters(unit, node.right))
          this.#branch(unit, node, [
            ["go on", () => this.#visit(unit, node.right)],
            ["skip", () => {}],
          ]);
        return;
      case "SwitchStatement": {
        this.#visit(unit, node.discriminant);
        if (!node.cases.some((one) => one.consequent.some((statement) => this.#matters(unit, statement)))) return;
        const id = this.#node("branch", this.#text(unit, node.discriminant), unit, node);
        const breaks: Ends["open"] = [];
        this.#loops.push({ breaks, node: -1 });
        this.#inside(id, () => {
          let through: Ends["open"] = [];
          for (const one of node.cases) {
            this.#open = [...through, { from: id, label: one.test ? this.#text(unit, one.test) : "default" }];
            for (const statement of one.consequent) this.#visit(unit, statement);
            through = this.#open;
          }
          this.#open = [...through, ...(node.cases.some((one) => !one.test) ? [] : [{ from: id, label: "none" }])];
        });
        this.#loops.pop();
        this.#open.push(...breaks);
        return;
      }
      case "ForStatement":
      case "WhileStatement":
      case "DoWhileStatement":
      case "ForInStatement":
      case "ForOfStatement":
        this.#loop(unit, node);
        return;
      case "TryStatement":
        this.#try(unit, node);
        return;
      case "ThrowStatement":
        this.#visit(unit, node.argument);
        this.#node("throw", this.#text(unit, node.argument), unit, node);
        this.#open = [];
        return;
      case "ReturnStatement":
        this.#visit(unit, node.argument);
        this.#returns.at(-1)?.push(...this.#open);
        this.#open = [];
        return;
      case "BreakStatement":
        (this.#loops.at(-1)?.breaks ?? []).push(...this.#open);
        this.#open = [];
        return;
      case "ContinueStatement": {
        const loop = this.#loops.findLast((one) => one.node >= 0);
        if (loop) for (const { from } of this.#open) this.edges.push({ from, to: loop.node, label: "again" });
        this.#open = [];
        return;
      }
      case "CallExpression":
        this.#call(unit, node);
        return;
      case "FunctionDeclaration":
      case "FunctionExpression":
      case "ArrowFunctionExpression":
      case "ClassDeclaration":
      case "ClassExpression":
        return;
      default:
        for (const child of children(node)) this.#visit(unit, child);
    }
  }

  #branch(unit: Unit, node: AnyNode & { test?: AnyNode; left?: AnyNode }, arms: [string, () => void][]): void {
    const id = this.#node("branch", this.#text(unit, (node.test ?? node.left)!), unit, node);
    const ends: Ends["open"] = [];
    this.#inside(id, () => {
      for (const [label, arm] of arms) {
        this.#open = [{ from: id, label }];
        arm();
        ends.push(...this.#open);
      }
    });
    this.#open = ends;
  }

  #loop(unit: Unit, node: AnyNode): void {
    const parts = node as unknown as {
      init?: AnyNode;
      test?: AnyNode;
      update?: AnyNode;
      right?: AnyNode;
      body: AnyNode;
      left?: AnyNode;
    };
    if (parts.init) this.#visit(unit, parts.init);
    if (parts.right) this.#visit(unit, parts.right);
    if (!this.#matters(unit, parts.body) && !this.#matters(unit, parts.test)) return;
    const label = parts.right
      ? `for ${this.#text(unit, parts.left!)} of ${this.#text(unit, parts.right)}`
      : parts.test
        ? `while ${this.#text(unit, parts.test)}`
        : "loop";
    const id = this.#node("loop", label, unit, node);
    const breaks: Ends["open"] = [];
    this.#loops.push({ breaks, node: id });
    this.#inside(id, () => {
      this.#open = [{ from: id, label: "each" }];
      if (parts.test) this.#visit(unit, parts.test);
      this.#visit(unit, parts.body);
      if (parts.update) this.#visit(unit, parts.update);
      for (const { from } of this.#open) if (from !== id) this.edges.push({ from, to: id, label: "again" });
    });
    this.#loops.pop();
    this.#open = [{ from: id, label: "done" }, ...breaks];
  }

  #try(unit: Unit, node: AnyNode & { type: "TryStatement" }): void {
    const parts: AnyNode[] = [
      node.block,
      ...(node.handler ? [node.handler.body] : []),
      ...(node.finalizer ? [node.finalizer] : []),
    ];
    if (!parts.some((part) => this.#matters(unit, part))) return;
    const id = this.#node("try", "try", unit, node);
    this.#inside(id, () => this.#visit(unit, node.block));
    let ends = this.#open;
    if (node.handler) {
      this.#open = [{ from: id, label: "throws" }];
      const caught = this.#node(
        "catch",
        node.handler.param ? `catch ${this.#text(unit, node.handler.param)}` : "catch",
        unit,
        node.handler,
      );
      this.#inside(caught, () => this.#visit(unit, node.handler!.body));
      ends = [...ends, ...this.#open];
    }
    this.#open = ends;
    if (node.finalizer) {
      if (this.#open.length === 0) this.#open = [{ from: id, label: "always" }];
      const last = this.#node("finally", "finally", unit, node.finalizer);
      this.#inside(last, () => this.#visit(unit, node.finalizer!));
    }
  }

  #call(unit: Unit, node: CallExpression): void {
    const site = unit.sites.get(node);
    const sites = site === undefined ? [] : [site];
    const callee = node.callee as AnyNode;
    if (
      callee.type === "MemberExpression" &&
      callee.object.type === "Identifier" &&
      callee.object.name === "Promise" &&
      callee.property.type === "Identifier" &&
      combinators.has(callee.property.name)
    ) {
      const id = this.#node("fanout", `Promise.${callee.property.name}`, unit, node);
      this.#inside(id, () => this.#arms(unit, node.arguments as AnyNode[], id));
      return;
    }
    const leaf = this.#leafOf(unit, callee);
    if (leaf?.kind !== "reference") this.#visit(unit, callee);
    for (const argument of node.arguments) {
      if (isFunction(argument)) this.#follow(unit, argument);
      else this.#visit(unit, argument);
    }
    if (leaf?.kind === "reference") this.#effect(unit, node, leaf, callee, sites);
    else if (leaf?.kind === "static") {
      const target = this.#unitOf(unit, callee);
      if (target !== null) this.#follow(target, target.analysis.root.node);
    } else if (callee.type === "Identifier") {
      const target = declared(unit, callee);
      if (target !== null) this.#follow(unit, target);
    } else if (
      callee.type === "MemberExpression" &&
      callee.object.type === "ThisExpression" &&
      callee.property.type === "Identifier"
    ) {
      const target = method(unit, callee.property.name);
      if (target !== null) this.#follow(unit, target);
    }
  }

  #arms(unit: Unit, list: readonly AnyNode[], from: number): void {
    const ends: Ends["open"] = [];
    const arms = list.flatMap((one) =>
      one.type === "ArrayExpression" ? (one.elements.filter((element) => element !== null) as AnyNode[]) : [one],
    );
    for (const arm of arms) {
      this.#open = [{ from }];
      this.#visit(unit, arm.type === "SpreadElement" ? arm.argument : arm);
      ends.push(...this.#open);
    }
    if (arms.length > 0) this.#open = ends;
  }

  #effect(
    unit: Unit,
    node: CallExpression,
    leaf: Leaf & { kind: "reference" },
    callee: AnyNode,
    sites: GraphNode["sites"],
  ): void {
    const { reference } = leaf;
    const member =
      callee.type === "MemberExpression" && callee.property.type === "Identifier" ? callee.property.name : null;
    if (member === "with") return;
    if (reference.kind === "action") this.#node("action", reference.name, unit, node, sites);
    else if (reference.kind === "workflow") this.#node("child", reference.name, unit, node, sites);
    else if (reference.name === "sleep")
      this.#node(
        "sleep",
        `sleep ${node.arguments[0] ? this.#text(unit, node.arguments[0]) : ""}`.trim(),
        unit,
        node,
        sites,
      );
    else if (reference.name !== "runAction") this.#node("durable", reference.name, unit, node, sites);
  }

  /** The reference or helper a callee names: itself, or what `.with(...)`, `.run`, `.start` is called on. */
  #leafOf(unit: Unit, callee: AnyNode): Leaf | undefined {
    const own = unit.leaves.get(callee);
    if (own !== undefined) return own;
    if (callee.type === "MemberExpression") {
      const leaf = this.#leafOf(unit, callee.object);
      return leaf?.kind === "reference" ? leaf : undefined;
    }
    if (callee.type === "CallExpression") return this.#leafOf(unit, callee.callee as AnyNode);
    return undefined;
  }

  #unitOf(unit: Unit, callee: AnyNode): Unit | null {
    const leaf = unit.leaves.get(callee);
    if (leaf?.kind !== "static") return null;
    return this.units.find((one) => one.statics === leaf.index) ?? null;
  }

  #follow(unit: Unit, node: AnyNode): void {
    if (this.#following.has(node) || !isFunction(node)) return;
    this.#following.add(node);
    this.#body(unit, node);
    this.#following.delete(node);
  }

  /** Whether drawing the part would show anything. */
  #matters(unit: Unit, node: AnyNode | null | undefined): boolean {
    if (!node) return false;
    if (
      node.type === "ThrowStatement" ||
      node.type === "ReturnStatement" ||
      node.type === "BreakStatement" ||
      node.type === "ContinueStatement"
    )
      return true;
    if (node.type === "CallExpression") {
      const callee = node.callee as AnyNode;
      const leaf = this.#leafOf(unit, callee);
      if (leaf?.kind === "reference" || leaf?.kind === "static") return true;
      if (callee.type === "Identifier" && declared(unit, callee) !== null) return true;
      if (callee.type === "MemberExpression" && callee.object.type === "ThisExpression") return true;
    }
    return children(node).some((child) => this.#matters(unit, child));
  }

  #text(unit: Unit, node: AnyNode): string {
    const text = unit.text.slice(node.start, node.end).replace(/\s+/g, " ");
    return text.length > 48 ? `${text.slice(0, 45)}...` : text;
  }
}

/** The function a name of this text is declared as. */
function declared(unit: Unit, id: AnyNode & { type: "Identifier" }): AnyNode | null {
  const variable = unit.analysis.uses.get(id)?.variable;
  if (!variable) return null;
  const hoisted = variable.scope.functions.find((fn) => nameOf(fn) === variable.name);
  if (hoisted !== undefined) return hoisted;
  for (const node of unit.analysis.functions.keys()) {
    if (node.start > variable.ready || node.end > variable.ready || variable.assigned) continue;
    if (variable.ready === node.end && isFunction(node) && node.type !== "FunctionDeclaration") return node;
  }
  return null;
}

function method(unit: Unit, name: string): AnyNode | null {
  const root = unit.analysis.root;
  for (const node of root.node.type === "ClassExpression" || root.node.type === "ClassDeclaration"
    ? root.node.body.body
    : [])
    if (node.type === "MethodDefinition" && node.key.type === "Identifier" && node.key.name === name) return node.value;
  return null;
}
