// Parses what `toString()` says of a function. It may be an arrow, a function, a class, or a method as it stands in an
// object or class, which is no expression by itself: what has to stand around it to parse is found by trying.

import { type Node, type Options, type Program, parse } from "acorn";
import { failure } from "./diagnostics.ts";

export interface Parsed {
  kind: "function" | "class" | "method";
  prefix: string;
  suffix: string;
  node: Node;
}

// Methods of a class mention private names of the class around them, which is not there.
const options: Options = { ecmaVersion: "latest", sourceType: "module", checkPrivateFields: false };

export function parseText(text: string, name: string): Parsed {
  if (isNative(text)) throw failure("WM122", { name: name || "(anonymous)", path: `\`${name || "(anonymous)"}\`` });
  const problems: unknown[] = [];
  for (const way of ways) {
    try {
      const program = parse(way.prefix + text + way.suffix, options);
      const node = way.find(program);
      if (node === null) continue;
      return {
        kind: node.type === "ClassExpression" ? "class" : way.kind,
        prefix: way.prefix,
        suffix: way.suffix,
        node,
      };
    } catch (error) {
      problems.push(error);
    }
  }
  throw explain(text, name || "(anonymous)", problems);
}

interface Way {
  kind: "function" | "method";
  prefix: string;
  suffix: string;
  find: (program: Program) => Node | null;
}

const ways: readonly Way[] = [
  { kind: "function", prefix: "(", suffix: ")", find: expressionOf },
  {
    kind: "method",
    prefix: "({",
    suffix: "})",
    find: (program) => {
      const object = expressionOf(program);
      return object?.type === "ObjectExpression" ? only(object.properties) : null;
    },
  },
  {
    kind: "method",
    prefix: "(class{",
    suffix: "})",
    find: (program) => {
      const made = expressionOf(program);
      return made?.type === "ClassExpression" ? only(made.body.body) : null;
    },
  },
];

function expressionOf(program: Program) {
  const statement = only(program.body);
  return statement?.type === "ExpressionStatement" ? statement.expression : null;
}

function only<T>(list: readonly T[]): T | null {
  return list.length === 1 ? list[0]! : null;
}

/** Bound functions, proxies and built-ins. A user's text never has this as its whole body: it would not parse. */
export function isNative(text: string): boolean {
  return /\{\s*\[native code\]\s*\}\s*$/.test(text);
}

function explain(text: string, name: string, problems: readonly unknown[]) {
  const why = furthest(problems);
  if (/new\.target/.test(why)) return failure("WM142", {});
  if (/'super'/.test(why)) {
    return failure("WM145", { syntax: "`super` of a method around the function" });
  }
  if (ways.some(({ prefix, suffix }) => parses(prefix + text + suffix))) {
    return failure("WM144", { what: `\`${name}\` has code that (${why})`, advice: "Put the code in an ES module." });
  }
  return failure("WM148", { name, why }, { cause: problems[0] });
}

/** Of several attempts the one that read furthest speaks of the real trouble. */
function furthest(problems: readonly unknown[]): string {
  let best: { pos: number; message: string } = { pos: -1, message: "no function was found in it" };
  for (const problem of problems) {
    if (!(problem instanceof SyntaxError)) throw problem;
    const pos = (problem as SyntaxError & { pos?: number }).pos ?? 0;
    if (pos > best.pos) best = { pos, message: problem.message.replace(/ \(\d+:\d+\)$/, "") };
  }
  return best.message;
}

function parses(source: string): boolean {
  try {
    parse(source, { ...options, sourceType: "script" });
    return true;
  } catch {
    return false;
  }
}
