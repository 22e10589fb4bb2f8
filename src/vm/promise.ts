// biome-ignore-all lint/correctness/noVoidTypeReturn: `return this.byte(...)` ends a case where it is decided.
// Promises and their order, step by step as the specification has them: the same program must see the same turns under
// Node and here. Jobs run when an activation says so; nothing here knows of time.

import { builtin, define, install } from "./builtin.ts";
import { Fault } from "./fault.ts";
import type { Frame } from "./frame.ts";
import { closeIterator, iteratorOf, iteratorStep } from "./iterate.ts";
import { resume } from "./loop.ts";
import {
  type Callable,
  type Capability,
  fulfilled,
  PromiseRecord,
  pending,
  promiseOf,
  type Reaction,
  rejected,
  stamp,
} from "./stamp.ts";
import { enqueue, type Job, running } from "./state.ts";
import { addTrace, describe } from "./trace.ts";

export class VmPromise {
  constructor(executor: unknown) {
    if (typeof executor !== "function") throw new TypeError(`Promise resolver ${describe(executor)} is not a function`);
    stamp(this, new PromiseRecord());
    const [resolve, reject] = resolvingFunctions(this);
    try {
      (executor as Callable)(resolve, reject);
    } catch (error) {
      if (error instanceof Fault) throw error;
      addTrace(error);
      reject(error);
    }
  }
}
Object.defineProperty(VmPromise, "name", { value: "Promise", configurable: true });

function Bare() {}
Bare.prototype = VmPromise.prototype;
const bare = Bare as unknown as new () => object;

export function newPromise(): object {
  return stamp(new bare(), new PromiseRecord());
}

const recordOf = (promise: object): PromiseRecord => promiseOf(promise) as PromiseRecord;

// -- settling

/** The specification's resolve function: a promise or thenable is followed, anything else fulfils. */
export function resolvePromise(promise: object, value: unknown): void {
  const record = recordOf(promise);
  if (value === promise) {
    const error = new TypeError("Chaining cycle detected for promise #<Promise>");
    addTrace(error);
    return rejectPromise(promise, error);
  }
  if ((typeof value !== "object" && typeof value !== "function") || value === null)
    return settle(record, fulfilled, value);
  let then: unknown;
  try {
    then = (value as { then?: unknown }).then;
  } catch (error) {
    if (error instanceof Fault) throw error;
    addTrace(error);
    return rejectPromise(promise, error);
  }
  if (typeof then !== "function") return settle(record, fulfilled, value);
  enqueue({ kind: "thenable", promise, thenable: value, then: then as Callable });
}

export function fulfilPromise(promise: object, value: unknown): void {
  settle(recordOf(promise), fulfilled, value);
}

export function rejectPromise(promise: object, error: unknown): void {
  const record = recordOf(promise);
  if (!record.handled) {
    const { rejections } = running();
    rejections[rejections.length] = promise;
  }
  settle(record, rejected, error);
}

function settle(record: PromiseRecord, state: number, value: unknown): void {
  const { reactions } = record;
  record.state = state;
  record.value = value;
  record.reactions = null;
  if (reactions === null) return;
  for (let i = 0; i < reactions.length; i++) enqueue({ kind: "reaction", reaction: reactions[i]!, state, value });
}

/** PerformPromiseThen. */
export function react(promise: object, reaction: Reaction): void {
  const record = recordOf(promise);
  record.handled = true;
  if (record.state === pending) {
    if (record.reactions === null) record.reactions = [reaction];
    else record.reactions[record.reactions.length] = reaction;
  } else enqueue({ kind: "reaction", reaction, state: record.state, value: record.value });
}

const resolveFunction = define("promise.resolve", 1, (slots, _self, args) => {
  const flag = slots[1] as { done: boolean };
  if (flag.done) return;
  flag.done = true;
  resolvePromise(slots[0] as object, args[0]);
});
const rejectFunction = define("promise.reject", 1, (slots, _self, args) => {
  const flag = slots[1] as { done: boolean };
  if (flag.done) return;
  flag.done = true;
  rejectPromise(slots[0] as object, args[0]);
});

