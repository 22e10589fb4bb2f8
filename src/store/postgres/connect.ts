// Connections: where to, how each is set up, and what their failures mean to a person. Passwords are never printed.

import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { WaymarkError } from "../../base/failure.ts";

export interface PostgresOptions {
  url: string;
  /** Schema of the tables. Default "waymark". Lower-case letters, digits, underscores. */
  schema?: string;
  /** Most connections for statements; claims, notices and listening have up to four more. Default 4. */
  connections?: number;
  /**
   * A transaction pooler (PgBouncer, Supavisor) is in between: no named statements, no session settings, no LISTEN (the
   * callers poll), no host lock (leases end by their time). Default: whether the URL says `pgbouncer=true`.
   */
  pooler?: boolean;
  /** How long after a server start the free lock of a lease from before it says nothing: every lock is free then. Default 5,000. */
  lockGraceMs?: number;
}

/** Options, complete and checked. */
export interface Target {
  config: pg.ClientConfig;
  schema: string;
  connections: number;
  pooler: boolean;
  lockGraceMs: number;
  /** host:port/database, for messages. */
  where: string;
}

export interface Statement {
  name: string;
  text: string;
}

const connectLimitMs = 10_000;
// Plans made on small tables are a trap on grown ones (8 s instead of 20 ms), so they are made again this often.
const planLifeMs = 5_000;
const slowFactor = 20;
const slowFloorMs = 50;
// How long a statement that is safe to repeat is tried again while the server is away.
const retryLimitMs = 15_000;

export function parseTarget(given: string | PostgresOptions): Target {
  const options = typeof given === "string" ? { url: given } : given;
  const schema = options.schema ?? "waymark";
  if (!/^[a-z_][a-z0-9_]{0,40}$/.test(schema)) {
    throw new WaymarkError("WM500", `${JSON.stringify(schema)} cannot be the schema of waymark's tables.`, {
      hint: "Use up to 40 lower-case letters, digits and underscores.",
    });
  }
  const { connections = 4, lockGraceMs = 5_000 } = options;
  try {
    const url = new URL(options.url);
    if (!/^postgres(ql)?:$/.test(url.protocol)) throw new Error(`it begins with ${url.protocol}//`);
    const pooler = options.pooler ?? url.searchParams.get("pgbouncer") === "true";
    url.searchParams.delete("pgbouncer");
    const { host, port, database } = new pg.Client({ connectionString: url.href });
    const config: pg.ClientConfig = {
      connectionString: url.href,
      application_name: "waymark",
      // The server's side of it is set per session where it matters, on the LISTEN connection.
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      connectionTimeoutMillis: connectLimitMs,
    };
    return { config, schema, connections, pooler, lockGraceMs, where: `${host}:${port}/${database ?? ""}` };
  } catch (cause) {
    // The message of `new URL` repeats the text, and with it the password.
    const why =
      (cause as { code?: string }).code === "ERR_INVALID_URL" ? "it cannot be parsed" : (cause as Error).message;
    throw new WaymarkError("WM500", `The database URL is not one: ${why}.`, {
      hint: "It looks like postgres://user:password@host:5432/database. Special characters in the password are percent-encoded.",
    });
  }
}

/** Sent first on every session. READ COMMITTED is set, not assumed: under another default every lost race would fail. */
export function sessionSql(flush: boolean): string {
  return [
    "set default_transaction_isolation = 'read committed'",
    "set plan_cache_mode = force_generic_plan",
    "set jit = off",
    "set idle_in_transaction_session_timeout = 0",
    "set statement_timeout = 0",
    ...(flush ? [] : ["set synchronous_commit = off"]),
  ].join("; ");
}

/** A pool whose statements are named, planned generically and planned again as tables grow. */
export class Connections {
  readonly #pool: pg.Pool;
  readonly #target: Target;
  /** Milliseconds, by statement name. */
  readonly #best = new Map<string, number>();
  #plannedAt = new WeakMap<pg.PoolClient, number>();
  #connected = false;
  #closed = false;

