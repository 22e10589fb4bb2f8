// Vitest global setup: one Postgres for the whole run (WAYMARK_TEST_DATABASE_URL, or an embedded one in a temporary
// folder), with a template database that is migrated once. Both are made when the first test asks, so that runs that
// touch no database pay nothing. After the run no process, port, database or file is left.

import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { startPostgres } from "../../src/store/embedded.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Port on 127.0.0.1 that answers a connection with one line of JSON: TestDatabases, or { error }. */
    waymarkDatabases: number;
  }
}

export interface TestDatabases {
  /** Superuser on the server. */
  admin: string;
  /** Migrated; clone it. */
  template: string;
  /** Databases of this run begin with it; all are dropped at the end. */
  prefix: string;
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  let databases: Promise<TestDatabases & { stop(): Promise<void> }> | undefined;
  const sockets = new Set<Socket>();
  const door = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    databases ??= open();
    databases.then(
      ({ admin, template, prefix }) => socket.end(JSON.stringify({ admin, template, prefix })),
      (error) => socket.end(JSON.stringify({ error: error instanceof Error ? error.message : String(error) })),
    );
  });
  await new Promise<void>((resolve) => door.listen(0, "127.0.0.1", resolve));
  project.provide("waymarkDatabases", (door.address() as { port: number }).port);

  return async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => door.close(resolve));
    await (await databases?.catch(() => undefined))?.stop();
  };
}

async function open(): Promise<TestDatabases & { stop(): Promise<void> }> {
  const prefix = `waymark_${randomBytes(4).toString("hex")}_`;
  const server = await openServer();
  try {
    const template = `${prefix}template`;
    await query(server.admin, `create database ${template}`);
    const { openPostgres } = await import("../../src/store/postgres/store.ts");
    const store = await openPostgres(databaseUrl(server.admin, template));
    await store.migrate().finally(() => store.close());
    return { admin: server.admin, template, prefix, stop: () => server.stop(prefix) };
  } catch (error) {
    await server.stop(prefix);
    throw error;
  }
}

async function openServer(): Promise<{ admin: string; stop(prefix: string): Promise<void> }> {
  const given = process.env.WAYMARK_TEST_DATABASE_URL;
  if (given) return { admin: given, stop: (prefix) => dropAll(given, prefix) };
  const directory = await mkdtemp(path.join(os.tmpdir(), "waymark-test-"));
  await chmod(directory, 0o755); // as root the server runs as another user
  try {
    // Tests kill servers of their own; this one is only thrown away, so it need not flush.
    const settings = { fsync: "off", synchronous_commit: "off", full_page_writes: "off", max_connections: "300" };
    const server = await startPostgres({ directory, persistent: false, settings });
    return { admin: server.url, stop: () => server.stop() };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

async function dropAll(admin: string, prefix: string): Promise<void> {
  const { rows } = await query(admin, "select datname from pg_database where starts_with(datname, $1)", [prefix]);
  for (const { datname } of rows) await query(admin, `drop database if exists ${datname} with (force)`);
}

export function databaseUrl(admin: string, database: string): string {
  const url = new URL(admin);
  url.pathname = `/${database}`;
  return url.href;
}

export async function query(url: string, text: string, values: unknown[] = []): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await client.query(text, values);
  } finally {
    await client.end();
  }
}