/** The pair shares one flag, an ordinary object, so that a snapshot keeps them a pair. */
export function resolvingFunctions(promise: object): [Callable, Callable] {
  const flag = { done: false };
  return [builtin(resolveFunction, [promise, flag]), builtin(rejectFunction, [promise, flag])];
}

// -- jobs

export function runJob(job: Job): void {
  switch (job.kind) {
    case "reaction":
      return runReaction(job.reaction, job.state, job.value);
    case "thenable":
      return follow(job.promise, job.thenable, job.then);
    case "call":
      try {
        job.call();
      } catch (error) {
        if (error instanceof Fault) throw error;
        addTrace(error);
        // An error thrown by a microtask is nobody's: it fails the instance like an unhandled rejection.
        rejectPromise(newPromise(), error);
      }
  }
}

function follow(promise: object, thenable: unknown, then: Callable): void {
  // Of a promise of ours with our own `then`, the resolving functions can be seen by nobody: the reaction does without.
  if (then === promiseThen && promiseOf(thenable) !== undefined && (thenable as VmPromise).constructor === VmPromise) {
    return react(thenable as object, { kind: "forward", promise });
  }
  const [resolve, reject] = resolvingFunctions(promise);
  try {
    Reflect.apply(then, thenable, [resolve, reject]);
  } catch (error) {
    if (error instanceof Fault) throw error;
    addTrace(error);
    reject(error);
  }
}

function runReaction(reaction: Reaction, state: number, value: unknown): void {
  switch (reaction.kind) {
    case "await":
      resume(reaction.frame, state === fulfilled ? 0 : 2, value);
      return;
    case "forward":
      if (state === fulfilled) resolvePromise(reaction.promise, value);
      else rejectPromise(reaction.promise, value);
      return;
    case "then": {
      const handler = state === fulfilled ? reaction.onFulfilled : reaction.onRejected;
      const { result } = reaction;
      let failed = state === rejected;
      let answer = value;
      if (typeof handler === "function") {
        try {
          answer = (handler as Callable)(value);
          failed = false;
        } catch (error) {
          if (error instanceof Fault) throw error;
          addTrace(error);
          answer = error;
          failed = true;
        }
      }
      if (result !== null) settleCapability(result, failed, answer);
    }
  }
}

export function settleCapability(capability: Capability, failed: boolean, value: unknown): void {
  if (capability.resolve === undefined) {
    if (failed) rejectPromise(capability.promise, value);
    else resolvePromise(capability.promise, value);
  } else ((failed ? capability.reject : capability.resolve) as Callable)(value);
}

/** A frame waits for a value: PromiseResolve, then a reaction without a derived promise. */
export function awaitValue(frame: Frame, value: unknown): void {
  react(promiseResolve(value), { kind: "await", frame });
}

/** The value if it is a promise of the realm's Promise, else a new one resolved with it. */
export function promiseResolve(value: unknown): object {
  if (promiseOf(value) !== undefined && (value as VmPromise).constructor === VmPromise) return value as object;
  const promise = newPromise();
  resolvePromise(promise, value);
  return promise;
}

// -- capabilities of classes that extend Promise

const capabilityExecutor = define("promise.capability", 2, (slots, _self, args) => {
  const capability = slots[0] as Capability;
  if (capability.resolve !== undefined || capability.reject !== undefined)
    throw new TypeError("Promise executor has already been invoked with non-undefined arguments");
  capability.resolve = args[0];
  capability.reject = args[1];
});

export function newCapability(maker: unknown): Capability {
  if (maker === VmPromise) return { promise: newPromise(), resolve: undefined, reject: undefined };
  if (typeof maker !== "function") throw new TypeError(`${describe(maker)} is not a constructor`);
  const capability = { promise: undefined, resolve: undefined, reject: undefined } as unknown as Capability;
  capability.promise = Reflect.construct(maker, [builtin(capabilityExecutor, [capability])]) as object;
  if (typeof capability.resolve !== "function" || typeof capability.reject !== "function")
    throw new TypeError("Promise resolve or reject function is not callable");
  return capability;
}

