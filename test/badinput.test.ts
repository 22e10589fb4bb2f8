// Bad input gets one clear error that says what, where and what to do, and loses nothing. On a real Postgres with a host in
// this process; the commands' own refusals are in test/cli/commands.test.ts.
import pg from "pg";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { action, shutdown, WorkflowFailed, workflow } from "waymark";
import { configFrom, type Host, inlinePool, openPostgres, type Store, startHost, systemClock } from "waymark/engine";
import { freshDatabase, type TestDatabase } from "./setup/database.ts";

const echo = action("badEcho", async (value: unknown) => value);
const later = action("badLater", async (value: number) => value + 1);
const echoes = workflow("badEchoes", async (value: unknown) => echo(value));
const lateOnes = workflow("badLateOnes", async (value: number) => later(value));
const unstorable = workflow("badUnstorable", async () => ({ list: [1, () => 2] }));
const impure = workflow("badImpure", async () => Date.now());

let database: TestDatabase;
let store: Store;
let db: pg.Client;
let host: Host | undefined;

beforeAll(async () => {
  database = await freshDatabase();
  process.env.WAYMARK_DATABASE_URL = database.url;
  store = await openPostgres(database.url);
  db = new pg.Client({ connectionString: database.url });
  await db.connect();
});

beforeEach(async () => {
  await host?.close({ graceMs: 100 });
  host = undefined;
});

afterAll(async () => {
  await host?.close({ graceMs: 100 });
  await shutdown();
  await store.close();
  await db.end();
  delete process.env.WAYMARK_DATABASE_URL;
  await database.drop();
});

/** `known`: the actions this host has; all if left out. */
async function start(known?: readonly string[]): Promise<void> {
  const definitions = new Map([["badEcho", echo]] as const);
  const pool = inlinePool({ clock: systemClock });
  const limited = known && {
    ...pool,
    actions: () => new Set(known.filter((name) => definitions.has(name as "badEcho"))),
  };
  host = await startHost({ store, pool: limited ?? pool, config: configFrom({}) });
}

async function instances(): Promise<number> {
  return (await db.query("select count(*)::int as n from waymark.instance")).rows[0].n;
}

test("arguments that cannot be stored are refused with their path, and nothing is queued", async () => {
  const before = await instances();
  await expect(echoes.start({ items: [{ price: () => 1 }] })).rejects.toMatchObject({
    code: "WM401",
    message: expect.stringMatching(/badEchoes.*\.items\[0\]\.price/),
  });
  expect(await instances()).toBe(before);
});

test("a result that cannot be stored fails the instance with its path", async () => {
  await start();
  const failure = await unstorable.run().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(WorkflowFailed);
  expect((failure as WorkflowFailed).cause).toMatchObject({ message: expect.stringMatching(/\.list\[1\]/) });
});

test("a workflow that does not compile is refused with every problem, and nothing is queued", async () => {
  const before = await instances();
  await expect(impure.start()).rejects.toMatchObject({
    code: "WM100",
    message: expect.stringMatching(/WM104 `Date\.now\(\)`/),
  });
  expect(await instances()).toBe(before);
});

test("an action that no host has keeps the instance safe, names what is missing, and runs once a host has it", async () => {
  await start(["badEcho"]);
  const handle = await lateOnes.start(1);
  await expect.poll(() => host?.missingActions).toEqual(["badLater"]);
  expect(await handle.status()).toMatch(/running|waiting/);
  await host?.close({ graceMs: 100 });
  await start();
  expect(await handle.result()).toBe(2);
});

test("a tampered program quarantines its instances with the reason", async () => {
  const handle = await echoes.start("before");
  await db.query(
    "update waymark.program set body = set_byte(body, length(body) / 2, 255 - get_byte(body, length(body) / 2)) where workflow = 'badEchoes'",
  );
  await start();
  await expect(handle.result()).rejects.toMatchObject({
    code: "WM308",
    message: expect.stringMatching(/hash does not match/),
  });
  expect(await handle.status()).toBe("quarantined");
});
