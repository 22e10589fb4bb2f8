// Every limit of the VM, by name. Passing one is fatal to the activation: the state is dropped, the last snapshot stays
// true, and the workflow's own code never sees it, because what a workflow can catch must be the same on every machine.

export const limits = {
  /** Calls and backward jumps of one activation. */
  fuel: 200_000_000,
  /** Frames on top of one another. Frames live on the heap; this bounds runaway recursion. */
  depth: 9_000,
  /** Interpreter runs inside native calls (`array.map(closure)`), which do use the host's stack. */
  nesting: 200,
  /** Effects that wait for the world at once. */
  pendingEffects: 100_000,
  /** Bytes of a snapshot. */
  snapshotBytes: 64 * 1024 * 1024,
  /** Lines of `console` kept from one activation, and characters of each. */
  logLines: 10_000,
  logCharacters: 16_384,
} as const;
