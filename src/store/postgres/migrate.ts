// The schema's life: numbered migrations, forward only, each in a transaction of its own under an advisory lock, so that
// hosts that start at once apply each of them once. To add one: a new file, and its row in `migrations`.

import type pg from "pg";
import { WaymarkError } from "../../base/failure.ts";
import * as first from "./migrations/0001_first.ts";

const migrations: readonly { name: string; sql: (schema: string) => string }[] = [first];

/** Number of the newest migration this build knows. */
export const schemaVersion = migrations.length;

// "waymark" in ASCII: any fixed number that no other program is likely to lock.
const lockKey = "0x7761796d61726b";

/** All migrations as SQL that a person can run: `waymark migrate --print`. Running it twice fails at the first table. */
export function migrationSql(schema = "waymark"): string {
  const parts = migrations.map(
    ({ name, sql }, index) =>
      `-- ${name}\nbegin;\n${sql(schema).trim()}\n${recordSql(schema, index + 1, name)};\ncommit;\n`,
  );
  return `${prepareSql(schema)};\n\n${parts.join("\n")}`;
}

/** Apply what is missing; names of what was applied. `client` is a session of its own. */
export async function migrate(client: pg.ClientBase, schema: string): Promise<string[]> {
  const applied: string[] = [];
  while (true) {
    await client.query("begin");
    try {
      await client.query(`select pg_advisory_xact_lock(${BigInt(lockKey)})`);
      const version = await readVersion(client, schema);
      if (version === null) await client.query(prepareSql(schema));
      const next = checkVersion(version ?? 0, schema);
      const migration = migrations[next];
      if (migration) {
        await client.query(migration.sql(schema));
        await client.query(recordSql(schema, next + 1, migration.name));
      }
      await client.query("commit");
      if (!migration) return applied;
      applied.push(migration.name);
    } catch (error) {
      await client.query("rollback").catch(() => {}); // the first error is the one to tell
      throw error;
    }
  }
}

/** Number of the last migration applied; null where there is no schema of ours. */
export async function readVersion(client: pg.ClientBase, schema: string): Promise<number | null> {
  const { rows } = await client.query("select to_regclass($1) is not null as there", [`${schema}.migration`]);
  if (!rows[0].there) return null;
  const found = await client.query(`select coalesce(max(no), 0) as version from ${schema}.migration`);
  return found.rows[0].version;
}

/** The version itself, unless it is from a newer waymark. */
export function checkVersion(version: number, schema: string): number {
  if (version <= schemaVersion) return version;
  throw new WaymarkError(
    "WM505",
    `The tables in schema ${schema} are at version ${version}; this waymark knows up to ${schemaVersion}.`,
    {
      hint: "A newer waymark has migrated this database. Upgrade this one.",
    },
  );
}

function prepareSql(schema: string): string {
  return `create schema if not exists ${schema};
create table if not exists ${schema}.migration (
  no int primary key,
  name text not null,
  applied_at timestamptz not null default clock_timestamp()
)`;
}

function recordSql(schema: string, no: number, name: string): string {
  return `insert into ${schema}.migration (no, name) values (${no}, '${name}')`;
}
