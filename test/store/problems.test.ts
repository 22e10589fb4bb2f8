// What a person is told when the database is not there, not ours, or not ready: one error, with a code, the place and
// what to do; never the password.

import { createServer } from "node:net";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { WaymarkError } from "../../src/base/failure.ts";
import { migrationSql, openPostgres } from "../../src/store/postgres/store.ts";
import { freshDatabase, testDatabases } from "../setup/database.ts";

async function problem(url: string): Promise<WaymarkError> {
  const store = await openPostgres(url);
  const error = await store.getProgram(1).then(
    () => new Error("it worked"),
    (thrown) => thrown,
  );
  await store.close();
  expect(error).toBeInstanceOf(WaymarkError);
  expect(error.hint).toBeTruthy();
  expect(`${error.message} ${error.hint}`).not.toContain(decodeURIComponent(new URL(url).password || "\0"));
  return error;
}

async function withPart(change: (url: URL) => void): Promise<string> {
  const url = new URL((await testDatabases()).admin);
  change(url);
  return url.href;
}

describe("a database that cannot be used", () => {
  test("no server there", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    const error = await problem(`postgres://me:secret@127.0.0.1:${port}/app`);
    expect(error.code).toBe("WM501");
    expect(error.message).toContain(`127.0.0.1:${port}/app`);
  });

  test("a host name that does not exist", async () => {
    expect(await problem("postgres://me:secret@no-such-host.invalid/app")).toMatchObject({ code: "WM501" });
  });

  test("a text that is no URL", async () => {
    for (const url of ["", "nonsense", "mysql://a:secret@b/c", "postgres://me:secret@host:port/db"]) {
      const error = await openPostgres(url).then(null, (thrown) => thrown);
      expect(error).toMatchObject({ code: "WM500" });
      expect(error.message).not.toContain("secret");
    }
    await expect(openPostgres({ url: "postgres://h/d", schema: 'a"b' })).rejects.toMatchObject({ code: "WM500" });
  });

  test("a wrong password", async () => {
    const url = await withPart((part) => {
      part.password = "not-the-password";
    });
    expect(await problem(url)).toMatchObject({ code: "WM502" });
  });

  test("a database that is not there", async () => {
    const url = await withPart((part) => {
      part.pathname = "/no_such_database";
    });
    expect(await problem(url)).toMatchObject({ code: "WM503", message: expect.stringContaining("no_such_database") });
  });

  test("no tables yet: `waymark migrate`; then it works without reopening", async () => {
    await using database = await freshDatabase({ empty: true });
    const error = await problem(database.url);
    expect(error).toMatchObject({ code: "WM504", hint: expect.stringContaining("waymark migrate") });
    const store = await openPostgres(database.url);
    await expect(store.getProgram(1)).rejects.toMatchObject({ code: "WM504" });
    expect(await store.migrate()).toEqual({ applied: ["0001_first"] });
    expect(await store.getProgram(1)).toBeNull();
    expect(await store.migrate()).toEqual({ applied: [] });
    await store.close();
  });

  test("tables of a newer waymark", async () => {
    await using database = await freshDatabase();
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query("insert into waymark.migration (no, name) values (99, 'from the future')");
    await client.end();
    expect(await problem(database.url)).toMatchObject({ code: "WM505" });
    const store = await openPostgres(database.url);
    await expect(store.migrate()).rejects.toMatchObject({ code: "WM505" });
    await store.close();
  });
});

describe("migrations", () => {
  test("many hosts at once: each is applied once", async () => {
    await using database = await freshDatabase({ empty: true });
    const stores = await Promise.all([1, 2, 3, 4].map(() => openPostgres(database.url)));
    const applied = await Promise.all(stores.map((store) => store.migrate()));
    expect(applied.flatMap((each) => each.applied)).toEqual(["0001_first"]);
    await Promise.all(stores.map((store) => store.close()));
  });

  test("printed as SQL and run by a person they give the same, also in another schema", async () => {
    await using database = await freshDatabase({ empty: true });
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query(migrationSql("flows"));
    await client.end();
    const store = await openPostgres({ url: database.url, schema: "flows" });
    expect(await store.migrate()).toEqual({ applied: [] });
    expect(await store.getProgram(1)).toBeNull();
    await store.close();
  });
});

test("through a pooler it works without named statements, session settings or LISTEN", async () => {
  await using database = await freshDatabase();
  const store = await openPostgres(`${database.url}?pgbouncer=true`);
  expect(await store.latestProgram("nobody")).toBeNull();
  const listening = await store.listen({ host: 1n }, () => {});
  await listening.close();
  await store.close();
});

test("a listener that loses its connection says so, comes back and hears again", async () => {
  await using database = await freshDatabase();
  const store = await openPostgres(database.url);
  let lost = 0;
  let back: () => void = () => {};
  let hear: () => void = () => {};
  const reconnected = new Promise<void>((resolve) => {
    back = resolve;
  });
  const heard = new Promise<void>((resolve) => {
    hear = resolve;
  });
  await store.listen(
    { host: 9n },
    () => hear(),
    () => {
      if (++lost === 2) back();
    },
  );
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'waymark listen' and datname = current_database()",
  );
  await reconnected;
  await store.notify([{ kind: "work" }]);
  await heard;
  // Statements whose connections the server ended are sent again on new ones.
  await client.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'waymark' and datname = current_database()",
  );
  expect(await store.latestProgram("nobody")).toBeNull();
  await client.end();
  await store.close();
});
