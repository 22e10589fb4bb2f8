// A journal number is written once. Written again with the same event it is a batch sent twice, which is allowed; with
// another event, two owners wrote or one counted wrong, which must never pass silently.

import { WaymarkError } from "../base/failure.ts";
import type { JournalRow } from "./store.ts";

export function sameEvent(a: JournalRow, b: JournalRow): boolean {
  const samePayload =
    a.payload === null || b.payload === null ? a.payload === b.payload : sameBytes(a.payload, b.payload);
  return a.at === b.at && a.effect === b.effect && a.kind === b.kind && a.attempt === b.attempt && samePayload;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

export function journalConflict(no: number, seq: number): WaymarkError {
  return new WaymarkError(
    "WM571",
    `Event ${seq} of instance ${no} is in the journal already, and it is another event.`,
    {
      hint: "Nothing of this batch was written. Drop the instance and load it again; please report this, it is a fault of waymark.",
    },
  );
}
