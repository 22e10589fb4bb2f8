// Destructuring, in declarations, parameters and assignments. An assignment's target is evaluated before its value is
// read; an array pattern closes its iterator exactly when the specification does.

import type { AnyNode, ArrayPattern, ObjectPattern } from "acorn";
import type { Frame } from "./emit.ts";
import { isAnonymousFunction, type Reference, reference, store, value } from "./express.ts";
import { names } from "./scope.ts";

/** How a pattern's names receive their values. */
export type Binding = "declare" | "parameter" | "assign" | "var";

/** Gives the value in `from` to a pattern or target. */
export function bind(f: Frame, target: AnyNode, from: number, how: Binding): void {
  switch (target.type) {
    case "Identifier": {
      const use = f.unit.analysis.uses.get(target)!;
      if (use.variable === null) captured(f, target);
      else if (how === "assign") f.write(use, from);
      else if (how === "var") f.set(use.variable, from);
      else f.initialise(use.variable, from);
      return;
    }
    case "AssignmentPattern": {
      const mark = f.asm.mark;
      const held = f.asm.take();
      const given = f.asm.label();
      f.asm.emit("MOVE", held, from);
      f.asm.jump("JDEFINED", [held], given);
      initial(f, target.left, target.right, held);
      f.asm.place(given);
      bind(f, target.left, held, how);
      f.asm.release(mark);
      return;
    }
    case "ObjectPattern":
      object(f, target, from, how);
      return;
    case "ArrayPattern":
      array(f, target, from, how);
      return;
    default: {
      const mark = f.asm.mark;
      store(f, reference(f, target, []), from);
      f.asm.release(mark);
    }
  }
}

/** Writing to a variable of the module. */
export function captured(f: Frame, node: AnyNode): void {
  f.unit.report("WM120", { name: node.type === "Identifier" ? node.name : "?" }, node);
}

function initial(f: Frame, target: AnyNode, expression: AnyNode, dst: number): void {
  value(f, expression, dst, target.type === "Identifier" && isAnonymousFunction(expression) ? target.name : undefined);
}

/** A property's or element's target: its reference first, then the value from `fetch`, then the default, then the store. */
function place(f: Frame, node: AnyNode, how: Binding, fetch: (dst: number) => void): void {
  const { asm } = f;
  const mark = asm.mark;
  const target = node.type === "AssignmentPattern" ? node.left : node;
  const held: Reference | null = target.type === "MemberExpression" ? reference(f, target, [node]) : null;
  const register = asm.take();
  fetch(register);
  if (node.type === "AssignmentPattern") {
    const given = asm.label();
    asm.jump("JDEFINED", [register], given);
    initial(f, target, node.right, register);
    asm.place(given);
  }
  if (held !== null) store(f, held, register);
  else bind(f, target, register, how);
  asm.release(mark);
}

function object(f: Frame, pattern: ObjectPattern, from: number, how: Binding): void {
  const { asm } = f;
  const mark = asm.mark;
  f.at(pattern);
  const rest = pattern.properties.at(-1)?.type === "RestElement";
  const first = pattern.properties[0];
  const word = first?.type === "Property" && !first.computed && first.key.type === "Identifier" ? first.key.name : "";
  asm.emit("COERCIBLE", from, f.k(word));
  const source = asm.take(); // The pattern may write the variable it reads from.
  asm.emit("MOVE", source, from);
  const taken = rest ? asm.take() : -1;
  if (rest) asm.emit("ARRAY", taken);
  for (const property of pattern.properties) {
    const inner = asm.mark;
    if (property.type === "RestElement") {
      place(f, property.argument, how, (dst) => {
        asm.emit("OBJECT", dst);
        asm.emit("COPY", dst, source, taken);
      });
    } else if (!property.computed && property.key.type === "Identifier") {
      const name = property.key.name;
      if (rest) {
        const key = asm.take();
        asm.emit("CONST", key, f.k(name));
        asm.emit("APPEND", taken, key);
      }
      place(f, property.value, how, (dst) => {
        f.at(property);
        asm.emit("GET", dst, source, f.k(name));
      });
    } else {
      const key = asm.take();
      value(f, property.key, key);
      asm.emit("KEY", key, key);
      if (rest) asm.emit("APPEND", taken, key);
      place(f, property.value, how, (dst) => asm.emit("GETI", dst, source, key));
    }
    asm.release(inner);
  }
  asm.release(mark);
}

