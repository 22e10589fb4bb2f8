// LISTEN and NOTIFY: hints that make waiting short, never truth. Notices are sent after the commit, on a connection of
// their own: inside a data transaction NOTIFY takes a database-wide lock until the flush, which halved throughput. What
// becomes ready while one is under way goes into the next.

import { createHash } from "node:crypto";
import pg from "pg";
import type { Notice, Store } from "../store.ts";
import { waitersOf } from "../waiter.ts";
import { backoff, type Connections, type Target } from "./connect.ts";

type Outgoing = Parameters<Store["notify"]>[0];

// A payload is at most 8,000 bytes; ids are at most 255 bytes and leases 19 digits.
const payloadMax = 7_000;
const heartbeatMs = 10_000;

/** One name a waiting client, whatever it calls itself: channel names are short. */
function clientChannel(schema: string, client: string): string {
  return `${schema}_c${createHash("sha256").update(client).digest("hex").slice(0, 16)}`;
}

export class Notifier {
  readonly #connections: Connections;
  readonly #schema: string;
  #waiting: { notices: Outgoing[number][]; done: Promise<void> } | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(connections: Connections, schema: string) {
    this.#connections = connections;
    this.#schema = schema;
  }

  notify(notices: Outgoing): Promise<void> {
    if (notices.length === 0) return Promise.resolve();
    if (this.#waiting) {
      this.#waiting.notices.push(...notices);
      return this.#waiting.done;
    }
    const waiting = { notices: [...notices], done: Promise.resolve() };
    this.#waiting = waiting;
    waiting.done = this.#flushing.then(() => {
      this.#waiting = undefined;
      const sent = this.#send(waiting.notices);
      this.#flushing = sent.catch(() => {}); // told to those who wait for `done`
      return sent;
    });
    return waiting.done;
  }

  async #send(notices: Outgoing): Promise<void> {
    const leases = new Set<bigint>();
    const ids = new Map<string, Set<string>>();
    let work = false;
    for (const notice of notices) {
      if (notice.kind === "work") work = true;
      else if (notice.kind === "mail") for (const lease of notice.leases) leases.add(lease);
      else {
        for (const waiter of waitersOf(notice.waiter)) {
          const channel = clientChannel(this.#schema, waiter);
          const gathered = ids.get(channel) ?? new Set<string>();
          for (const id of notice.ids) gathered.add(id);
          ids.set(channel, gathered);
        }
      }
    }
    const channels: string[] = work ? [`${this.#schema}_work`] : [];
    const payloads: string[] = work ? [""] : [];
    for (const [channel, gathered] of ids) {
      for (const payload of chunks([...gathered])) {
        channels.push(channel);
        payloads.push(payload);
      }
    }
    if (channels.length === 0 && leases.size === 0) return;
    const s = this.#schema;
    // Whose lease it is, the lease row says; 300 ids a message stay under the limit.
    const text = `
select pg_notify(channel, payload) from unnest($1::text[], $2::text[]) as u(channel, payload)
union all
select pg_notify('${s}_h' || host, string_agg(id::text, ',')) from (
  select host, id, row_number() over (partition by host) / 300 as part from ${s}.lease where id = any($3::bigint[])
) l group by host, part`;
    await this.#connections.run({ name: "notify", text }, [channels, payloads, [...leases]], true);
  }
}

/** Ids as JSON arrays that fit into one payload each. */
function* chunks(ids: readonly string[]): Generator<string> {
  let part: string[] = [];
  let size = 2;
  for (const id of ids) {
    const length = Buffer.byteLength(JSON.stringify(id)) + 1;
    if (size + length > payloadMax) {
      yield JSON.stringify(part);
      part = [];
      size = 2;
    }
    part.push(id);
    size += length;
  }
  yield JSON.stringify(part);
}

type Who = Parameters<Store["listen"]>[0];

/**
 * A connection that listens, and holds the lock of its host: Postgres frees it when the connection dies, and the others
 * notice. It reconnects for ever, listens first, and only then says that it is back.
 */
export class Listener {
  readonly #target: Target;
  readonly #who: Who;
  readonly #hear: (notice: Notice) => void;
  readonly #lost: () => void;
  readonly #onLock: (held: boolean) => Promise<void>;
  #client: pg.Client | undefined;
  #closed = false;
  #locked = false;
  #life: Promise<void> = Promise.resolve();
  #wake: () => void = () => {};

