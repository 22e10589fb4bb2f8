// What a host says of itself while it works: for narration, metrics and tests. Nothing here decides anything, and a
// listener that throws is logged, never felt.

export type EngineEvent =
  | { kind: "lease-opened"; shard: number; lease: bigint }
  | { kind: "lease-lost"; shard: number; lease: bigint; reason: string; instances: number }
  | { kind: "reclaimed"; leases: number; instances: number }
  | { kind: "instance-started"; instance: string; workflow: string }
  /** Continued from the store, after an eviction, a hand-over or a crash. `events`: the tail that was delivered again. */
  | { kind: "instance-recovered"; instance: string; workflow: string; fromSnapshot: boolean; events: number }
  | { kind: "instance-evicted"; instance: string; workflow: string; due: number | null }
  | {
      kind: "instance-finished";
      instance: string;
      workflow: string;
      status: "completed" | "failed" | "cancelled";
      outcome: Uint8Array;
    }
  | { kind: "instance-quarantined"; instance: string; workflow: string; reason: string }
  | ({ kind: "attempt-started"; args: Uint8Array } & AttemptNamed)
  | ({ kind: "attempt-done"; value: Uint8Array } & AttemptNamed)
  /** `retryAt` null: no further try. */
  | ({
      kind: "attempt-failed";
      why: "failed" | "timeout" | "lost";
      error: Uint8Array;
      retryAt: number | null;
    } & AttemptNamed)
  | ({ kind: "action-missing" } & AttemptNamed)
  | { kind: "timer-fired"; instance: string; workflow: string; effect: number }
  | { kind: "child-started"; instance: string; workflow: string; effect: number; child: string }
  /** A batch is durable. What it caused has not been dispatched yet. */
  | { kind: "committed"; shard: number; rows: number; instances: number; snapshots: number; bytes: number; ms: number }
  /** An outcome that no longer mattered: its attempt was over, its effect settled, or its instance elsewhere. */
  | { kind: "dropped"; instance: string | null; effect: number | null; why: string }
  | { kind: "log"; instance: string; workflow: string; level: "debug" | "info" | "warn" | "error"; text: string };

export interface AttemptNamed {
  instance: string;
  workflow: string;
  action: string;
  effect: number;
  attempt: number;
}

/** The part of a pino logger that the engine uses. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };
