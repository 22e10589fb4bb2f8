// From a result row to what the caller of `run()` and `result()` gets: the value, or the error it threw, rebuilt.

import { ActionTimeout, NonRetryableError, RetryAfter, WorkflowCancelled, WorkflowFailed } from "../author/errors.ts";
import { WaymarkError } from "../base/failure.ts";
import { decodeValue } from "../program/value.ts";
import type { ResultRow } from "../store/store.ts";
import type { ErrorClass } from "./programs.ts";

export type ErrorClasses = () => ReadonlyMap<string, ErrorClass>;

/** The result. Throws WorkflowFailed, WorkflowCancelled, or WM308 where the instance is in quarantine. */
export function unwrap(row: ResultRow, classes: ErrorClasses): unknown {
  switch (row.status) {
    case "completed":
      return decodePayload(row.outcome, classes);
    case "failed":
      throw new WorkflowFailed(row.workflow, row.id, decodePayload(row.outcome, classes));
    case "cancelled":
      throw new WorkflowCancelled(row.workflow, row.id, decodePayload(row.outcome, classes));
    default:
      throw new WaymarkError(
        "WM308",
        `Instance ${JSON.stringify(row.id)} of workflow "${row.workflow}" cannot go on: ${row.reason ?? row.status}.`,
        {
          hint: "It is kept as it is, and nothing is lost. Remove the cause and start it again under another id.",
        },
      );
  }
}

/** Errors get the most derived class that is known, and keep their own name, properties, stack and cause. */
export function decodePayload(payload: Uint8Array | null, classes: ErrorClasses): unknown {
  if (payload === null) return undefined;
  return decodeValue(payload, {
    errorClass: (names) => {
      for (const name of names) {
        const known = classes().get(name) ?? ours.get(name);
        if (known !== undefined) return known;
      }
      return undefined;
    },
  });
}

const ours = new Map<string, ErrorClass>(
  [NonRetryableError, RetryAfter, ActionTimeout, WorkflowFailed, WorkflowCancelled, WaymarkError].map((known) => [
    known.name,
    known,
  ]),
);
