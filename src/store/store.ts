// The contract of the durable truth. Two implementations, one suite (`test/store/contract.ts`). A store never looks
// inside bytes. All times are milliseconds since the epoch by the store's own clock, except `dueAt`, which callers give.
// Instances are numbered inside (`no`) and named outside (`id`).

export interface ProgramRow {
  no: number;
  hash: Uint8Array;
  workflow: string;
  format: number;
  body: Uint8Array;
  debug: Uint8Array | null;
}

export interface StartRow {
  id: string;
  input: Uint8Array;
  /** Seed of random(), uuid() and the idempotency keys: 16 bytes. Tells a starter whose reply was lost that the row is its own. */
  seed: Uint8Array;
  priority: number;
  startAt: number | null;
  parent: { instance: number; effect: number } | null;
  /** The client to notify when it ends, or null. */
  waiter: string | null;
}

/** For each requested id: new, or there already (`created: false`), with what a caller compares. */
export interface Started {
  id: string;
  no: number;
  created: boolean;
  program: number;
  inputHash: bigint;
}

export interface Claimed {
  no: number;
  epoch: number;
  seq: number;
  strikes: number;
  rank: number;
}

export interface JournalRow {
  seq: number;
  at: number;
  effect: number;
  kind: number;
  attempt: number;
  payload: Uint8Array | null;
}

export interface MailRow {
  id: number;
  at: number;
  effect: number;
  kind: number;
  attempt: number;
  payload: Uint8Array | null;
}

/** Everything needed to go on with an instance. */
export interface Loaded {
  no: number;
  id: string;
  epoch: number;
  /** The counter that leaving must name: read together with `inbox`. */
  mail: number;
  program: number;
  createdAt: number;
  seed: Uint8Array;
  parent: { instance: number; effect: number } | null;
  waiter: string | null;
  /** Null once a snapshot exists. */
  input: Uint8Array | null;
  snapshot: { seq: number; format: number; body: Uint8Array } | null;
  /** The journal after the snapshot, ascending. */
  tail: JournalRow[];
  inbox: MailRow[];
}

/** One batch, one statement. Arrays may be empty; an instance occurs once in `leave`. */
export interface Commit {
  journal: (JournalRow & { no: number; epoch: number })[];
  snapshots: { no: number; seq: number; format: number; body: Uint8Array }[];
  /** Inbox rows that have become journal rows. */
  read: { no: number; id: number }[];
  /** To other instances: the outcome of a child for its parent, a cancellation. `sender` must be ours. */
  mail: {
    sender: number;
    epoch: number;
    no: number;
    effect: number;
    kind: number;
    attempt: number;
    payload: Uint8Array | null;
  }[];
  leave: (
    | { no: number; epoch: number; mail: number; what: "evict"; due: number | null; seq: number }
    | { no: number; epoch: number; mail: number; what: "finish"; status: ResultStatus; outcome: Uint8Array | null }
    | { no: number; epoch: number; mail: number; what: "quarantine"; reason: string; seq: number }
  )[];
}

export type Committed =
  /** The lease is gone: drop everything it held. */
  | { kind: "fenced" }
  | {
      kind: "committed";
      /** Instances among the writers that are no longer ours: drop them, dispatch nothing for them. */
      lost: number[];
      /** Leavers that left. One that is in neither list has new mail: read it and go on. */
      left: number[];
      /** Leases whose instances got mail: to be notified. */
      poke: bigint[];
      /** Mail made a sleeper due: notify "work". */
      woke: boolean;
      /** Clients waiting for leavers that ended (finished or quarantined): to be notified, as `notify` takes it. */
      ended: { waiter: string; ids: string[] }[];
    };

export const resultStatus = { completed: 1, failed: 2, cancelled: 3 } as const;
export type ResultStatus = (typeof resultStatus)[keyof typeof resultStatus];

export type InstanceStatus = "queued" | "running" | "waiting" | "completed" | "failed" | "cancelled" | "quarantined";

export interface ResultRow {
  id: string;
  no: number;
  status: InstanceStatus;
  workflow: string;
  /** Reason of a quarantine, or null. */
  reason: string | null;
  outcome: Uint8Array | null;
}

/** Journal kinds, stored: never renumber. */
export const eventKind = { start: 1, done: 2, failed: 3, retry: 4, fired: 5, signal: 6, cancel: 7 } as const;

export type Notice =
  | { kind: "work" } // something can be claimed
  | { kind: "mail"; leases: bigint[] } // instances of these leases got mail
  | { kind: "result"; ids: string[] }; // instances this client waits for ended

export interface Store {
  /** Bring the schema up to date. */
  migrate(): Promise<{ applied: string[] }>;
  close(): Promise<void>;

  /** Insert the program unless its hash is known; the number either way. */
  putProgram(program: Omit<ProgramRow, "no">): Promise<number>;
  getProgram(no: number): Promise<ProgramRow | null>;

  start(program: number, format: number, rows: readonly StartRow[]): Promise<Started[]>;
  /** The newest program of a workflow name, for children. */
  latestProgram(workflow: string): Promise<{ no: number; format: number } | null>;
  /** Current state of instances by id; unknown ids are absent. `waiter` set: remember to notify it (several are remembered). */
  results(ids: readonly string[], waiter?: string): Promise<ResultRow[]>;
  /** Put events from outside into inboxes. Ids unknown or finished are absent from the answer. */
  deliver(
    rows: readonly { no: number; effect: number; kind: number; attempt: number; payload: Uint8Array | null }[],
  ): Promise<{ no: number; lease: bigint | null }[]>;
  /** Cancel what never ran; a waiting parent gets `outcome` as failure of its effect. Returns the numbers that ended by this. Notifies by itself. */
  terminate(nos: readonly number[], outcome: Uint8Array | null): Promise<number[]>;
  history(no: number): Promise<JournalRow[]>;

  // -- leases
  openLease(lease: { id: bigint; host: bigint; ttlMs: number; info: string }): Promise<void>;
  /** Those still alive. Anchor local deadlines before the call. */
  renew(ids: readonly bigint[]): Promise<bigint[]>;
  closeLease(id: bigint): Promise<void>;
  /** Delete expired leases and those of hosts whose connection died; then release what they and unknown leases held. */
  reclaim(limit: number): Promise<{ fenced: bigint[]; released: number }>;

  // -- instances
  claim(lease: bigint, format: number, dueLimit: number, newLimit: number): Promise<Claimed[]>;
  /** After a lost reply: what this lease holds. */
  held(lease: bigint): Promise<{ no: number; epoch: number }[]>;
  load(lease: bigint, nos: readonly number[]): Promise<Loaded[]>;
  /** Mail of instances held by this lease, with the counter that belongs to it. */
  mail(lease: bigint, nos: readonly number[]): Promise<{ no: number; mail: number; rows: MailRow[] }[]>;
  commit(lease: bigint, batch: Commit): Promise<Committed>;
  /** When the next sleeper is due, or null. */
  nextDue(format: number): Promise<number | null>;

  // -- notices: hints, never truth. Sent after the commit, coalesced, on a connection of their own.
  notify(
    notices: readonly (
      | { kind: "work" }
      | { kind: "mail"; leases: readonly bigint[] }
      | { kind: "result"; waiter: string; ids: readonly string[] }
    )[],
  ): Promise<void>;
  /** Hear notices for a host's leases and/or a waiting client. `lost` is called when the connection drops and when it is back: read again then. */
  listen(
    who: { host?: bigint; leases?: readonly bigint[]; client?: string },
    hear: (notice: Notice) => void,
    lost?: () => void,
  ): Promise<{ close(): Promise<void> }>;
}
