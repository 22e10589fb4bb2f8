// What the engine needs of whoever performs actions. `workers` implements it twice: `inline.ts` in the host's own
// process, `pool.ts` over worker processes. The engine commits before it calls `dispatch`, never after.

export interface Task {
  /** Echoed in the report. Unique within the pool's life. */
  key: string;
  instance: string;
  workflow: string;
  action: string;
  effect: number;
  attempt: number;
  idempotencyKey: string;
  args: Uint8Array;
  /** Milliseconds this attempt may take. */
  timeoutMs: number;
}

export type Report =
  | { key: string; kind: "done"; value: Uint8Array }
  | { key: string; kind: "failed"; error: Uint8Array; retryable: boolean; retryAfterMs?: number }
  | { key: string; kind: "timeout" }
  /** The worker died or was lost; the attempt may have happened. */
  | { key: string; kind: "lost"; reason: string }
  /** No worker of this pool has the action. Not an attempt. */
  | { key: string; kind: "missing"; action: string };

export interface ActionPool {
  /** Slots free now; the engine sends no more than this and keeps the rest in its own queue. */
  free(): number;
  /** Action names the pool can run, or null while not known yet. */
  actions(): ReadonlySet<string> | null;
  dispatch(tasks: readonly Task[]): void;
  cancel(keys: readonly string[]): void;
  /** Called with reports in batches, and with an empty batch when slots or actions changed. */
  onReport(listener: (reports: readonly Report[]) => void): void;
  /** Stop taking work; resolve when in-flight attempts ended or the grace is over. */
  close(graceMs: number): Promise<void>;
}
