// How the payloads of journal rows are laid out, for the engine that writes them and whoever reads a history. What is
// written here is stored for as long as an instance lives: layouts may be added, never changed.
//
//   start   payload null: the seed and the input stand in the instance row
//   done    payload the value          failed  payload the error
//   retry   payload dueAt (float64, little endian), then the error, if there is one
//   fired   payload null               cancel  payload the reason, or null
//
// `attempt` is a 16-bit column. From `attemptMax` on it says `attemptMax`, and the payload begins with the attempt as a
// 32-bit number: an action retried each second without limit gets there in nine hours.

import { WaymarkError } from "../base/failure.ts";
import type { JournalRow } from "./store.ts";

const attemptMax = 32_767;

/** The row with a large attempt moved into its payload. */
export function packAttempt(row: JournalRow): JournalRow {
  if (row.attempt < attemptMax) return row;
  const payload = new Uint8Array(4 + (row.payload?.length ?? 0));
  view(payload).setUint32(0, row.attempt, true);
  payload.set(row.payload ?? [], 4);
  return { ...row, attempt: attemptMax, payload };
}

/** The row as it was before `packAttempt`. Throws WM420. */
export function unpackAttempt(row: JournalRow): JournalRow {
  if (row.attempt < attemptMax) return row;
  const payload = present(row, row.payload);
  if (payload.length < 4) throw unreadable(row, "its attempt is missing");
  return { ...row, attempt: view(payload).getUint32(0, true), payload: payload.subarray(4) };
}

export function packRetry(dueAt: number, error: Uint8Array | null): Uint8Array {
  const payload = new Uint8Array(8 + (error?.length ?? 0));
  view(payload).setFloat64(0, dueAt, true);
  payload.set(error ?? [], 8);
  return payload;
}

/** When the next attempt is due and why, from an unpacked retry row. Throws WM420. */
export function unpackRetry(row: JournalRow): { dueAt: number; error: Uint8Array | null } {
  const bytes = present(row, row.payload);
  if (bytes.length < 8) throw unreadable(row, "it does not say when to try again");
  return { dueAt: view(bytes).getFloat64(0, true), error: bytes.length > 8 ? bytes.subarray(8) : null };
}

export function present(row: JournalRow, payload: Uint8Array | null): Uint8Array {
  if (payload === null) throw unreadable(row, "its payload is missing");
  return payload;
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function unreadable(row: JournalRow, why: string): WaymarkError {
  return new WaymarkError(
    "WM420",
    `Journal row ${row.seq} (kind ${row.kind}, effect ${row.effect}) cannot be read: ${why}.`,
    {
      hint: "It was written by a newer waymark, or changed by hand. Run a host of the version that wrote it.",
    },
  );
}