  constructor(
    target: Target,
    who: Who,
    hear: (notice: Notice) => void,
    lost: () => void,
    onLock: (held: boolean) => Promise<void>,
  ) {
    this.#target = target;
    this.#who = who;
    this.#hear = hear;
    this.#lost = lost;
    this.#onLock = onLock;
  }

  /** Resolves when it hears; rejects if the first connection fails. */
  async open(): Promise<void> {
    const { gone } = await this.#connect();
    this.#life = this.#live(gone);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#client?.end().catch(() => {}); // it may be broken already
    await this.#life;
  }

  async #live(first: Promise<void>): Promise<void> {
    for (let gone = first; ; ) {
      await gone;
      if (this.#locked) {
        this.#locked = false;
        if (!this.#closed) await this.#onLock(false).catch(() => {}); // unsaid, the host may be fenced early, which is safe
      }
      if (this.#closed) return;
      this.#lost();
      const again = await this.#reconnect();
      if (again === undefined) return;
      gone = again.gone;
      this.#lost();
    }
  }

  async #reconnect(): Promise<{ gone: Promise<void> } | undefined> {
    for (let tries = 0; !this.#closed; tries++) {
      try {
        return await this.#connect();
      } catch {
        // The server is away; whoever needs it hears that from their own statements.
        await Promise.race([
          backoff(tries),
          new Promise<void>((resolve) => {
            this.#wake = resolve;
          }),
        ]);
      }
    }
    return undefined;
  }

  /** `gone` resolves when the connection is. */
  async #connect(): Promise<{ gone: Promise<void> }> {
    const client = new pg.Client({ ...this.#target.config, application_name: "waymark listen" });
    let heartbeat: NodeJS.Timeout | undefined;
    const gone = new Promise<void>((resolve) => {
      client.once("end", () => {
        clearInterval(heartbeat);
        resolve();
      });
    });
    client.on("error", () => void client.end().catch(() => {})); // "end" follows
    client.on("notification", ({ channel, payload }) => this.#receive(channel, payload ?? ""));
    try {
      await client.connect();
      this.#client = client;
      if (this.#closed) throw new Error("closed while connecting");
      // A session nobody is behind must end, for its lock says that the host lives.
      await client.query("set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 3; set tcp_keepalives_count = 3");
      await client.query(
        this.#channels()
          .map((channel) => `listen "${channel}"`)
          .join("; "),
      );
      await this.#lock(client);
    } catch (error) {
      await client.end().catch(() => {}); // the first error is the one to tell
      throw error;
    }
    heartbeat = setInterval(() => void this.#beat(client), heartbeatMs);
    heartbeat.unref();
    return { gone };
  }

  /** A dead network says nothing by itself; and the lock may be free by now if our last session still had it. */
  async #beat(client: pg.Client): Promise<void> {
    const limit = setTimeout(() => client.connection.stream.destroy(), heartbeatMs / 2);
    try {
      await client.query("select 1");
      if (!this.#locked) await this.#lock(client);
    } catch {
      client.connection.stream.destroy(); // "end" follows, and with it a new connection
    } finally {
      clearTimeout(limit);
    }
  }

  async #lock(client: pg.Client): Promise<void> {
    if (this.#who.host === undefined) return;
    const { rows } = await client.query("select pg_try_advisory_lock($1) as held", [this.#who.host]);
    if (!rows[0].held) return;
    this.#locked = true;
    await this.#onLock(true);
  }

  #channels(): string[] {
    const { host, client } = this.#who;
    const s = this.#target.schema;
    return [
      ...(host === undefined ? [] : [`${s}_work`, `${s}_h${host}`]),
      ...(client === undefined ? [] : [clientChannel(s, client)]),
    ];
  }

  #receive(channel: string, payload: string): void {
    if (this.#closed) return;
    const rest = channel.slice(this.#target.schema.length);
    if (rest === "_work") this.#hear({ kind: "work" });
    else if (rest.startsWith("_h")) this.#hear({ kind: "mail", leases: payload.split(",").map(BigInt) });
    else if (rest.startsWith("_c")) this.#hear({ kind: "result", ids: JSON.parse(payload) });
  }
}
