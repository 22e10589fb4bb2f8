// Statements. Loops test at the bottom; every exit from a nested construct goes through `Frame.exit`.

import type {
  AnyNode,
  ForInStatement,
  ForOfStatement,
  ForStatement,
  SwitchStatement,
  TryStatement,
  VariableDeclaration,
} from "acorn";
import { classValue } from "./classes.ts";
import type { Control, Frame } from "./emit.ts";
import { branch, effect, isAnonymousFunction, operand, value, writesLast } from "./express.ts";
import { bind } from "./pattern.ts";

type Target = Control & { kind: "target" };

export function statements(f: Frame, list: readonly AnyNode[]): void {
  for (const node of list) statement(f, node);
}

export function statement(f: Frame, node: AnyNode, labels: string[] = []): void {
  const { asm } = f;
  const mark = asm.mark;
  if (node.type !== "BlockStatement") f.at(node);
  switch (node.type) {
    case "ExpressionStatement":
      if (f.completion >= 0) value(f, node.expression, f.completion);
      else effect(f, node.expression);
      break;
    case "VariableDeclaration":
      declaration(f, node);
      break;
    case "FunctionDeclaration":
    case "EmptyStatement":
    case "DebuggerStatement":
      break;
    case "ClassDeclaration": {
      const register = asm.take();
      classValue(f, node, register, node.id!.name);
      f.initialise(f.unit.analysis.uses.get(node.id!)!.variable!, register);
      break;
    }
    case "BlockStatement":
      labelled(f, labels, () => f.block(f.unit.analysis.scopes.get(node), () => statements(f, node.body)));
      break;
    case "IfStatement":
      labelled(f, labels, () => {
        const other = asm.label();
        branch(f, node.test, other, false);
        statement(f, node.consequent);
        if (!node.alternate) {
          asm.place(other);
          return;
        }
        const end = asm.label();
        asm.jump("JUMP", [], end);
        asm.place(other);
        statement(f, node.alternate);
        asm.place(end);
      });
      break;
    case "LabeledStatement":
      statement(f, node.body, [...labels, node.label.name]);
      break;
    case "ReturnStatement": {
      let from = asm.take();
      if (node.argument) {
        asm.release(mark);
        from = operand(f, node.argument, []);
        f.at(node);
        if (f.async && f.generator) {
          const awaited = asm.take();
          asm.emit("AWAIT", awaited, from);
          from = awaited;
        }
      } else {
        f.at(node);
        asm.emit("UNDEFINED", from);
      }
      f.exit({ kind: "return" }, from);
      break;
    }
    case "ThrowStatement": {
      const thrown = operand(f, node.argument, []);
      f.at(node);
      asm.emit("THROW", thrown);
      break;
    }
    case "BreakStatement":
    case "ContinueStatement": {
      const continues = node.type === "ContinueStatement";
      f.at(node);
      f.exit({ kind: "jump", to: target(f, node.label?.name, continues), continues }, -1);
      break;
    }
    case "WhileStatement":
      loop(f, labels, (top, next) => {
        asm.jump("JUMP", [], next);
        asm.place(top);
        statement(f, node.body);
        asm.place(next);
        branch(f, node.test, top, true);
      });
      break;
    case "DoWhileStatement":
      loop(f, labels, (top, next) => {
        asm.place(top);
        statement(f, node.body);
        asm.place(next);
        branch(f, node.test, top, true);
      });
      break;
    case "ForStatement":
      forLoop(f, node, labels);
      break;
    case "ForInStatement":
    case "ForOfStatement":
      forEach(f, node, labels);
      break;
    case "SwitchStatement":
      select(f, node, labels);
      break;
    case "TryStatement":
      labelled(f, labels, () => attempt(f, node));
      break;
    default:
      f.unit.report("WM145", { syntax: node.type }, node);
  }
  asm.release(mark);
}

function declaration(f: Frame, node: VariableDeclaration): void {
  const { asm } = f;
  if (node.kind === "using" || node.kind === "await using") {
    f.unit.report("WM145", { syntax: `\`${node.kind}\`` }, node);
    return;
  }
  for (const { id, init } of node.declarations) {
    const mark = asm.mark;
    if (id.type !== "Identifier") {
      const from = operand(f, init!, [id]);
      bind(f, id, from, node.kind === "var" ? "var" : "declare");
    } else if (init || node.kind !== "var") name(f, id, init ?? null, node.kind);
    asm.release(mark);
  }
}

