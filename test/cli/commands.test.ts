// The commands as people run them: real processes of the built CLI, good and bad input.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { freshDatabase } from "../setup/database.ts";

const root = path.join(import.meta.dirname, "..", "..");
const fixtures = path.join(import.meta.dirname, "fixtures");
let scratch: string;

beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), "waymark-cli-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

async function run(file: string, args: string[], env: Record<string, string> = {}) {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("WAYMARK_") && name !== "VITEST"),
  );
  const child = spawn(process.execPath, [path.join(root, "dist/cli", file), ...args], {
    cwd: root,
    env: { ...clean, NO_COLOR: "1", ...env },
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (err += chunk));
  const [code] = await once(child, "close");
  return { code, out, err };
}

describe("start-workers refuses clearly", () => {
  const user = { WAYMARK_USER_MODULE: path.join(fixtures, "good.mjs") };

  test("no database configured", async () => {
    const { code, err } = await run("start-workers.js", [], user);
    expect(code).toBe(1);
    expect(err).toMatch(/WM601 WAYMARK_DATABASE_URL is not set/);
    expect(err).toMatch(/waymark dev/);
  });

  test("a database that cannot be reached", async () => {
    const { code, err } = await run("start-workers.js", [], {
      ...user,
      WAYMARK_DATABASE_URL: "postgresql://u:secret@127.0.0.1:1/app",
    });
    expect(code).toBe(1);
    expect(err).toMatch(/WM5\d\d .*127\.0\.0\.1:1/);
    expect(err).not.toContain("secret");
  });

  test("a URL that is none", async () => {
    const { code, err } = await run("start-workers.js", [], { ...user, WAYMARK_DATABASE_URL: "not a url" });
    expect(code).toBe(1);
    expect(err).toMatch(/WM5\d\d /);
  });

  test("a database without the schema", async () => {
    await using database = await freshDatabase({ empty: true });
    const { code, err } = await run("start-workers.js", [], { ...user, WAYMARK_DATABASE_URL: database.url });
    expect(code).toBe(1);
    expect(err).toMatch(/waymark migrate/);
  });

  test("a user module that does not exist", async () => {
    await using database = await freshDatabase();
    const { code, err } = await run("start-workers.js", [], {
      WAYMARK_DATABASE_URL: database.url,
      WAYMARK_USER_MODULE: "./nowhere.mjs",
    });
    expect(code).toBe(1);
    expect(err).toMatch(/nowhere\.mjs/);
  });

  test("a user module that throws", async () => {
    await using database = await freshDatabase();
    const module = path.join(scratch, "throws.mjs");
    await writeFile(module, 'throw new Error("no such table: settings");\n');
    const { code, err } = await run("start-workers.js", [], {
      WAYMARK_DATABASE_URL: database.url,
      WAYMARK_USER_MODULE: module,
    });
    expect(code).toBe(1);
    expect(err).toMatch(/throws\.mjs/);
    expect(err).toMatch(/no such table: settings/);
  });

  test("a number that is none", async () => {
    const { code, err } = await run("start-workers.js", [], {
      ...user,
      WAYMARK_DATABASE_URL: "postgresql://127.0.0.1:1/x",
      WAYMARK_WORKER_COUNT: "many",
    });
    expect(code).toBe(1);
    expect(err).toMatch(/WAYMARK_WORKER_COUNT.*many/);
  });
});

describe("migrate", () => {
  test("brings an empty database up to date, once", async () => {
    await using database = await freshDatabase({ empty: true });
    const first = await run("main.js", ["migrate"], { WAYMARK_DATABASE_URL: database.url });
    expect(first).toMatchObject({ code: 0, out: expect.stringMatching(/^Applied 0001/) });
    const second = await run("main.js", ["migrate"], { WAYMARK_DATABASE_URL: database.url });
    expect(second).toMatchObject({ code: 0, out: "The schema is up to date.\n" });
  });

  test("--print needs no database", async () => {
    const { code, out } = await run("main.js", ["migrate", "--print"]);
    expect(code).toBe(0);
    expect(out).toMatch(/create table .*instance/);
  });
});

describe("compile", () => {
  test("says what compiles, with references and captured values", async () => {
    const { code, out } = await run("main.js", ["compile", path.join(fixtures, "good.mjs")]);
    expect(code).toBe(0);
    expect(out).toMatch(/✓ greetings {2}[0-9a-f]{12}/);
    expect(out).toMatch(/action +greet/);
    expect(out).toMatch(/captured .*salutation/);
    expect(out).toMatch(/1 of 1 workflows in good\.mjs compile/);
  });

  test("prints every problem with position and rewrite, and exits with 1", async () => {
    const { code, out } = await run("main.js", ["compile", path.join(fixtures, "bad.mjs")]);
    expect(code).toBe(1);
    expect(out).toMatch(/bad\.mjs:6:\d+/);
    expect(out).toMatch(/Date\.now/);
    expect(out).toMatch(/Math\.random/);
    expect(out).toMatch(/`now\(\)`/);
  });

  test("--asm prints the bytecode", async () => {
    const { out } = await run("main.js", ["compile", path.join(fixtures, "good.mjs"), "--asm"]);
    expect(out).toMatch(/AWAIT/);
    expect(out).toMatch(/RETURN/);
  });

  test("TypeScript modules load through tsx by themselves", async () => {
    const { code, out } = await run("main.js", ["compile", path.join(root, "examples/demo/workflows.ts")]);
    expect(out).toMatch(/✓ welcomeEmails/);
    expect(code).toBe(0);
  });

  test("a module that is not there", async () => {
    const { code, err } = await run("main.js", ["compile", "nowhere.mjs"]);
    expect(code).toBe(1);
    expect(err).toMatch(/WM602 There is no module nowhere\.mjs/);
  });
});

describe("visualize", () => {
  const demo = path.join(root, "examples/demo/workflows.ts");

  test("draws the graph as text", async () => {
    const { code, out } = await run("main.js", ["visualize", demo]);
    expect(code).toBe(0);
    expect(out).toMatch(/fetchUsers[\s\S]*sendEmail[\s\S]*sleep/);
  });

  test("as Mermaid, SVG and JSON", async () => {
    expect((await run("main.js", ["visualize", demo, "welcomeEmails", "--format", "mermaid"])).out).toMatch(
      /flowchart TD/,
    );
    expect((await run("main.js", ["visualize", demo, "--format", "svg"])).out).toMatch(/^<svg [\s\S]*<\/svg>/);
    expect(JSON.parse((await run("main.js", ["visualize", demo, "--format", "json"])).out)).toHaveProperty(
      "welcomeEmails.nodes",
    );
  });

  test("names the workflows when the one asked for is not there", async () => {
    const { code, err } = await run("main.js", ["visualize", demo, "nothing"]);
    expect(code).toBe(1);
    expect(err).toMatch(/has no workflow named nothing/);
    expect(err).toMatch(/welcomeEmails/);
  });
});

test("the version is the package's", async () => {
  const { version } = JSON.parse(await readFile(path.join(root, "package.json"), "utf8"));
  expect((await run("main.js", ["--version"])).out.trim()).toBe(version);
});
