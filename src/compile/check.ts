// What a tree alone shows to be forbidden, beyond the names themselves: the clock read by a constructor, code made from
// text, members taken out of a global by a pattern. What only running can tell is refused by the VM with the same words.

import type { AnyNode } from "acorn";
import { refusedGlobals } from "../program/globals.ts";
import type { Unit } from "./emit.ts";
import { children } from "./parse.ts";

/** `refuse` is given a key of `refusedGlobals`. */
export function check(unit: Unit, root: AnyNode, refuse: (what: string, node: AnyNode) => void): void {
  const free = (node: AnyNode | null | undefined, name?: string): string | null =>
    node?.type === "Identifier" &&
    unit.analysis.uses.get(node)?.variable === null &&
    (name === undefined || node.name === name) &&
    unit.isGlobal(node.name)
      ? node.name
      : null;
  const visit = (node: AnyNode): void => {
    if (node.type === "NewExpression" && node.arguments.length === 0 && free(node.callee, "Date"))
      refuse("new Date()", node);
    if (node.type === "NewExpression" && free(node.callee, "Function")) refuse("new Function()", node);
    if (node.type === "CallExpression" && free(node.callee, "Date")) refuse("Date()", node);
    if (node.type === "CallExpression" && free(node.callee, "Function")) refuse("Function()", node);
    if (node.type === "VariableDeclarator") pattern(node.id, node.init);
    if (node.type === "AssignmentExpression") pattern(node.left, node.right);
    for (const child of children(node)) visit(child);
  };
  const pattern = (target: AnyNode, from: AnyNode | null | undefined): void => {
    const name = free(from);
    if (target.type !== "ObjectPattern" || name === null) return;
    for (const property of target.properties) {
      if (property.type !== "Property") continue;
      const key =
        property.key.type === "Identifier" && !property.computed
          ? property.key.name
          : property.key.type === "Literal"
            ? String(property.key.value)
            : null;
      if (key !== null && refusedGlobals.has(`${name}.${key}`)) refuse(`${name}.${key}`, property);
    }
  };
  visit(root);
}
