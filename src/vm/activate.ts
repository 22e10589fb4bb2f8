// biome-ignore-all lint/correctness/noVoidTypeReturn: `return this.byte(...)` ends a case where it is decided.
// One activation: an event goes in, jobs run until none is left, and what came of it goes out as data. The VM stops
// nowhere else, so a state that a host can see never holds a half-run job.

import { decodeValue, encodeError, encodeValue } from "../program/value.ts";
import { closure } from "./closure.ts";
import { makeHandle, seedRandom } from "./effect.ts";
import { Fault } from "./fault.ts";
import { type Frame, Registers, registers } from "./frame.ts";
import { limits } from "./limits.ts";
import type { Activation, Effect, VmEvent } from "./machine.ts";
import { fulfilPromise, newPromise, promiseResolve, rejectPromise, resolvePromise, runJob } from "./promise.ts";
import { staticName, staticOf } from "./resident.ts";
import { type Callable, fulfilled, pending, promiseOf, rejected } from "./stamp.ts";
import { type Job, type PendingEffect, type State, vm } from "./state.ts";
import { addTrace, positionOf, whereIs } from "./trace.ts";

export function deliver(state: State, event: VmEvent): Activation {
  const out: Activation = { effects: [], dropped: [], logs: [], outcome: null, fatal: null };
  if (state.ended) return out;
  vm.state = state;
  vm.fuel = limits.fuel;
  vm.nesting = 0;
  vm.top = null;
  vm.fault = null;
  vm.faultAt = null;
  vm.lastAwait = null;
  try {
    const dropped = take(state, event);
    drain(state);
    if (dropped !== 0) out.dropped[0] = dropped;
    finish(state, out);
  } catch (thrown) {
    state.ended = true;
    const found = thrown instanceof Fault ? thrown : new Fault("WM900", `internal: ${describeThrown(thrown)}`);
    out.fatal = { code: found.code, message: found.message + place(vm.faultAt) };
    out.effects = [];
    out.outcome = null;
  } finally {
    out.logs = state.logs;
    state.logs = [];
    state.emitted = [];
    vm.state = null;
    vm.top = null;
  }
  return out;
}

function describeThrown(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return `${thrown.name}: ${thrown.message}`;
}

function place(frame: Frame | null): string {
  if (frame === null) return "";
  const at = positionOf(frame);
  return at === null
    ? `\n    at ${whereIs(frame)}`
    : `\n    ${at.file}:${at.line}:${at.column} in ${frame.code.name || "<anonymous>"}`;
}

/** Put the event into the state. Gives the number of the effect that the host can forget, or 0. */
function take(state: State, event: VmEvent): number {
  state.now = event.at;
  switch (event.kind) {
    case "start": {
      if (state.started) return 0;
      state.started = true;
      for (let i = 0; i < 16; i++) state.seedBytes[i] = event.seed[i] ?? 0;
      seedRandom(event.seed);
      const input = decodeValue(event.input, decoding(state)) as unknown[];
      start(state, input);
      return 0;
    }
    case "done":
    case "failed": {
      const effect = settleEffect(state, event.effect);
      if (effect === undefined) return event.effect;
      if (event.kind === "failed") rejectPromise(effect.promise, decodeValue(event.error, decoding(state)));
      else {
        const value = decodeValue(event.value, decoding(state));
        resolvePromise(effect.promise, effect.kind === "child" && !effect.wait ? makeHandle(value) : value);
      }
      return 0;
    }
    case "fired": {
      const effect = settleEffect(state, event.effect);
      if (effect === undefined) return event.effect;
      fulfilPromise(effect.promise, undefined);
      return 0;
    }
    case "retry": {
      const effect = state.effects.get(event.effect);
      if (effect === undefined) return event.effect;
      effect.attempt = event.attempt + 1;
      effect.dueAt = event.dueAt;
      effect.details = event.error;
      return 0;
    }
    case "cancel":
      cancel(state, event.reason);
      return 0;
  }
}

/** The first outcome wins: a second finds nothing. */
function settleEffect(state: State, no: number): PendingEffect | undefined {
  const effect = state.effects.get(no);
  if (effect !== undefined) state.effects.delete(no);
  return effect;
}