  constructor(target: Target, max: number, flush: boolean) {
    this.#target = target;
    this.#pool = new pg.Pool({
      ...target.config,
      max,
      idleTimeoutMillis: 60_000,
      allowExitOnIdle: true,
      onConnect: async (client) => {
        if (!target.pooler) await client.query(sessionSql(flush));
      },
    });
    // An idle connection that breaks leaves the pool by itself; the next statement opens another.
    this.#pool.on("error", () => {});
    this.#pool.on("connect", (client) => {
      this.#connected = true;
      this.#plannedAt.set(client, performance.now());
      client.on("error", () => {}); // the statement that is running reports it
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#pool.end();
  }

  /**
   * Run one statement. `again`: it may run twice without harm, so while the connection is lost or the server restarts it
   * is tried again, for 15 s; else only while it cannot have been sent. Throws WaymarkError WM50x.
   */
  async run(statement: Statement, values: unknown[], again: boolean): Promise<Row[]> {
    const begun = performance.now();
    for (let tries = 0; ; tries++) {
      const sent = { yet: false };
      try {
        return await this.once(statement, values, sent);
      } catch (error) {
        const retry = isAway(error) && (again || !sent.yet) && !this.#closed;
        // The very first connection is not waited for: a wrong host should be told at once.
        if (!retry || !this.#connected || performance.now() - begun > retryLimitMs)
          throw explain(error, this.#target, statement.name);
        await backoff(tries);
      }
    }
  }

  /** Run one statement once; errors as the driver gives them. */
  async once(statement: Statement, values: unknown[], sent: { yet: boolean } = { yet: false }): Promise<Row[]> {
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    try {
      const begun = performance.now();
      if (!this.#target.pooler && begun - this.#plannedAt.get(client)! > planLifeMs) {
        this.#plannedAt.set(client, begun);
        await client.query("discard plans");
      }
      sent.yet = true;
      const query = this.#target.pooler ? { text: statement.text, values } : { ...statement, values };
      const { rows } = await client.query(query);
      this.#judge(client, statement.name, performance.now() - begun);
      return rows;
    } catch (error) {
      if (isAway(error)) broken = error as Error;
      throw error;
    } finally {
      client.release(broken);
    }
  }

  #judge(client: pg.PoolClient, name: string, tookMs: number): void {
    const best = this.#best.get(name) ?? Number.POSITIVE_INFINITY;
    if (tookMs < best) this.#best.set(name, tookMs);
    else if (tookMs > slowFloorMs && tookMs > best * slowFactor) this.#plannedAt.set(client, Number.NEGATIVE_INFINITY);
  }

  /** Lend a session out, for what needs one (migrations). */
  async session<Result>(use: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
    let client: pg.PoolClient | undefined;
    try {
      client = await this.#pool.connect();
      return await use(client);
    } catch (error) {
      throw explain(error, this.#target, "migrate");
    } finally {
      client?.release();
    }
  }
}

// biome-ignore lint/suspicious/noExplicitAny: a row as the driver gives it; each caller turns it into our types at once.
export type Row = any;

/** 20 ms, doubling up to 1 s. */
export function backoff(tries: number): Promise<void> {
  return delay(Math.min(20 * 2 ** tries, 1_000));
}

const awayCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENETDOWN",
  "EAI_AGAIN",
  "57P01", // the server is shutting down
  "57P02", // it crashed
  "57P03", // it is starting
]);

/** No answer came, or none about the statement: it may have run. */
export function isAway(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isAway); // one per address of a host name
  const { code, message } = error as { code?: string; message?: string };
  if (code !== undefined) return awayCodes.has(code) || code.startsWith("08");
  return /connection terminated|timeout exceeded when trying to connect|connection ended|not queryable|connection error/i.test(
    message ?? "",
  );
}

const problems: Readonly<Record<string, readonly [code: string, message: string, hint: string]>> = {
  "28P01": [
    "WM502",
    "refused the user name or password",
    "Check both in the database URL; special characters in a password are percent-encoded.",
  ],
  "28000": ["WM502", "refused the login", "Check the user, and whether the server wants TLS (`?sslmode=require`)."],
  "3D000": ["WM503", "has no such database", "Create it (`createdb`), or correct the name at the end of the URL."],
  "3F000": ["WM504", "has no waymark tables", "Run `waymark migrate`."],
  "42P01": ["WM504", "has no waymark tables, or not all of them", "Run `waymark migrate`."],
  "42703": ["WM504", "has waymark tables of another version", "Run `waymark migrate`."],
  "53300": [
    "WM506",
    "has no connection left",
    "Raise max_connections, lower the number of hosts, or put a pooler in between.",
  ],
  "25006": ["WM507", "is read-only", "Is it a replica? waymark needs the primary."],
  "42501": [
    "WM508",
    "does not permit this user that",
    "Grant the user the schema, or run `waymark migrate` as its owner.",
  ],
  "53100": ["WM511", "has no disk space left", "Free some: nothing is lost, and nothing can be written."],
};

/** The one error a person sees. */
export function explain(error: unknown, target: Pick<Target, "where">, during: string): WaymarkError {
  if (error instanceof WaymarkError) return error;
  const { code, message, detail } = error as { code?: string; message: string; detail?: string };
  const known = code === undefined ? undefined : problems[code];
  if (known)
    return new WaymarkError(known[0], `Postgres at ${target.where} ${known[1]} (${message}).`, {
      hint: known[2],
      cause: error,
    });
  if (isAway(error) || code === "ENOTFOUND" || /SSL|certificate/i.test(message)) {
    const why =
      message || (error instanceof AggregateError ? error.errors.map((each) => each.message).join("; ") : String(code));
    return new WaymarkError("WM501", `Postgres at ${target.where} cannot be reached (${why}).`, {
      hint: "Is it running, and is the host, port and TLS mode in the database URL right?",
      cause: error,
    });
  }
  return new WaymarkError(
    "WM509",
    `Postgres at ${target.where} refused the statement \`${during}\`: ${message}${detail ? ` (${detail})` : ""}.`,
    {
      hint: "This is not expected: please report it.",
      cause: error,
    },
  );
}
