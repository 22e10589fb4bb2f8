// A batch on its way into the store. While no answer comes, the identical statement is sent again: it finds out what
// happened to the first. A batch that the store refuses again and again, although it answers other questions, is cut in
// two, so that one instance whose rows cannot be written does not stop all the others of its shard.

import type { Clock } from "../base/clock.ts";
import type { Commit, Committed, Store } from "../store/store.ts";

/** Times a batch is sent before it is suspected of holding something that cannot be stored. */
const sendMax = 3;
const retryFirstMs = 50;
const retryMaxMs = 1_000;

export interface Answer {
  committed: Extract<Committed, { kind: "committed" }>;
  /** Instances whose rows the store refuses, and how. Nothing of theirs was written. */
  refused: Map<number, unknown>;
}

export function emptyCommit(): Commit {
  return { journal: [], snapshots: [], read: [], mail: [], leave: [] };
}

/** Null: the lease is gone, or `alive` said so before an answer came. */
export async function commit(
  store: Store,
  lease: bigint,
  batch: Commit,
  clock: Clock,
  alive: () => boolean,
  failed: (error: unknown) => void,
): Promise<Answer | null> {
  const answer: Answer = {
    committed: { kind: "committed", lost: [], left: [], poke: [], woke: false, ended: [] },
    refused: new Map(),
  };
  const parts: { batch: Commit; sent: number }[] = [{ batch, sent: 0 }];
  for (let pauses = 0; parts.length > 0; ) {
    if (!alive()) return null;
    const part = parts[0]!;
    try {
      part.sent++;
      const committed = await store.commit(lease, part.batch);
      if (committed.kind === "fenced") return null;
      join(answer.committed, committed);
      parts.shift();
    } catch (error) {
      failed(error);
      if (part.sent >= sendMax && (await answers(store, lease))) {
        parts.shift();
        const nos = [...new Set(instancesOf(part.batch))];
        if (nos.length < 2) {
          for (const no of nos) answer.refused.set(no, error);
        } else {
          const half = new Set(nos.slice(0, nos.length >> 1));
          parts.push({ batch: only(part.batch, (no) => half.has(no)), sent: sendMax - 1 });
          parts.push({ batch: only(part.batch, (no) => !half.has(no)), sent: sendMax - 1 });
        }
      } else {
        await pause(clock, Math.min(retryFirstMs * 2 ** Math.min(pauses++, 10), retryMaxMs));
      }
    }
  }
  return answer;
}

/** Whether it is this batch that fails and not the store. */
async function answers(store: Store, lease: bigint): Promise<boolean> {
  try {
    await store.held(lease);
    return true;
  } catch {
    return false; // in trouble itself: nothing is learned about the batch
  }
}

function* instancesOf(batch: Commit): Iterable<number> {
  for (const { no } of batch.journal) yield no;
  for (const { no } of batch.snapshots) yield no;
  for (const { no } of batch.read) yield no;
  for (const { sender } of batch.mail) yield sender;
  for (const { no } of batch.leave) yield no;
}

function only(batch: Commit, keep: (no: number) => boolean): Commit {
  return {
    journal: batch.journal.filter(({ no }) => keep(no)),
    snapshots: batch.snapshots.filter(({ no }) => keep(no)),
    read: batch.read.filter(({ no }) => keep(no)),
    mail: batch.mail.filter(({ sender }) => keep(sender)),
    leave: batch.leave.filter(({ no }) => keep(no)),
  };
}

function join(all: Answer["committed"], part: Answer["committed"]): void {
  all.lost.push(...part.lost);
  all.left.push(...part.left);
  all.poke.push(...part.poke.filter((lease) => !all.poke.includes(lease)));
  all.woke ||= part.woke;
  all.ended.push(...part.ended);
}

const pause = (clock: Clock, ms: number) => new Promise<void>((resolve) => void clock.after(ms, resolve));
