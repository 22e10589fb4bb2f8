// Text to tree. Always module code, so always strict: what only sloppy mode has does not parse, and is refused.

import { type AnyNode, parse as acorn, type Options, type Program } from "acorn";

export type FunctionNode = AnyNode & { type: "FunctionExpression" | "FunctionDeclaration" | "ArrowFunctionExpression" };
export type ClassNode = AnyNode & { type: "ClassExpression" | "ClassDeclaration" };

const options: Options = { ecmaVersion: "latest", sourceType: "module", allowAwaitOutsideFunction: true };

export function parseScript(source: string): Program {
  return acorn(source, options);
}

/** Children of a node, in source order. */
export function children(node: AnyNode): AnyNode[] {
  const list: AnyNode[] = [];
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) list.push(item);
    } else if (isNode(value)) list.push(value);
  }
  return list;
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string";
}
