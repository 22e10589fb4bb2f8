// `yield` and `yield*`. A generator resumed with return() leaves through the enclosing `finally` blocks like `return`.

import type { AnyNode } from "acorn";
import type { Frame } from "./emit.ts";
import { value } from "./express.ts";

export function yieldOne(f: Frame, argument: AnyNode | null, dst: number): void {
  const { asm } = f;
  const given = asm.take();
  if (argument) value(f, argument, given);
  else asm.emit("UNDEFINED", given);
  if (f.async) asm.emit("AWAIT", given, given);
  const sent = asm.take(2);
  asm.emit("YIELD", sent, given);
  const resumed = asm.label();
  asm.jump("JINT", [sent + 1, 0], resumed);
  if (f.async) asm.emit("AWAIT", sent, sent);
  f.exit({ kind: "return" }, sent);
  asm.place(resumed);
  asm.emit("MOVE", dst, sent);
}

/** Forwards next, throw and return to the inner iterator, and its results outward. */
export function yieldAll(f: Frame, argument: AnyNode, dst: number): void {
  const { asm } = f;
  const iterator = asm.take(2);
  const received = asm.take();
  const result = asm.take();
  const item = asm.take();
  const sent = asm.take(2);
  const method = asm.take();
  /** true while return() is being forwarded: a finished inner iterator then finishes this generator too. */
  const leaving = asm.take();
  const [next, got, ask, done, thrown, returned, finish] = [
    asm.label(),
    asm.label(),
    asm.label(),
    asm.label(),
    asm.label(),
    asm.label(),
    asm.label(),
  ];

  value(f, argument, received);
  f.at(argument);
  asm.emit(f.async ? "ASYNCITER" : "ITER", iterator, received);
  asm.emit("UNDEFINED", received);
  asm.place(next);
  asm.emit("FALSE", leaving);
  asm.emit("CALL", result, iterator + 1, iterator, received, 1);
  asm.place(got);
  if (f.async) asm.emit("AWAIT", result, result);
  asm.jump("ITERUNPACK", [item, result], done);

  const region = asm.open(received, thrown);
  asm.emit("YIELD", sent, item);
  asm.close(region);
  asm.place(ask);
  asm.emit("MOVE", received, sent);
  asm.jump("JINT", [sent + 1, 0], next);
  if (f.async) {
    const awaited = asm.open(received, thrown);
    asm.emit("AWAIT", received, received);
    asm.close(awaited);
  }
  asm.place(returned);
  asm.emit("TRUE", leaving);
  asm.emit("GET", method, iterator, f.k("return"));
  const without = asm.label();
  asm.jump("JNULLISH", [method], without);
  asm.emit("CALL", result, method, iterator, received, 1);
  asm.jump("JUMP", [], got);
  asm.place(without);
  if (f.async) asm.emit("AWAIT", received, received);
  f.exit({ kind: "return" }, received);

  asm.place(thrown);
  asm.emit("FALSE", leaving);
  asm.emit("GET", method, iterator, f.k("throw"));
  const unable = asm.label();
  asm.jump("JNULLISH", [method], unable);
  asm.emit("CALL", result, method, iterator, received, 1);
  asm.jump("JUMP", [], got);
  asm.place(unable);
  if (f.async) {
    asm.emit("GET", method, iterator, f.k("return"));
    const nothing = asm.label();
    asm.jump("JNULLISH", [method], nothing);
    asm.emit("CALL", result, method, iterator, received, 0);
    asm.emit("AWAIT", result, result);
    asm.place(nothing);
  } else asm.emit("ITERCLOSE", iterator);
  asm.emit("THROWNEW", 0, f.k("The iterator does not provide a 'throw' method"));

  asm.place(done);
  asm.emit("GET", received, result, f.k("value"));
  asm.jump("JF", [leaving], finish);
  f.exit({ kind: "return" }, received);
  asm.place(finish);
  asm.emit("MOVE", dst, received);
}