function start(state: State, input: unknown[]): void {
  const entry = closure(state.loaded.codes[0]!, registers(0));
  let result: unknown;
  try {
    result = Reflect.apply(entry, undefined, input);
  } catch (error) {
    if (error instanceof Fault) throw error;
    addTrace(error);
    state.main = newPromise();
    promiseOf(state.main)!.handled = true;
    rejectPromise(state.main, error);
    return;
  }
  state.main = promiseResolve(result);
  promiseOf(state.main)!.handled = true;
}

/** Everything that waits is rejected; what the workflow does about it (`finally`) runs, and may wait again. */
function cancel(state: State, reason: Uint8Array | null): void {
  if (state.cancelling || !state.started) {
    if (!state.started) {
      state.started = true;
      state.cancelling = true;
      state.main = newPromise();
      promiseOf(state.main)!.handled = true;
      rejectPromise(state.main, cancelled(state, reason));
    }
    return;
  }
  state.cancelling = true;
  const error = cancelled(state, reason);
  const waiting = [...state.effects.values()];
  state.effects.clear();
  for (let i = 0; i < waiting.length; i++) {
    const effect = waiting[i]!;
    state.cancelled[state.cancelled.length] = effect.no;
    rejectPromise(effect.promise, error);
    // Not everything that waits is awaited by somebody: a cancellation is not an unhandled error.
    promiseOf(effect.promise)!.handled = true;
  }
  state.cancelError = error;
}

function cancelled(state: State, reason: Uint8Array | null): Error {
  const text = reason === null ? undefined : decodeValue(reason);
  const error = new Error(
    typeof text === "string" && text !== "" ? `The instance was cancelled: ${text}` : "The instance was cancelled.",
  );
  const known = errorClassNamed(state, ["Cancelled"]);
  if (known !== undefined) Object.setPrototypeOf(error, (known as unknown as { prototype: object }).prototype);
  Object.defineProperty(error, "name", { value: "Cancelled", writable: true, enumerable: false, configurable: true });
  addTrace(error, null);
  state.cancelError = error;
  return error;
}

function drain(state: State): void {
  const { jobs } = state;
  while (state.jobHead < jobs.length) {
    const job = jobs[state.jobHead] as Job;
    jobs[state.jobHead++] = undefined;
    if (vm.fuel-- <= 0)
      throw new Fault("WM441", `The workflow ran ${limits.fuel} calls and loop turns without waiting for anything.`);
    runJob(job);
    if (vm.fault !== null) throw vm.fault;
  }
  state.jobs = new Registers();
  state.jobHead = 0;
}

function finish(state: State, out: Activation): void {
  for (let i = 0; i < state.cancelled.length; i++) out.dropped[out.dropped.length] = state.cancelled[i]!;
  state.cancelled = [];
  const main = state.main === null ? null : promiseOf(state.main)!;
  const { emitted, rejections } = state;
  state.rejections = [];
  let failure: { error: unknown } | null = main !== null && main.state === rejected ? { error: main.value } : null;
  for (let i = 0; i < rejections.length && failure === null; i++) {
    const record = promiseOf(rejections[i])!;
    // A cancellation that nobody looks at is not an error of its own: what cleans up may still be running.
    if (!record.handled && !(state.cancelling && record.value === state.cancelError)) failure = { error: record.value };
  }
  if (failure !== null) {
    const kind = state.cancelling && failure.error === state.cancelError ? "cancelled" : "failed";
    return end(state, out, kind, encodeError(failure.error, { what: "the error" }));
  }
  if (main !== null && main.state === fulfilled && !unfinished(state)) {
    let payload: Uint8Array;
    try {
      payload = encodeValue(main.value, { what: "the result" });
    } catch (error) {
      return end(state, out, "failed", encodeError(error, { what: "the error" }));
    }
    return end(state, out, "completed", payload);
  }
  for (let i = 0; i < emitted.length; i++) {
    const effect = emitted[i]!;
    if (state.effects.has(effect.no)) out.effects[out.effects.length] = effectOf(effect);
  }
  if (main !== null && main.state === pending && state.effects.size === 0 && state.cancelling) {
    return end(state, out, "cancelled", encodeError(state.cancelError, { what: "the error" }));
  }
  if (main !== null && main.state === pending && state.effects.size === 0) {
    const error = new Error(
      `The workflow waits for something that can never happen: no action, timer or child is left to wait for.${waitingLine()}`,
    );
    Object.defineProperty(error, "name", { value: "Deadlock", writable: true, enumerable: false, configurable: true });
    addTrace(error, null);
    end(state, out, "failed", encodeError(error, { what: "the error" }));
  }
}

