// Which database a process talks to, from its environment and its folder.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { locate, skipsWait } from "../../src/client/locate.ts";

const url = "postgres://me:secret@localhost/db";
const folders: string[] = [];
const refusal = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

function project(notice?: object | string): string {
  const folder = mkdtempSync(path.join(tmpdir(), "waymark-locate-"));
  folders.push(folder);
  const inside = path.join(folder, "src", "deep");
  mkdirSync(inside, { recursive: true });
  if (notice === undefined) return inside;
  mkdirSync(path.join(folder, ".waymark"));
  writeFileSync(
    path.join(folder, ".waymark", "dev.json"),
    typeof notice === "string" ? notice : JSON.stringify(notice),
  );
  return inside;
}

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

test("WAYMARK_DATABASE_URL comes first, in a test runner too", () => {
  const running = project({ url: "postgres://dev/dev", pid: process.pid });
  expect(locate({ WAYMARK_DATABASE_URL: url, VITEST: "true" }, running)).toMatchObject({ kind: "database", url });
});

test.each(["VITEST", "JEST_WORKER_ID", "NODE_TEST_CONTEXT"])(
  "with %s and no database, workflows run in memory",
  (name) => {
    expect(locate({ [name]: "1" }, project({ url, pid: process.pid }))).toEqual({ kind: "memory" });
  },
);

test("a running `waymark dev` is found from any folder of the project", () => {
  expect(locate({}, project({ url, pid: process.pid }))).toMatchObject({
    kind: "database",
    url,
    from: expect.stringMatching(/dev\.json$/),
  });
});

test("one that does not run any more is named in the error", () => {
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  expect(() => locate({}, project({ url, pid }))).toThrow(
    expect.objectContaining({ code: "WM311", hint: expect.stringMatching(/does not run any more/) }),
  );
});

test("a half written notice is no notice", () => {
  expect(() => locate({}, project("{"))).toThrow(refusal("WM311", /no database is configured/));
});

test("with nothing configured, the error names the ways to configure", () => {
  expect(() => locate({ WAYMARK_DATABASE_URL: "" }, project())).toThrow(
    expect.objectContaining({
      code: "WM311",
      hint: expect.stringMatching(/WAYMARK_DATABASE_URL=.*\n.*waymark dev.*\n.*test/),
    }),
  );
});

test.each(["WAYMARK_BRIDGE_GRPC_ADDR", "WAYMARK_BRIDGE_GRPC_HOST", "WAYMARK_BRIDGE_GRPC_PORT"])(
  "%s is refused by name",
  (name) => {
    expect(() => locate({ [name]: "127.0.0.1:24117", WAYMARK_DATABASE_URL: url }, project())).toThrow(
      refusal("WM310", new RegExp(name)),
    );
  },
);

test.each(["mysql://me:secret@host/db", "me:secret@host", "http://me:secret@host"])(
  "%s is not a Postgres URL, and is not repeated",
  (wrong) => {
    const attempt = () => locate({ WAYMARK_DATABASE_URL: wrong }, project());
    expect(attempt).toThrow(refusal("WM313", /WAYMARK_DATABASE_URL is not a Postgres URL/));
    expect(attempt).not.toThrow(/secret/);
  },
);

test.each([
  [undefined, false],
  ["", false],
  ["true", true],
  ["1", true],
  ["No", false],
  ["off", false],
] as const)("WAYMARK_SKIP_WAIT_FOR_INSTANCE=%s is %s", (value, skips) => {
  expect(skipsWait({ WAYMARK_SKIP_WAIT_FOR_INSTANCE: value })).toBe(skips);
});

test("WAYMARK_SKIP_WAIT_FOR_INSTANCE is yes or no", () => {
  expect(() => skipsWait({ WAYMARK_SKIP_WAIT_FOR_INSTANCE: "maybe" })).toThrow(refusal("WM312", /"maybe"/));
});
