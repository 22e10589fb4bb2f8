// `waymark migrate`: the schema, up to date; `--print` writes the SQL instead.
import { migrationSql, openPostgres } from "../engine.ts";
import { required } from "./fail.ts";

export async function migrate(options: { print?: boolean }): Promise<void> {
  if (options.print) {
    process.stdout.write(migrationSql());
    return;
  }
  const store = await openPostgres(required("WAYMARK_DATABASE_URL", "the database to migrate"));
  try {
    const { applied } = await store.migrate();
    process.stdout.write(applied.length === 0 ? "The schema is up to date.\n" : `Applied ${applied.join(", ")}.\n`);
  } finally {
    await store.close();
  }
}
