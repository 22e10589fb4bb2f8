// A host of the simplest kind: it claims what is there and ends it as the test says, through the store's own protocol.

import { randomBytes } from "node:crypto";
import { encodeValue } from "../../src/program/value.ts";
import { eventKind, type ResultStatus, resultStatus, type Store } from "../../src/store/store.ts";

export interface Ending {
  status: keyof typeof resultStatus | "quarantined";
  value?: unknown;
}

export class TinyHost {
  readonly store: Store;
  readonly #lease = randomBytes(8).readBigInt64BE();
  #seq = 0;

  constructor(store: Store) {
    this.store = store;
  }

  async open(): Promise<this> {
    await this.store.openLease({ id: this.#lease, host: 1n, ttlMs: 60_000, info: "test" });
    return this;
  }

  /** Claim whatever there is. Returns its ids in the order they were claimed. */
  async claim(): Promise<string[]> {
    const claimed = await this.store.claim(this.#lease, 1, 1_000, 1_000);
    const loaded = await this.store.load(
      this.#lease,
      claimed.map(({ no }) => no),
    );
    return claimed.map(({ no }) => loaded.find((each) => each.no === no)!.id);
  }

  /** End everything held, in one commit; then tell the waiters, unless the notice is to be lost. */
  async end(how: (id: string) => Ending, tell = true): Promise<void> {
    const held = await this.store.held(this.#lease);
    const loaded = await this.store.load(
      this.#lease,
      held.map(({ no }) => no),
    );
    const seq = ++this.#seq;
    const answer = await this.store.commit(this.#lease, {
      journal: loaded.map(({ no, epoch, input }) => ({
        no,
        epoch,
        seq,
        at: 1_000,
        effect: 0,
        kind: eventKind.start,
        attempt: 0,
        payload: input,
      })),
      snapshots: [],
      read: [],
      mail: [],
      leave: loaded.map(({ no, epoch, mail, id }) => {
        const { status, value } = how(id);
        if (status === "quarantined") return { no, epoch, mail, what: "quarantine", reason: String(value), seq };
        const code: ResultStatus = resultStatus[status];
        return {
          no,
          epoch,
          mail,
          what: "finish",
          status: code,
          outcome: value === undefined ? null : encodeValue(value),
        };
      }),
    });
    if (answer.kind !== "committed" || answer.left.length !== loaded.length)
      throw new Error("the tiny host could not end what it held");
    if (!tell) return;
    const notices = loaded.flatMap(({ id, waiter }) =>
      (waiter ?? "")
        .split(" ")
        .filter(Boolean)
        .map((each) => ({ kind: "result" as const, waiter: each, ids: [id] })),
    );
    await this.store.notify(notices);
  }
}