function array(f: Frame, pattern: ArrayPattern, from: number, how: Binding): void {
  f.at(pattern);
  if (how !== "assign" && pattern.elements.every((element) => element === null || element.type === "Identifier"))
    plain(f, pattern, from, how);
  else guarded(f, pattern, from, how);
}

/** Only names: nothing between two elements can throw or be seen, so values are taken first and the end is a chain of jumps. */
function plain(f: Frame, pattern: ArrayPattern, from: number, how: Binding): void {
  const { asm } = f;
  const mark = asm.mark;
  const iterator = asm.take(2);
  asm.emit("ITER", iterator, from);
  const registers = pattern.elements.map(() => asm.take());
  const short = pattern.elements.map(() => asm.label());
  pattern.elements.forEach((_, i) => {
    asm.jump("ITERNEXT", [registers[i]!, iterator], short[i]!);
  });
  const end = asm.label();
  asm.emit("ITERCLOSE", iterator);
  asm.jump("JUMP", [], end);
  pattern.elements.forEach((_, i) => {
    asm.place(short[i]!);
    asm.emit("UNDEFINED", registers[i]!);
  });
  asm.place(end);
  pattern.elements.forEach((element, i) => {
    if (element) bind(f, element, registers[i]!, how);
  });
  asm.release(mark);
}

function guarded(f: Frame, pattern: ArrayPattern, from: number, how: Binding): void {
  const { asm } = f;
  const mark = asm.mark;
  const iterator = asm.take(2);
  const done = asm.take();
  const thrown = asm.take();
  asm.emit("ITER", iterator, from);
  asm.emit("FALSE", done);
  const region = asm.open(thrown);
  f.control.push({ kind: "iterator", register: iterator, region, async: false, done });
  // While next() runs the iterator counts as done: what it throws must not close it.
  const next = (dst: number) => {
    const short = asm.label();
    const have = asm.label();
    asm.jump("JT", [done], short);
    asm.emit("TRUE", done);
    asm.jump("ITERNEXT", [dst, iterator], short);
    asm.emit("FALSE", done);
    asm.jump("JUMP", [], have);
    asm.place(short);
    asm.emit("UNDEFINED", dst);
    asm.place(have);
  };
  for (const element of pattern.elements) {
    if (element === null) {
      const inner = asm.mark;
      next(asm.take());
      asm.release(inner);
    } else if (element.type === "RestElement") {
      place(f, element.argument, how, (dst) => {
        const top = asm.label();
        const end = asm.label();
        const item = asm.take();
        asm.emit("ARRAY", dst);
        asm.jump("JT", [done], end);
        asm.emit("TRUE", done);
        asm.place(top);
        asm.jump("ITERNEXT", [item, iterator], end);
        asm.emit("APPEND", dst, item);
        asm.jump("JUMP", [], top);
        asm.place(end);
      });
    } else place(f, element, how, next);
  }
  f.control.pop();
  const guards = asm.close(region);
  const end = asm.label();
  asm.jump("JT", [done], end);
  asm.emit("ITERCLOSE", iterator);
  if (guards) {
    const out = asm.label();
    asm.jump("JUMP", [], end);
    asm.place(region.label);
    asm.jump("JT", [done], out);
    asm.emit("ITERABORT", iterator);
    asm.place(out);
    asm.emit("THROW", thrown);
  }
  asm.place(end);
  asm.release(mark);
}

export { names };
