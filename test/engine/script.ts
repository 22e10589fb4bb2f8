// A machine for tests of the engine alone: a program is a generator function that yields groups of effects and is given
// the event that answers; a snapshot is the list of events so far. It keeps the contract of vm/machine.ts and nothing
// else, so that a test says exactly which effects appear when.
import { decodeValue, encodeValue } from "../../src/program/value.ts";
import type { Activation, Effect, Machine, VmEvent } from "../../src/vm/machine.ts";

export type Ask =
  | { action: string; args?: unknown[]; policy?: object }
  | { sleep: number }
  | { child: string; args?: unknown[]; options?: object; wait?: boolean }
  | { fatal: string }
  | { log: string };

/** Yield what to ask for (any number of effects); receive the next event. Return the result, or throw. */
export type Script = (input: unknown[], at: () => number) => Generator<Ask[], unknown, VmEvent>;

interface State {
  script: Script;
  events: VmEvent[];
  run: Generator<Ask[], unknown, VmEvent> | null;
  pending: Map<number, Effect>;
  next: number;
  now: number;
  ended: boolean;
}

/** How often each entry point was called, over all machines made here. */
export interface Calls {
  deliver: number;
  snapshot: number;
  snapshotBytes: number;
}

export function scriptMachine(
  scripts: Record<string, Script>,
  calls: Calls = { deliver: 0, snapshot: 0, snapshotBytes: 0 },
): Machine {
  const programs: Script[] = [];
  const states = new Map<number, State>();
  let nextState = 1;
  const make = (program: number): number => {
    states.set(nextState, {
      script: programs[program]!,
      events: [],
      run: null,
      pending: new Map(),
      next: 1,
      now: 0,
      ended: false,
    });
    return nextState++;
  };
  const machine: Machine = {
    load(body) {
      const name = Buffer.from(body).toString();
      const script = scripts[name];
      if (script === undefined) throw new Error(`no script ${name}`);
      return programs.push(script) - 1;
    },
    create: make,
    restore(program, snapshot) {
      const no = make(program);
      for (const event of decodeValue(snapshot) as VmEvent[]) step(states.get(no)!, event);
      return no;
    },
    deliver(state, event) {
      calls.deliver++;
      return step(states.get(state)!, event);
    },
    pending: (state) => [...states.get(state)!.pending.values()],
    snapshot(state) {
      const bytes = encodeValue(states.get(state)!.events);
      calls.snapshot++;
      calls.snapshotBytes += bytes.length;
      return bytes;
    },
    inspect: () => [],
    drop: (state) => void states.delete(state),
    unload() {},
  };
  return machine;
}

function step(state: State, event: VmEvent): Activation {
  const out: Activation = { effects: [], dropped: [], logs: [], outcome: null, fatal: null };
  if (state.ended) return out;
  state.events.push(event);
  state.now = event.at;
  if (event.kind === "retry") {
    const effect = state.pending.get(event.effect);
    if (effect?.kind === "action") Object.assign(effect, { attempt: event.attempt + 1, dueAt: event.dueAt });
    return out;
  }
  if ("effect" in event && !state.pending.delete(event.effect)) return { ...out, dropped: [event.effect] };
  try {
    if (event.kind === "start") state.run = state.script(decodeValue(event.input) as unknown[], () => state.now);
    const result = event.kind === "start" ? state.run!.next() : state.run!.next(event);
    if (result.done) return finish(state, out, "completed", result.value);
    for (const ask of result.value) {
      if ("fatal" in ask) return { ...out, fatal: { code: "WM441", message: ask.fatal } };
      if ("log" in ask) out.logs.push({ level: "info", text: ask.log });
      else {
        const effect = effectOf(ask, state.next++, state.now);
        state.pending.set(effect.no, effect);
        out.effects.push(effect);
      }
    }
    return out;
  } catch (error) {
    return finish(state, out, event.kind === "cancel" ? "cancelled" : "failed", error);
  }
}

function finish(state: State, out: Activation, kind: "completed" | "failed" | "cancelled", value: unknown): Activation {
  state.ended = true;
  const dropped = [...state.pending.keys()];
  state.pending.clear();
  return { ...out, dropped, outcome: { kind, payload: encodeValue(value) } };
}

function effectOf(ask: Exclude<Ask, { fatal: string } | { log: string }>, no: number, now: number): Effect {
  const at = { no, function: 0, pc: 0 };
  if ("sleep" in ask) return { kind: "timer", ...at, dueAt: now + ask.sleep };
  if ("child" in ask) {
    const options = ask.options === undefined ? null : encodeValue(ask.options);
    return {
      kind: "child",
      ...at,
      name: ask.child,
      args: encodeValue(ask.args ?? []),
      options,
      wait: ask.wait ?? true,
    };
  }
  const policy = ask.policy === undefined ? null : encodeValue(ask.policy);
  return {
    kind: "action",
    ...at,
    name: ask.action,
    args: encodeValue(ask.args ?? []),
    policy,
    attempt: 1,
    dueAt: null,
    firstAt: now,
    details: null,
  };
}

export const value = (event: VmEvent): unknown => (event.kind === "done" ? decodeValue(event.value) : undefined);