function speciesOf(promise: object): unknown {
  const maker = (promise as VmPromise).constructor as unknown;
  if (maker === VmPromise || maker === undefined) return VmPromise;
  if (typeof maker !== "function" && (typeof maker !== "object" || maker === null))
    throw new TypeError("The .constructor property is not an object");
  const species = (maker as unknown as Record<symbol, unknown>)[Symbol.species];
  return species === undefined || species === null ? VmPromise : species;
}

function resolveWith(maker: unknown, value: unknown): object {
  if (promiseOf(value) !== undefined && ((value as VmPromise).constructor as unknown) === maker) return value as object;
  const capability = newCapability(maker);
  settleCapability(capability, false, value);
  return capability.promise;
}

// -- Promise.prototype

export const promiseThen: Callable = {
  then(this: unknown, onFulfilled: unknown, onRejected: unknown): unknown {
    if (promiseOf(this) === undefined)
      throw new TypeError(`Method Promise.prototype.then called on incompatible receiver ${describe(this)}`);
    const result = newCapability(speciesOf(this as object));
    react(this as object, { kind: "then", onFulfilled, onRejected, result });
    return result.promise;
  },
}.then as Callable;

const thenFinally = define("promise.thenFinally", 1, (slots, _self, args) => {
  const [onFinally, maker] = slots;
  const promise = resolveWith(maker, (onFinally as Callable)());
  return (promise as { then: Callable }).then(builtin(valueThunk, [args[0]]));
});
const catchFinally = define("promise.catchFinally", 1, (slots, _self, args) => {
  const [onFinally, maker] = slots;
  const promise = resolveWith(maker, (onFinally as Callable)());
  return (promise as { then: Callable }).then(builtin(thrower, [args[0]]));
});
const valueThunk = define("promise.value", 0, (slots) => slots[0]);
const thrower = define("promise.thrower", 0, (slots) => {
  throw slots[0];
});

const methods = {
  catch(this: unknown, onRejected: unknown): unknown {
    return (this as { then: Callable }).then(undefined, onRejected);
  },
  finally(this: unknown, onFinally: unknown): unknown {
    if (typeof this !== "object" || this === null)
      throw new TypeError("Promise.prototype.finally called on a non-object");
    const maker = promiseOf(this) === undefined ? VmPromise : speciesOf(this);
    if (typeof onFinally !== "function") return (this as unknown as { then: Callable }).then(onFinally, onFinally);
    return (this as unknown as { then: Callable }).then(
      builtin(thenFinally, [onFinally, maker]),
      builtin(catchFinally, [onFinally, maker]),
    );
  },
};

// -- Promise.all and its family: one walk, four ways to collect

const element = (id: string, collect: (slots: unknown[], value: unknown) => unknown) =>
  define(id, 1, (slots, _self, args) => {
    const once = slots[3] as { done: boolean };
    if (once.done) return;
    once.done = true;
    const shared = slots[0] as { values: unknown[]; left: number; result: Capability; any: boolean };
    shared.values[slots[1] as number] = collect(slots, args[0]);
    shared.left--;
    if (shared.left === 0) finishAll(shared);
  });
const allElement = element("promise.all", (_slots, value) => value);
const settledElement = element("promise.allSettled.fulfilled", (_slots, value) => ({ status: "fulfilled", value }));
const unsettledElement = element("promise.allSettled.rejected", (_slots, reason) => ({ status: "rejected", reason }));
const anyElement = element("promise.any", (_slots, error) => error);

function finishAll(shared: { values: unknown[]; result: Capability; any: boolean }): void {
  if (!shared.any) return settleCapability(shared.result, false, shared.values);
  const error = new AggregateError([], "All promises were rejected");
  Object.defineProperty(error, "errors", {
    value: shared.values,
    writable: true,
    enumerable: false,
    configurable: true,
  });
  addTrace(error);
  settleCapability(shared.result, true, error);
}

type Handlers = (shared: object, index: number, result: Capability) => [unknown, unknown];

/** Handlers that a combinator gives to `then` of a capability of the plain Promise are made at need. */
function outsideFunctions(result: Capability): [unknown, unknown] {
  if (result.resolve === undefined) [result.resolve, result.reject] = resolvingFunctions(result.promise);
  return [result.resolve, result.reject];
}

