// `waymark dev` as people use it: one terminal runs it, another starts a client with no configuration, a file changes.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = path.join(import.meta.dirname, "..", "..");
let project: string;
let server: ChildProcess;
let log = "";
const heard: { pattern: RegExp; resolve: () => void }[] = [];

const workflows = (greeting: string) => `
import { action, workflow } from "waymark";
export const greet = action("devGreet", async (name) => ${JSON.stringify(greeting)} + " " + name);
export const hello = workflow("devHello", async (name) => (await greet(name)) + "!");
`;

beforeAll(async () => {
  project = await mkdtemp(path.join(tmpdir(), "waymark-dev-"));
  await chmod(project, 0o755); // as root the server runs as another user, who must get in
  await mkdir(path.join(project, "node_modules"));
  await symlink(root, path.join(project, "node_modules", "waymark"));
  await writeFile(path.join(project, "package.json"), '{ "type": "module" }');
  await writeFile(path.join(project, "workflows.js"), workflows("hello"));
  await writeFile(
    path.join(project, "client.js"),
    'import { hello } from "./workflows.js";\nconsole.log(await hello.run(process.argv[2]));\n',
  );
  server = spawn(process.execPath, [path.join(root, "dist/cli/main.js"), "dev", "workflows.js"], {
    cwd: project,
    env: environment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [server.stdout!, server.stderr!]) {
    stream.on("data", (chunk) => {
      log += chunk;
      for (const { pattern, resolve } of heard) if (pattern.test(log)) resolve();
    });
  }
});

afterAll(async () => {
  if (server.exitCode === null && server.signalCode === null) {
    server.kill("SIGINT");
    await once(server, "exit");
  }
  await rm(project, { recursive: true, force: true });
});

test("a client finds it, a change reloads it, Ctrl-C stops everything", { timeout: 90_000 }, async () => {
  await says(/ready {2}database/);
  await says(/host ready/);
  expect(await client("ada")).toBe("hello ada!");

  log = "";
  await writeFile(path.join(project, "workflows.js"), workflows("good morning"));
  await says(/workflows\.js changed: reloading/);
  await says(/host ready/);
  expect(await client("grace")).toBe("good morning grace!");

  const second = spawn(process.execPath, [path.join(root, "dist/cli/main.js"), "dev", "workflows.js"], {
    cwd: project,
    env: environment(),
    stdio: ["ignore", "ignore", "pipe"],
  });
  let refusal = "";
  second.stderr!.on("data", (chunk) => (refusal += chunk));
  expect((await once(second, "exit"))[0]).toBe(1);
  expect(refusal).toMatch(/WM605 waymark dev is running here already/);

  server.kill("SIGINT");
  expect((await once(server, "exit"))[0]).toBe(0);
  expect(existsSync(path.join(project, ".waymark", "dev.json"))).toBe(false);
  expect(log).toMatch(/stopped/);
});

function says(pattern: RegExp): Promise<void> {
  if (pattern.test(log)) return Promise.resolve();
  return new Promise((resolve, reject) => {
    heard.push({ pattern, resolve });
    server.once("exit", (code) => reject(new Error(`waymark dev ended with code ${code}:\n${log}`)));
  });
}

async function client(name: string): Promise<string> {
  const child = spawn(process.execPath, ["client.js", name], { cwd: project, env: environment() });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (err += chunk));
  const [code] = await once(child, "close");
  expect(err).toBe("");
  expect(code).toBe(0);
  return out.trim();
}

function environment(): NodeJS.ProcessEnv {
  const clean = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("WAYMARK_") && name !== "VITEST" && !name.startsWith("VITEST_"),
  );
  return { ...Object.fromEntries(clean), NO_COLOR: "1" };
}
