// The client against a real Postgres: results are pushed, joins are exact, a script that has its result ends by itself,
// and an unreachable database is one clear error.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, expect, test, vi } from "vitest";
import { workflowBrand } from "../../src/author/definition.ts";
import { useRuntime } from "../../src/author/runtime.ts";
import { openClient } from "../../src/client/client.ts";
import type { Compile } from "../../src/client/programs.ts";
import { workflow } from "../../src/index.ts";
import { openPostgres } from "../../src/store/postgres/store.ts";
import { freshDatabase, type TestDatabase } from "../setup/database.ts";
import { TinyHost } from "./host.ts";

const compile: Compile = ({ [workflowBrand]: { name } }) => ({
  row: {
    hash: createHash("sha256").update(name).digest(),
    workflow: name,
    format: 1,
    body: Buffer.from(name),
    debug: null,
  },
  children: [],
  errorClasses: () => new Map(),
});
const flow = workflow("client-postgres", async (..._args: unknown[]): Promise<unknown> => undefined);
const closing: (() => Promise<unknown>)[] = [];

async function setUp(): Promise<{ host: TinyHost; database: TestDatabase }> {
  const database = await freshDatabase();
  const client = openClient({ store: await openPostgres({ url: database.url, connections: 2 }), compile });
  useRuntime(client);
  const store = await openPostgres({ url: database.url, connections: 2 });
  const host = await new TinyHost(store).open();
  closing.push(async () => {
    useRuntime(undefined);
    await client.close();
    await store.close();
    await database.drop();
  });
  return { host, database };
}

async function claim(host: TinyHost, ids: number): Promise<void> {
  let claimed = 0;
  await vi.waitFor(
    async () => {
      claimed += (await host.claim()).length;
      expect(claimed).toBe(ids);
    },
    { timeout: 10_000 },
  );
}

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

test("the end of an instance is pushed to run(), and to a handle in another start", async () => {
  const { host } = await setUp();
  const running = flow.with({ id: "one" }).run("a");
  await claim(host, 1);
  const handle = await flow.with({ id: "one" }).start("a");
  const joined = handle.result();
  await vi.waitFor(async () => expect(await handle.status()).toBe("running"));
  await host.end(() => ({ status: "completed", value: { total: 5n } }));
  await expect(running).resolves.toEqual({ total: 5n });
  await expect(joined).resolves.toEqual({ total: 5n });
  expect(await handle.status()).toBe("completed");
  expect((await handle.history()).map(({ event }) => event)).toEqual(["start"]);
});

test("a thousand at once all get their own result", async () => {
  const { host } = await setUp();
  const running = Array.from({ length: 1_000 }, (_, index) => flow.with({ id: `n${index}` }).run(index));
  await claim(host, 1_000);
  await host.end((id) => ({ status: "completed", value: id }));
  expect(await Promise.all(running)).toEqual(running.map((_, index) => `n${index}`));
});

test("the same id with other arguments is refused", async () => {
  await setUp();
  await flow.with({ id: "x" }).start("u1");
  await expect(flow.with({ id: "x" }).start("u1")).resolves.toMatchObject({ id: "x" });
  await expect(flow.with({ id: "x" }).start("u2")).rejects.toThrow(expect.objectContaining({ code: "WM302" }));
});

test("what never ran is cancelled at once", async () => {
  await setUp();
  const handle = await flow.start();
  expect(await handle.cancel("no need")).toBe(true);
  await expect(handle.result()).rejects.toThrow(/was cancelled: no need/);
});

test("a script whose results are there ends by itself", async () => {
  const { host, database } = await setUp();
  const script = promisify(execFile)(
    process.execPath,
    ["--import", "tsx", path.join(import.meta.dirname, "script.ts"), database.url],
    { timeout: 20_000 },
  );
  await claim(host, 1);
  await host.end(() => ({ status: "completed", value: "by itself" }));
  expect((await script).stdout).toBe("by itself\n");
});

test("a database that does not answer is one clear error, and nothing waits", async () => {
  const client = openClient({ store: await openPostgres("postgres://nobody@127.0.0.1:1/nothing"), compile });
  useRuntime(client);
  closing.push(async () => {
    useRuntime(undefined);
    await client.close();
  });
  await expect(flow.run()).rejects.toThrow(
    expect.objectContaining({ code: "WM501", message: expect.stringMatching(/127\.0\.0\.1:1/) }),
  );
  await expect(flow.start()).rejects.toThrow(expect.objectContaining({ code: "WM501" }));
});