function name(f: Frame, id: AnyNode & { type: "Identifier" }, init: AnyNode | null, kind: string): void {
  const { asm } = f;
  const variable = f.unit.analysis.uses.get(id)!.variable!;
  const given = init && isAnonymousFunction(init) ? id.name : undefined;
  const free =
    variable.fn === f.scope &&
    !variable.captured &&
    (kind === "var" || variable.hole ? init !== null && writesLast(init) : true);
  const register = free ? variable.register : asm.take();
  if (init) value(f, init, register, given);
  else asm.emit("UNDEFINED", register);
  if (free) return;
  if (kind === "var") f.set(variable, register);
  else f.initialise(variable, register);
}

// -- targets

function target(f: Frame, label: string | undefined, continues: boolean): Target {
  for (let i = f.control.length - 1; i >= 0; i--) {
    const entry = f.control[i]!;
    if (entry.kind !== "target" || (continues ? entry.continues : entry.breaks) === null) continue;
    if (
      label === undefined
        ? entry.plain && (!continues || entry.loop)
        : entry.labels.includes(label) && (!continues || entry.loop)
    )
      return entry;
  }
  throw new Error("acorn lets no jump without a target through");
}

/** A statement that only a labelled `break` leaves. */
function labelled(f: Frame, labels: string[], body: () => void): void {
  if (labels.length === 0) {
    body();
    return;
  }
  const end = f.asm.label();
  f.control.push({ kind: "target", labels, breaks: end, continues: null, loop: false, plain: false });
  body();
  f.control.pop();
  f.asm.place(end);
}

function loop(
  f: Frame,
  labels: string[],
  body: (top: ReturnType<Frame["asm"]["label"]>, next: ReturnType<Frame["asm"]["label"]>) => void,
): void {
  const { asm } = f;
  const [top, next, end] = [asm.label(), asm.label(), asm.label()];
  f.control.push({ kind: "target", labels, breaks: end, continues: next, loop: true, plain: true });
  body(top, next);
  f.control.pop();
  asm.place(end);
}

function forLoop(f: Frame, node: ForStatement, labels: string[]): void {
  const { asm } = f;
  const scope = f.unit.analysis.scopes.get(node)!;
  f.block(scope, () => {
    if (node.init) {
      if (node.init.type === "VariableDeclaration") declaration(f, node.init);
      else effect(f, node.init);
    }
    const fresh = () => {
      for (const variable of scope.variables.values()) {
        if (variable.kind !== "let" || !variable.captured) continue;
        const mark = asm.mark;
        const copy = asm.take();
        asm.emit("GETCELL", copy, variable.register);
        asm.emit("CELL", variable.register, copy);
        asm.release(mark);
      }
    };
    fresh();
    loop(f, labels, (top, next) => {
      const test = asm.label();
      if (node.test) asm.jump("JUMP", [], test);
      asm.place(top);
      statement(f, node.body);
      asm.place(next);
      fresh();
      if (node.update) effect(f, node.update);
      asm.place(test);
      if (node.test) branch(f, node.test, top, true);
      else asm.jump("JUMP", [], top);
    });
  });
}

function forEach(f: Frame, node: ForInStatement | ForOfStatement, labels: string[]): void {
  const { asm } = f;
  const scope = f.unit.analysis.scopes.get(node)!;
  const each = node.type === "ForOfStatement";
  const waits = each && node.await;
  const iterator = asm.take(2);
  const thrown = asm.take();
  const holes = [...scope.variables.values()].some((variable) => variable.hole);
  if (node.left.type === "VariableDeclaration" && (node.left.kind === "using" || node.left.kind === "await using"))
    f.unit.report("WM145", { syntax: `\`${node.left.kind}\` in a loop` }, node.left);
  const open = () => {
    const mark = asm.mark;
    const over = operand(f, node.right, []);
    f.at(node.right);
    asm.emit(each ? (waits ? "ASYNCITER" : "ITER") : "FORIN", iterator, over);
    asm.release(mark);
  };
  if (holes) f.block(scope, open);
  else open();
  loop(f, labels, (top, next) => {
    const item = asm.take();
    asm.place(next);
    asm.place(top);
    const entry = f.control.at(-1) as Target;
    const done = asm.label();
    f.at(node.left);
    if (waits) {
      asm.emit("ITERCALL", item, iterator);
      asm.emit("AWAIT", item, item);
      asm.jump("ITERUNPACK", [item, item], done);
    } else if (each) asm.jump("ITERNEXT", [item, iterator], done);
    else asm.jump("FORINNEXT", [item, iterator], done);
    const region = each ? asm.open(thrown) : null;
    // `continue` of this loop stays inside; only what goes further out closes the iterator.
    const inner: Target = { ...entry, breaks: null, continues: asm.label() };
    if (each) {
      f.control.push({ kind: "iterator", register: iterator, region, async: waits === true, done: -1 });
      f.control.push({ ...inner, plain: true, breaks: null });
    }
    f.block(scope, () => {
      if (node.left.type === "VariableDeclaration") {
        const declared = node.left.declarations[0]!;
        bind(f, declared.id, item, node.left.kind === "var" ? "var" : "declare");
      } else bind(f, node.left, item, "assign");
      statement(f, node.body);
    });
    if (each) {
      f.control.pop();
      f.control.pop();
      asm.place(inner.continues!);
    }
    const guards = region !== null && asm.close(region);
    asm.jump("JUMP", [], next);
    if (guards) {
      asm.place(region!.label);
      if (waits) abortAsync(f, iterator);
      else asm.emit("ITERABORT", iterator);
      asm.emit("THROW", thrown);
    }
    asm.place(done);
  });
}

