// One instance's state, and which of them is running: the VM is never re-entered by a host, so "the running one" is a
// single variable of the realm.

import { Fault } from "./fault.ts";
import { type Frame, type Loaded, Registers } from "./frame.ts";
import { limits } from "./limits.ts";
import type { Activation } from "./machine.ts";
import type { Callable, Reaction } from "./stamp.ts";

/** An effect that waits for its outcome: everything a host needs to arm it again after a restore. */
export interface PendingEffect {
  no: number;
  kind: "action" | "timer" | "child";
  name: string;
  function: number;
  pc: number;
  args: Uint8Array;
  policy: Uint8Array | null;
  options: Uint8Array | null;
  wait: boolean;
  attempt: number;
  dueAt: number | null;
  firstAt: number;
  details: Uint8Array | null;
  promise: object;
}

export type Job =
  | { kind: "reaction"; reaction: Reaction; state: number; value: unknown }
  | { kind: "thenable"; promise: object; thenable: unknown; then: Callable }
  | { kind: "call"; call: Callable };

export class State {
  readonly loaded: Loaded;
  main: object | null = null;
  started = false;
  ended = false;
  cancelling = false;
  /** What pending effects were rejected with. */
  cancelError: unknown = undefined;
  now = 0;
  /** sfc32. */
  seed = new Uint32Array(4);
  seedBytes = new Uint8Array(16);
  nextEffect = 1;
  effects = new Map<number, PendingEffect>();
  /** Made at first use: captured functions, classes and data; references; template objects by site. */
  statics: unknown[] = [];
  references: unknown[] = [];
  templates = new Map<string, object>();

  // Of the running activation only; empty whenever the VM stands still.
  jobs = new Registers();
  jobHead = 0;
  emitted: PendingEffect[] = [];
  rejections: object[] = [];
  cancelled: number[] = [];
  logs: Activation["logs"] = [];

  constructor(loaded: Loaded) {
    this.loaded = loaded;
  }
}

/** The running activation. */
export const vm: {
  state: State | null;
  fuel: number;
  nesting: number;
  top: Frame | null;
  lastAwait: Frame | null;
  faultAt: Frame | null;
  fault: Fault | null;
} = {
  state: null,
  fuel: limits.fuel,
  nesting: 0,
  top: null,
  lastAwait: null,
  faultAt: null,
  fault: null,
};

export function running(): State {
  if (vm.state === null) throw new Fault("WM900", "internal: workflow code ran outside an activation");
  return vm.state;
}

export function enqueue(job: Job): void {
  const jobs = running().jobs;
  jobs[jobs.length] = job;
}
