// The one error class of ours that people see. What, where, why, and what to do.

/** Where something stands in the user's source: 1-based line and column. */
export interface At {
  file: string;
  line: number;
  column: number;
}

export class WaymarkError extends Error {
  // A field, not an assignment: inside the VM's sealed realm Error.prototype is frozen and its `name` cannot be assigned over.
  override readonly name = "WaymarkError";
  readonly code: string;
  readonly hint: string | undefined;
  readonly at: At | undefined;

  constructor(code: string, message: string, options: { hint?: string; cause?: unknown; at?: At } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.at = options.at;
  }
}
