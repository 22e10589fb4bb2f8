// What every batch must be, whichever store it goes to. Asserted in production: a batch that breaks a rule could be
// applied twice or half when its reply is lost.

import assert from "node:assert";
import type { Commit } from "./store.ts";

/**
 * The batch itself, with leavers that are targets of its own mail taken out: they have new mail by definition, and one
 * statement cannot both mail and release a row.
 */
export function checkBatch(batch: Commit): Commit {
  const journaled = new Set(batch.journal.map(({ no }) => no));
  for (const { sender } of batch.mail) {
    assert(journaled.has(sender), `instance ${sender} sends mail in a batch that journals nothing of it`);
  }
  const seen = new Set<number>();
  for (const leaver of batch.leave) {
    assert(!seen.has(leaver.no), `instance ${leaver.no} leaves twice in one batch`);
    seen.add(leaver.no);
    assert(
      leaver.what !== "finish" || journaled.has(leaver.no),
      `instance ${leaver.no} finishes in a batch that journals nothing of it`,
    );
  }
  const mailed = new Set(batch.mail.map(({ no }) => no));
  return batch.leave.some(({ no }) => mailed.has(no))
    ? { ...batch, leave: batch.leave.filter(({ no }) => !mailed.has(no)) }
    : batch;
}
