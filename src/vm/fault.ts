// Faults end an activation and can never be caught by a workflow: not an Error, so that nothing native treats it as one,
// and checked before any handler is looked up.

export class Fault {
  readonly code: string;
  readonly message: string;
  constructor(code: string, message: string) {
    this.code = code;
    this.message = message;
  }
}

/** A state the VM must never be in. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Fault("WM900", `internal: ${what}`);
}
