// What a host sees of the VM: bytes and primitives only. The VM itself runs inside a sealed realm (`realm.ts` there);
// `engine/realm.ts` makes that realm with node:vm and returns this interface. An entry point never throws a realm
// object at the host and never accepts a host object other than bytes, which it copies first.

/** What an instance asks of the world. `no` counts from 1 within the instance. */
export type Effect =
  | {
      kind: "action";
      no: number;
      function: number;
      pc: number;
      name: string;
      args: Uint8Array;
      policy: Uint8Array | null;
      attempt: number;
      dueAt: number | null;
      firstAt: number;
      details: Uint8Array | null;
    }
  | { kind: "timer"; no: number; function: number; pc: number; dueAt: number }
  | {
      kind: "child";
      no: number;
      function: number;
      pc: number;
      name: string;
      args: Uint8Array;
      options: Uint8Array | null;
      wait: boolean;
    };

/** What the world answers. `at` is milliseconds since the epoch, journaled, and what `now()` returns until the next event. */
export type VmEvent =
  | { kind: "start"; at: number; seed: Uint8Array; input: Uint8Array }
  | { kind: "done"; at: number; effect: number; attempt: number; value: Uint8Array }
  | { kind: "failed"; at: number; effect: number; attempt: number; error: Uint8Array }
  /** An attempt failed and another will be made at `dueAt`: no code runs, the pending effect remembers it. */
  | { kind: "retry"; at: number; effect: number; attempt: number; dueAt: number; error: Uint8Array | null }
  | { kind: "fired"; at: number; effect: number }
  | { kind: "cancel"; at: number; reason: Uint8Array | null };

/** What an activation produced. */
export interface Activation {
  /** New effects, ascending by number. */
  effects: Effect[];
  /** Effects that no longer matter (settled already, or the instance ended). */
  dropped: number[];
  logs: { level: "debug" | "info" | "warn" | "error"; text: string }[];
  /** Set once the main promise settles: value-coded result or error. */
  outcome: { kind: "completed" | "failed" | "cancelled"; payload: Uint8Array } | null;
  /** A limit or an internal fault: the state is unusable and must be dropped; the last snapshot stays true. */
  fatal: { code: string; message: string } | null;
}

/** A suspended function, read from a snapshot without running anything. */
export interface Suspended {
  name: string;
  function: number;
  pc: number;
  at: { file: string; line: number; column: number } | null;
  /** Names as the user wrote them, values as text. */
  locals: { name: string; value: string }[];
}

export interface Machine {
  /** Verify and load a program (cached by handle). Throws a host WaymarkError if it is refused. */
  load(body: Uint8Array, debug: Uint8Array | null): number;
  /** A fresh state of a program; nothing runs until the "start" event. */
  create(program: number): number;
  /** A state from a snapshot of that program. */
  restore(program: number, snapshot: Uint8Array): number;
  deliver(state: number, event: VmEvent): Activation;
  /** Effects not settled yet, ascending: what a host arms after `restore`. */
  pending(state: number): Effect[];
  snapshot(state: number): Uint8Array;
  /** Where the functions of a snapshot stand, and what their locals hold. */
  inspect(program: number, snapshot: Uint8Array): Suspended[];
  drop(state: number): void;
  unload(program: number): void;
}