/**
 * Whether something that nobody waits for is still under way: an action called without `await` runs to its end, as it would
 * under Node, before the instance is over. The losers of a race are waited for by the race, so they do not hold it.
 */
function unfinished(state: State): boolean {
  if (state.cancelling) return false;
  for (const effect of state.effects.values()) {
    if (effect.kind !== "timer" && loose(effect.promise)) return true;
  }
  return false;
}

function loose(promise: object): boolean {
  const record = promiseOf(promise)!;
  if (record.state !== pending) return false;
  if (!record.handled) return true;
  const { reactions } = record;
  if (reactions === null) return false;
  for (let i = 0; i < reactions.length; i++) {
    const reaction = reactions[i]!;
    const next =
      reaction.kind === "await" ? reaction.frame.promise : reaction.kind === "forward" ? reaction.promise : null;
    if (next !== null && next !== undefined && loose(next)) return true;
  }
  return false;
}

/** The await that was reached last. */
function waitingLine(): string {
  const frame = vm.lastAwait;
  return frame === null ? "" : ` It stands at ${whereIs(frame)}.`;
}

function end(state: State, out: Activation, kind: "completed" | "failed" | "cancelled", payload: Uint8Array): void {
  state.ended = true;
  out.outcome = { kind, payload };
  out.effects = [];
  const emitted = new Set<number>();
  for (let i = 0; i < state.emitted.length; i++) emitted.add(state.emitted[i]!.no);
  const left = [...state.effects.keys()];
  for (let i = 0; i < left.length; i++) if (!emitted.has(left[i]!)) out.dropped[out.dropped.length] = left[i]!;
  state.effects.clear();
}

export function effectOf(effect: PendingEffect): Effect {
  const { no, function: index, pc, name, args } = effect;
  switch (effect.kind) {
    case "action":
      return {
        kind: "action",
        no,
        function: index,
        pc,
        name,
        args,
        policy: effect.policy,
        attempt: effect.attempt,
        dueAt: effect.dueAt,
        firstAt: effect.firstAt,
        details: effect.details,
      };
    case "timer":
      return { kind: "timer", no, function: index, pc, dueAt: effect.dueAt ?? 0 };
    case "child":
      return { kind: "child", no, function: index, pc, name, args, options: effect.options, wait: effect.wait };
  }
}

/** Effects not settled yet, ascending. */
export function pendingOf(state: State): Effect[] {
  const all = [...state.effects.values()];
  all.sort((a, b) => a.no - b.no);
  const list: Effect[] = [];
  for (let i = 0; i < all.length; i++) list[i] = effectOf(all[i]!);
  return list;
}

/** An error comes back as the class of that name that the program knows, so that `instanceof` works where it is caught. */
function decoding(state: State) {
  return { errorClass: (names: readonly string[]) => errorClassNamed(state, names) };
}

function errorClassNamed(
  state: State,
  names: readonly string[],
): (Callable & (abstract new (...args: never[]) => unknown)) | undefined {
  const { statics } = state.loaded.program;
  for (let n = 0; n < names.length; n++) {
    for (let i = 0; i < statics.length; i++) {
      if (statics[i]!.kind !== "class" || staticName(state.loaded, i) !== names[n]) continue;
      const found = staticOf(i);
      if (typeof found === "function" && (found as unknown as { prototype: unknown }).prototype instanceof Error)
        return found as never;
    }
  }
  return undefined;
}