/** The body threw: `return()` is called and awaited, and whatever it does is forgotten. */
function abortAsync(f: Frame, iterator: number): void {
  const { asm } = f;
  const mark = asm.mark;
  const lost = asm.take();
  const method = asm.take();
  const end = asm.label();
  const region = asm.open(lost, end);
  asm.emit("GET", method, iterator, f.k("return"));
  asm.jump("JNULLISH", [method], end);
  asm.emit("CALL", method, method, iterator, 0, 0);
  asm.emit("AWAIT", method, method);
  asm.close(region);
  asm.place(end);
  asm.release(mark);
}

function select(f: Frame, node: SwitchStatement, labels: string[]): void {
  const { asm } = f;
  const mark = asm.mark;
  const subject = asm.take();
  value(f, node.discriminant, subject);
  f.block(f.unit.analysis.scopes.get(node), () => {
    const end = asm.label();
    const bodies = node.cases.map(() => asm.label());
    node.cases.forEach((one, i) => {
      if (!one.test) return;
      const inner = asm.mark;
      const test = operand(f, one.test, []);
      f.at(one.test);
      asm.jump("JSEQ", [subject, test], bodies[i]!);
      asm.release(inner);
    });
    const fallback = node.cases.findIndex((one) => !one.test);
    asm.jump("JUMP", [], fallback < 0 ? end : bodies[fallback]!);
    f.control.push({ kind: "target", labels, breaks: end, continues: null, loop: false, plain: true });
    node.cases.forEach((one, i) => {
      asm.place(bodies[i]!);
      statements(f, one.consequent);
    });
    f.control.pop();
    asm.place(end);
  });
  asm.release(mark);
}

function attempt(f: Frame, node: TryStatement): void {
  if (node.finalizer)
    withFinally(
      f,
      () => (node.handler ? caught(f, node) : statement(f, node.block)),
      () => statement(f, node.finalizer!),
    );
  else caught(f, node);
}

function caught(f: Frame, node: TryStatement): void {
  const { asm } = f;
  const mark = asm.mark;
  const thrown = asm.take();
  const region = asm.open(thrown);
  f.control.push({ kind: "region", region });
  statement(f, node.block);
  f.control.pop();
  if (!asm.close(region)) {
    asm.release(mark);
    return;
  }
  const end = asm.label();
  asm.jump("JUMP", [], end);
  asm.place(region.label);
  const handler = node.handler!;
  f.block(f.unit.analysis.scopes.get(handler), () => {
    if (handler.param) bind(f, handler.param, thrown, "declare");
    statement(f, handler.body);
  });
  asm.place(end);
  asm.release(mark);
}

/** The way `body` ended is a number: 0 normal, 1 thrown, 2... the exits that pass here. `last` stands once and then goes on that way. */
export function withFinally(f: Frame, body: () => void, last: () => void): void {
  const { asm } = f;
  const mark = asm.mark;
  const completion = asm.take();
  const held = asm.take();
  const label = asm.label();
  const region = asm.open(held);
  const entry: Control & { kind: "finally" } = { kind: "finally", completion, value: held, label, exits: [], region };
  f.control.push(entry);
  body();
  f.control.pop();
  const guards = asm.close(region);
  asm.emit("INT", completion, 0);
  if (guards) {
    asm.jump("JUMP", [], label);
    asm.place(region.label);
    asm.emit("INT", completion, 1);
  }
  asm.place(label);
  last();
  const end = asm.label();
  const thrown = asm.label();
  const exits = entry.exits.map(() => asm.label());
  if (guards) asm.jump("JINT", [completion, 1], thrown);
  exits.forEach((exit, i) => {
    asm.jump("JINT", [completion, i + 2], exit);
  });
  asm.jump("JUMP", [], end);
  exits.forEach((exit, i) => {
    asm.place(exit);
    f.exit(entry.exits[i]!, held);
  });
  if (guards) {
    asm.place(thrown);
    asm.emit("THROW", held);
  }
  asm.place(end);
  asm.release(mark);
}
