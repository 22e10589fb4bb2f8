// Journal rows and VM events are the same thing in two shapes. The layout of the payloads is in store/journal.ts.

import { unreachable } from "../base/assert.ts";
import { packAttempt, packRetry, present, unpackAttempt, unpackRetry, unreadable } from "../store/journal.ts";
import { eventKind, type JournalRow } from "../store/store.ts";
import type { VmEvent } from "../vm/machine.ts";

/** The row of an event; `seq` is its number within the instance. */
export function encodeEvent(event: VmEvent, seq: number): JournalRow {
  const at = event.at;
  switch (event.kind) {
    case "start":
      return { seq, at, effect: 0, kind: eventKind.start, attempt: 0, payload: null };
    case "done":
      return packAttempt({
        seq,
        at,
        effect: event.effect,
        kind: eventKind.done,
        attempt: event.attempt,
        payload: event.value,
      });
    case "failed":
      return packAttempt({
        seq,
        at,
        effect: event.effect,
        kind: eventKind.failed,
        attempt: event.attempt,
        payload: event.error,
      });
    case "retry":
      return packAttempt({
        seq,
        at,
        effect: event.effect,
        kind: eventKind.retry,
        attempt: event.attempt,
        payload: packRetry(event.dueAt, event.error),
      });
    case "fired":
      return { seq, at, effect: event.effect, kind: eventKind.fired, attempt: 0, payload: null };
    case "cancel":
      return { seq, at, effect: 0, kind: eventKind.cancel, attempt: 0, payload: event.reason };
    default:
      return unreachable(event);
  }
}

/** The event of a row. `start` is what the instance row knows. Throws WM420 for a row this build cannot read. */
export function decodeEvent(stored: JournalRow, start: { seed: Uint8Array; input: Uint8Array | null }): VmEvent {
  const { at, effect, attempt, kind, payload } = unpackAttempt(stored);
  switch (kind) {
    case eventKind.start:
      if (start.input === null) throw unreadable(stored, "its input is gone");
      return { kind: "start", at, seed: start.seed, input: start.input };
    case eventKind.done:
      return { kind: "done", at, effect, attempt, value: present(stored, payload) };
    case eventKind.failed:
      return { kind: "failed", at, effect, attempt, error: present(stored, payload) };
    case eventKind.retry: {
      const { dueAt, error } = unpackRetry({ ...stored, payload });
      return { kind: "retry", at, effect, attempt, dueAt, error };
    }
    case eventKind.fired:
      return { kind: "fired", at, effect };
    case eventKind.cancel:
      return { kind: "cancel", at, reason: payload };
    default:
      throw unreadable(stored, `kind ${kind} is unknown here`);
  }
}