function combinator(any: boolean, handlers: Handlers) {
  return function (this: unknown, iterable: unknown): unknown {
    const result = newCapability(this);
    outsideFunctions(result);
    const shared = { values: [] as unknown[], left: 1, result, any };
    try {
      const resolve = (this as { resolve?: unknown }).resolve;
      if (typeof resolve !== "function") throw new TypeError("Promise resolve or reject function is not callable");
      const iterator = iteratorOf(iterable);
      for (let index = 0; ; index++) {
        const step = iteratorStep(iterator);
        if (step === null) break;
        try {
          shared.values[index] = undefined;
          const promise = Reflect.apply(resolve, this, [step.value]) as { then: Callable };
          shared.left++;
          const [onFulfilled, onRejected] = handlers(shared, index, result);
          promise.then(onFulfilled, onRejected);
        } catch (error) {
          if (!(error instanceof Fault)) closeIterator(iterator, true);
          throw error;
        }
      }
      shared.left--;
      if (shared.left === 0 && handlers !== raceHandlers) finishAll(shared);
    } catch (error) {
      if (error instanceof Fault) throw error;
      addTrace(error);
      settleCapability(result, true, error);
    }
    return result.promise;
  };
}

const raceHandlers: Handlers = (_shared, _index, result) => outsideFunctions(result);

const statics = {
  all: combinator(false, (shared, index, result) => [
    builtin(allElement, [shared, index, result, { done: false }]),
    outsideFunctions(result)[1],
  ]),
  allSettled: combinator(false, (shared, index, result) => {
    const once = { done: false };
    return [
      builtin(settledElement, [shared, index, result, once]),
      builtin(unsettledElement, [shared, index, result, once]),
    ];
  }),
  any: combinator(true, (shared, index, result) => [
    outsideFunctions(result)[0],
    builtin(anyElement, [shared, index, result, { done: false }]),
  ]),
  race: combinator(false, raceHandlers),
  resolve(this: unknown, value: unknown): unknown {
    if (typeof this !== "function") throw new TypeError("PromiseResolve called on non-object");
    return resolveWith(this, value);
  },
  reject(this: unknown, error: unknown): unknown {
    const capability = newCapability(this);
    settleCapability(capability, true, error);
    return capability.promise;
  },
  withResolvers(this: unknown): unknown {
    const capability = newCapability(this);
    const [resolve, reject] = outsideFunctions(capability);
    return { promise: capability.promise, resolve, reject };
  },
  try(this: unknown, call: unknown, ...args: unknown[]): unknown {
    const capability = newCapability(this);
    try {
      settleCapability(capability, false, Reflect.apply(call as Callable, undefined, args));
    } catch (error) {
      if (error instanceof Fault) throw error;
      addTrace(error);
      settleCapability(capability, true, error);
    }
    return capability.promise;
  },
};

const single = (made: unknown): Callable => made as Callable;
const species = Object.getOwnPropertyDescriptor(
  {
    get [Symbol.species]() {
      return this;
    },
  },
  Symbol.species,
)!.get!;

/** Make the realm's Promise ours. Before the seal. */
export function installPromise(): void {
  const prototype = VmPromise.prototype;
  install(prototype, "then", promiseThen, 2);
  install(prototype, "catch", single(methods.catch), 1);
  install(prototype, "finally", single(methods.finally), 1);
  Object.defineProperty(prototype, Symbol.toStringTag, {
    value: "Promise",
    writable: false,
    enumerable: false,
    configurable: true,
  });
  for (const name of ["all", "allSettled", "any", "race", "resolve", "reject", "try"] as const) {
    // Combinators are made of `function`: a method shape, without a prototype, is what a caller can see of a built-in.
    const body = statics[name] as Callable;
    install(VmPromise, name, asMethod(body), 1);
  }
  install(VmPromise, "withResolvers", single(statics.withResolvers), 0);
  Object.defineProperty(VmPromise, Symbol.species, { get: species, enumerable: false, configurable: true });
  Object.defineProperty(globalThis, "Promise", {
    value: VmPromise,
    writable: true,
    enumerable: false,
    configurable: true,
  });
}

const asMethod = (body: Callable): Callable =>
  ({
    m(this: unknown, ...args: unknown[]) {
      return Reflect.apply(body, this, args);
    },
  }).m;
