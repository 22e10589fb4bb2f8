// Where workflows run when `.run()` or `.start()` is called: a slot that the door (src/index.ts) fills at first use,
// because declaring a workflow must load neither compiler nor driver. On globalThis, so that all copies share it.

import { WaymarkError } from "../base/failure.ts";
import type { StartData } from "../program/start.ts";
import type { WorkflowDefinition } from "./definition.ts";
import type { WorkflowFunction } from "./registry.ts";

export type Status = "queued" | "running" | "waiting" | "completed" | "failed" | "cancelled" | "quarantined";

/** One thing that happened to an instance. */
export interface HistoryEntry {
  /** 1, 2, 3, ... */
  seq: number;
  at: Date;
  event: "start" | "done" | "failed" | "retry" | "fired" | "signal" | "cancel";
  /** Number of the effect that it settled, or null. */
  effect: number | null;
  /** Number of the attempt, or null. */
  attempt: number | null;
  /** Result, error or reason, where there is one. */
  value: unknown;
}

/** An instance that was started. */
export interface Handle<Result> {
  readonly id: string;
  readonly workflow: string;
  /** Wait for the end. Rejects with WorkflowFailed or WorkflowCancelled. */
  result(): Promise<Result>;
  status(): Promise<Status>;
  /** Ask it to stop. True if it had not ended yet. */
  cancel(reason?: unknown): Promise<boolean>;
  history(): Promise<HistoryEntry[]>;
  /** Not in this version: rejects with WM306. */
  signal(name: string, payload?: unknown): Promise<never>;
}

export interface StartRequest {
  /** What `workflow()` returned: what is compiled. */
  workflow: WorkflowFunction;
  definition: WorkflowDefinition;
  /** The array of arguments, value-coded at the moment of the call: what the caller changes later is not seen. */
  input: Uint8Array;
  options: StartData;
}

export interface Runtime {
  /** Queue it and return. */
  start(request: StartRequest): Promise<Handle<unknown>>;
  /** Queue it and wait for the result. */
  run(request: StartRequest): Promise<unknown>;
  /** Release connections; a later start opens them again. */
  close(): Promise<void>;
}

interface Slot {
  choose?: () => Promise<Runtime>;
  current?: Promise<Runtime>;
}

const key = Symbol.for("waymark.runtime");

/** The runtime of this process, chosen at the first call. */
export function currentRuntime(): Promise<Runtime> {
  const slot = theSlot();
  if (slot.current === undefined) {
    if (slot.choose === undefined) {
      throw new WaymarkError("WM301", 'waymark was imported in part: `.run()` and `.start()` need import "waymark".');
    }
    const chosen = slot.choose();
    slot.current = chosen;
    // A database that could not be found now may be there at the next call.
    chosen.catch(() => {
      if (slot.current === chosen) delete slot.current;
    });
  }
  return slot.current;
}

/** Set how a runtime is chosen, unless another copy of waymark has done so. */
export function offerRuntime(choose: () => Promise<Runtime>): void {
  theSlot().choose ??= choose;
}

/** Use this runtime from now on; undefined: choose again at the next call. Returns the one used so far. */
export function useRuntime(runtime: Runtime | undefined): Promise<Runtime> | undefined {
  const slot = theSlot();
  const before = slot.current;
  if (runtime === undefined) delete slot.current;
  else slot.current = Promise.resolve(runtime);
  return before;
}

/** Close what `.run()` and `.start()` opened in this process. */
export async function shutdown(): Promise<void> {
  const before = useRuntime(undefined);
  if (before !== undefined)
    await before.then(
      (runtime) => runtime.close(),
      () => {},
    ); // never opened: nothing to close
}

function theSlot(): Slot {
  const holder = globalThis as { [key]?: Slot };
  holder[key] ??= {};
  return holder[key];
}
