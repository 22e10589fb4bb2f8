// biome-ignore-all lint/correctness/noVoidTypeReturn: `return this.byte(...)` ends a case where it is decided.
// Generators and async generators: a suspended frame, and for the async ones a queue of requests, after the
// specification's state machine.

import { builtin, define, install } from "./builtin.ts";
import { Fault } from "./fault.ts";
import { isObject } from "./iterate.ts";
import { resume } from "./loop.ts";
import { hidden } from "./primordial.ts";
import { fulfilPromise, newPromise, promiseResolve, react, rejectPromise } from "./promise.ts";
import { AsyncGeneratorRecord, type Callable, GeneratorRecord, innerOf } from "./stamp.ts";
import { addTrace, describe } from "./trace.ts";

/** How a suspended frame goes on: with a value, a return, or a throw. */
export const nexting = 0;
export const returning = 1;
export const throwing = 2;

export function generatorOf(value: unknown): GeneratorRecord | undefined {
  const inner = isObject(value) ? innerOf(value) : undefined;
  return inner instanceof GeneratorRecord ? inner : undefined;
}

/** Set by the loop when a generator frame gives its value up: whether that was its end. */
export const yielded = { done: false };

function step(mode: number, name: string) {
  return {
    m(this: unknown, value: unknown): unknown {
      const generator = generatorOf(this);
      if (generator === undefined)
        throw new TypeError(`${name} method called on incompatible receiver ${describe(this)}`);
      if (generator.status === "running") throw new TypeError("Generator is already running");
      if (generator.status === "start" && mode !== nexting) generator.status = "done";
      if (generator.status === "done") {
        generator.frame = null;
        if (mode === throwing) throw value;
        return { value: mode === returning ? value : undefined, done: true };
      }
      const answer = resume(generator.frame as NonNullable<GeneratorRecord["frame"]>, mode, value);
      return { value: answer, done: yielded.done };
    },
  }.m as Callable;
}

export const generatorNext = step(nexting, "next");

// -- async generators

function request(mode: number) {
  return {
    m(this: unknown, value: unknown): unknown {
      const promise = newPromise();
      const inner = isObject(this) ? innerOf(this) : undefined;
      if (!(inner instanceof AsyncGeneratorRecord)) {
        const error = new TypeError(`next method called on incompatible receiver ${describe(this)}`);
        addTrace(error);
        rejectPromise(promise, error);
        return promise;
      }
      if (inner.status === "start" && mode !== nexting) inner.status = "done";
      if (inner.status === "done") {
        inner.frame = null;
        if (mode === nexting) fulfilPromise(promise, { value: undefined, done: true });
        else if (mode === throwing) rejectPromise(promise, value);
        else {
          push(inner, mode, value, promise);
          awaitReturn(this as object, inner);
        }
        return promise;
      }
      push(inner, mode, value, promise);
      if (inner.status === "start" || inner.status === "yield")
        resume(inner.frame as NonNullable<AsyncGeneratorRecord["frame"]>, mode, value);
      return promise;
    },
  }.m as Callable;
}

function push(generator: AsyncGeneratorRecord, mode: number, value: unknown, promise: object): void {
  generator.requests[generator.requests.length] = { mode, value, promise };
}

/** Answer the oldest request. */
export function answer(generator: AsyncGeneratorRecord, failed: boolean, value: unknown, done: boolean): void {
  const request = generator.requests[0];
  if (request === undefined) throw new Fault("WM900", "internal: an async generator answered nobody");
  for (let i = 1; i < generator.requests.length; i++)
    generator.requests[i - 1] = generator.requests[i] as typeof request;
  generator.requests.length--;
  if (failed) rejectPromise(request.promise, value);
  else fulfilPromise(request.promise, { value, done });
}

/** The frame ended: answer, then what else is asked of a finished generator. */
export function finishAsyncGenerator(
  self: object,
  generator: AsyncGeneratorRecord,
  failed: boolean,
  value: unknown,
): void {
  generator.status = "done";
  generator.frame = null;
  answer(generator, failed, value, true);
  drain(self, generator);
}

function drain(self: object, generator: AsyncGeneratorRecord): void {
  for (;;) {
    const request = generator.requests[0];
    if (request === undefined) return;
    if (request.mode === returning) return awaitReturn(self, generator);
    answer(generator, request.mode === throwing, request.mode === throwing ? request.value : undefined, true);
  }
}

const returned = define("generator.returned", 1, (slots, _self, args) =>
  afterReturn(slots[0] as object, false, args[0]),
);
const returnFailed = define("generator.returnFailed", 1, (slots, _self, args) =>
  afterReturn(slots[0] as object, true, args[0]),
);

function afterReturn(self: object, failed: boolean, value: unknown): void {
  const generator = innerOf(self) as AsyncGeneratorRecord;
  generator.status = "done";
  answer(generator, failed, value, true);
  drain(self, generator);
}

/** return(v) on a finished generator awaits v. */
function awaitReturn(self: object, generator: AsyncGeneratorRecord): void {
  generator.status = "returning";
  try {
    const promise = promiseResolve((generator.requests[0] as { value: unknown }).value);
    react(promise, {
      kind: "then",
      onFulfilled: builtin(returned, [self]),
      onRejected: builtin(returnFailed, [self]),
      result: null,
    });
  } catch (error) {
    if (error instanceof Fault) throw error;
    addTrace(error);
    afterReturn(self, true, error);
  }
}

/** Make the realm's generators ours. Before the seal. */
export function installGenerators(): void {
  install(hidden.generator, "next", generatorNext, 1);
  install(hidden.generator, "return", step(returning, "return"), 1);
  install(hidden.generator, "throw", step(throwing, "throw"), 1);
  install(hidden.asyncGenerator, "next", request(nexting), 1);
  install(hidden.asyncGenerator, "return", request(returning), 1);
  install(hidden.asyncGenerator, "throw", request(throwing), 1);
}
