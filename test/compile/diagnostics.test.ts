// What the compiler says, and of which values: classification, secrets, and the table of codes.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";
import { describe, expect, it, vi } from "vitest";
import { actionBrand, durableBrand, workflowBrand } from "../../src/author/definition.ts";
import { captureFunction } from "../../src/compile/capture.ts";
import { type Classified, classify } from "../../src/compile/classify.ts";
import {
  type DiagnosticCode,
  diagnostic,
  diagnostics,
  errorsMarkdown,
  failure,
  printDiagnostics,
  refusal,
} from "../../src/compile/diagnostics.ts";
import { packageOf } from "../../src/compile/package.ts";
import { findSecret } from "../../src/compile/secret.ts";
import { refusedGlobals } from "../../src/program/globals.ts";
import * as states from "./fixtures/capture/states.ts";

const seen = (value: unknown): Classified => classify(value, { url: import.meta.url, path: ["wf", "helper", "x"] });

describe("classification", () => {
  class Point {
    x = 1;
  }
  class Special extends Map {}
  const helper = (n: number) => n + 1;
  const ring: { self?: unknown } = {};
  ring.self = ring;

  it.each<[string, unknown, Classified["kind"]]>([
    ["a string", "x", "primitive"],
    ["undefined", undefined, "primitive"],
    ["a bigint", 1n, "primitive"],
    ["an array", [1, [2, { a: null }]], "data"],
    ["an array with holes", Object.assign(Array<number>(3), { 0: 1 }), "data"],
    ["a plain object", { a: { b: 1 } }, "data"],
    ["an object without prototype", Object.assign(Object.create(null), { a: 1 }), "data"],
    ["a cycle", ring, "data"],
    ["a Date", new Date(0), "data"],
    ["a RegExp", /a/g, "data"],
    ["a Map", new Map([[{ a: 1 }, new Set([1])]]), "data"],
    ["a typed array", new Uint8Array(3), "data"],
    ["a URL", new URL("https://a.example"), "data"],
    ["an enum as const", states.State, "data"],
    ["data of another realm", vm.runInNewContext("({ a: [new Date(0), new Map([[1, { b: 2 }]])] })"), "data"],
    ["a helper", helper, "function"],
    ["an async generator", async function* () {}, "function"],
    ["a class", Point, "class"],
    ["Math", Math, "intrinsic"],
    ["Array.isArray", Array.isArray, "intrinsic"],
    ["Symbol.iterator", Symbol.iterator, "intrinsic"],
    ["a module", states, "namespace"],
    ["an object with functions", { helper, limit: 1 }, "namespace"],
    ["an array of functions", [helper], "namespace"],
    [
      "an object with a getter",
      {
        get a() {
          throw new Error("must not run");
        },
      },
      "namespace",
    ],
    ["an action", Object.assign(() => 1, { [actionBrand]: { name: "a" } }), "action"],
    ["a workflow", Object.assign(() => 1, { [workflowBrand]: { name: "w" } }), "workflow"],
    ["a workflow that is an object", { [workflowBrand]: { name: "w" } }, "workflow"],
    ["sleep", Object.assign(() => 1, { [durableBrand]: { name: "sleep" } }), "durable"],
  ])("%s", (_, value, kind) => {
    expect(seen(value).kind).toBe(kind);
  });

  it("names built-ins by their path", () => {
    expect(seen(Array.prototype.map)).toEqual({ kind: "intrinsic", path: "Array.prototype.map" });
    expect(seen(JSON.stringify)).toEqual({ kind: "intrinsic", path: "JSON.stringify" });
  });

  it.each<[string, unknown, DiagnosticCode, string]>([
    ["an instance of a class", new Point(), "WM121", "an instance of `Point`"],
    [
      "an instance inside data",
      new Map([["p", new Point()]]),
      "WM121",
      "a Map that holds an instance of `Point` at .get(p)",
    ],
    ["a subclass of a built-in", new Special(), "WM121", "an instance of `Special`"],
    ["a promise", Promise.resolve(), "WM121", "a Promise"],
    ["a proxy", new Proxy({}, {}), "WM121", "a Proxy"],
    ["an error", new Error("x"), "WM121", "an Error"],
    ["a weak map", new WeakMap(), "WM121", "a WeakMap"],
    ["a symbol", Symbol("s"), "WM121", "the symbol Symbol(s)"],
    ["a buffer", Buffer.from("a"), "WM121", "an instance of `Buffer`"],
    ["a bound function", helper.bind(null), "WM122", "built-in"],
    ["a proxied function", new Proxy(helper, {}), "WM122", "proxied"],
    ["a mock", vi.fn(), "WM128", "mock"],
    ["a large constant", "ab".repeat(10).split("").concat(Array<string>(90_000).fill("0123456789")), "WM130", "1 MiB"],
    ["Math.random under another name", Math.random, "WM105", "Math.random()"],
    ["Date.now under another name", Date.now, "WM104", "Date.now()"],
    ["crypto", globalThis.crypto, "WM107", "crypto"],
    ["process.env", process.env, "WM107", "process"],
    ["setTimeout", setTimeout, "WM106", "setTimeout"],
    ["a secret", { apiKey: "k3yk3yk3y" }, "WM124", "x.apiKey"],
    ["a text with a password", "postgres://app:s3cret@db.example/app", "WM124", "a URL with a password"],
    ["a function that does not parse", new Function("o", "with (o) { return x; }"), "WM144", "sloppy mode"],
    ["a function of Node", readFileSync, "WM103", "node:fs"],
    ["a function of a Node module's object", path.join, "WM103", "node:path"],
    ["a function of a package", captureDependency(), "WM123", "`acorn`"],
  ])("refuses %s", (_, value, code, words) => {
    const answer = seen(value);
    expect(answer).toMatchObject({ kind: "refused", code });
    if (answer.kind !== "refused") return;
    const report = answer.report({ file: "a.ts", line: 1, column: 2 }, null, "wf");
    expect(report).toMatchObject({ code, within: "wf", message: expect.stringContaining(words) });
    expect(`${report.message} ${report.hint}`).not.toMatch(/%\w+%|undefined/);
  });

  it("prints the way a value was reached", () => {
    const answer = seen(new Point());
    expect(answer.kind === "refused" && answer.report(null, null).hint).toContain("`wf -> helper -> x`");
  });

  it("says what a name that is no data holds", () => {
    expect(seen({ a: { f: helper } })).toMatchObject({
      kind: "namespace",
      what: "an object that holds a function at .a.f",
    });
  });

  it("compiles functions of a package that package.json lists", () => {
    const project = mkdtempSync(path.join(tmpdir(), "waymark-packages-"));
    try {
      writeFileSync(path.join(project, "package.json"), JSON.stringify({ waymark: { packages: ["acorn"] } }));
      const url = pathToFileURL(path.join(project, "flows.ts")).href;
      expect(classify(captureDependency(), { url, path: ["wf", "parse"] }).kind).toBe("function");
    } finally {
      rmSync(project, { recursive: true });
    }
  });

  it("knows packages by path, in pnpm's layout too", () => {
    expect(packageOf("file:///p/node_modules/.pnpm/date-fns@4.1.0/node_modules/date-fns/index.js")).toBe("date-fns");
    expect(packageOf("/p/node_modules/@scope/name/a.js")).toBe("@scope/name");
    expect(packageOf("/p/src/node_modules.ts")).toBeNull();
  });
});

/** A function that lives in node_modules, seen with its own scopes. */
function captureDependency(): unknown {
  const lookup = captureFunction(parseNative as never).lookup("Parser");
  return lookup.found ? (lookup.value as { parse: unknown }).parse : null;
}

import { parse as parseNative } from "acorn";

describe("secrets", () => {
  const env = { STRIPE_API_KEY: "r8Jd0aKq2", PGPASSWORD: "postgres", HOME: "/home/someone", SHORT_TOKEN: "a1" };

  it.each<[string, unknown, string]>([
    ["config.password", "hunter2", "config.password"],
    ["config", { mail: { apiKey: "k3yk3yk3y" } }, "config.mail.apiKey"],
    ["DB_PASSWORD", "Tr0ub4dor", "DB_PASSWORD"],
    ["settings", new Map([["clientSecret", "aBcDeFgHiJkLmNoPqRsTuVwX"]]), "settings.clientSecret"],
    ["tokens", ["a1b2c3d4e5"], "tokens[0]"],
    ["db", { url: "postgres://app:s3cret@db.example/app" }, "db.url"],
    ["endpoint", new URL("https://user:pw@example.com/"), "endpoint"],
    ["x", "r8Jd0aKq2", "x"],
    ["pem", "-----BEGIN RSA PRIVATE KEY-----\nMIIE", "pem"],
    ["x", "ghp_0123456789abcdefghijABCDEFGHIJ", "x"],
  ])("are found in %s", (name, value, at) => {
    expect(findSecret(name, value, env)?.path).toBe(at);
  });

  it("names the environment variable, never its value", () => {
    const why = findSecret("x", "r8Jd0aKq2", env)?.why;
    expect(why).toContain("STRIPE_API_KEY");
    expect(why).not.toContain("r8Jd0aKq2");
  });

  it.each<[string, unknown]>([
    ["tokenType", "bearer"],
    ["token", "access_token"],
    ["passwordMinLength", 8],
    ["labels", { password: "Password", passwordHint: "At least 8 characters, please" }],
    ["header.token", "X-Auth-Token"],
    ["secret", "API_SECRET"],
    ["password", ""],
    ["database", "postgres"],
    ["home", "/home/someone"],
    ["tokenUrl", "https://auth.example/token2"],
    ["routes.token", "/oauth/token2"],
    ["tokens", 40960],
    ["x", "a1"],
    ["keyboard", "qwerty123456"],
    ["monkey", "banana1234"],
    ["mail", "someone@example.com"],
    ["color", "#ff00aa"],
    ["id", "3f2b8c1e-7f3a-4b0e-9c57-0a1b2c3d4e5f"],
  ])("are not seen in %s", (name, value) => {
    expect(findSecret(name, value, env)).toBeNull();
  });
});

describe("diagnostics", () => {
  const at = { file: "/project/src/orders.ts", line: 12, column: 17 };

  it("print in the manner of the style guide", () => {
    const frame = "  11 |   await charge(order);\n> 12 |     const at = Date.now();\n     |                ^^^^^^^^^^";
    const list = [
      diagnostic("WM104", { what: "Date.now()" }, at, frame, "chargeLater"),
      diagnostic("WM110", { name: "limit" }, null, null),
    ];
    expect(
      printDiagnostics(list, { directory: "/project" }),
    ).toBe(`WM104 \`Date.now()\` reads the clock, and a workflow may not.
      src/orders.ts:12:17 in chargeLater

        11 |   await charge(order);
      > 12 |     const at = Date.now();
           |                ^^^^^^^^^^

      Use \`now()\` from "waymark", or read the clock in an action.

WM110 \`limit\` is not defined: no variable of that name can be seen from here.
      Import or declare it. If it is set on the global object by hand, pass it as an argument instead.`);
  });

  it("are plain unless colour is asked for", () => {
    const list = [diagnostic("WM110", { name: "limit" }, at, null)];
    expect(printDiagnostics(list)).not.toContain("\u001b");
    const colored = printDiagnostics(list, { colors: true });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is removed
    expect(colored.replace(/\u001b\[\d+m/g, "")).toBe(printDiagnostics(list));
    expect(colored).not.toBe(printDiagnostics(list));
  });

  it("can be thrown", () => {
    expect(failure("WM161", { runtime: "Bun 1.4" })).toMatchObject({
      code: "WM161",
      message: expect.stringContaining("Bun 1.4"),
      hint: expect.stringContaining("scope"),
    });
  });

  it("have a row for every code of a refused global", () => {
    for (const row of refusedGlobals.values()) {
      const { code, message } = refusal(row, null, null);
      expect(message).toBe(`${row.reason}.`);
      // The same code says the same thing in both places.
      const pattern = diagnostics[code].message.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/%\w+%/g, ".+");
      expect(message, code).toMatch(new RegExp(`^${pattern}$`));
    }
  });

  it("all have a title, a reason, a hint and complete sentences", () => {
    for (const [code, row] of Object.entries(diagnostics)) {
      expect(code).toMatch(/^WM1\d\d$/);
      expect(row.title, code).toMatch(/^[A-Z`]/);
      expect(row.message, code).toMatch(/\.$/);
      expect(row.reason, code).toMatch(/\.$/);
      expect(row.hint, code).toMatch(/[.%)]$/);
    }
  });

  it("all appear in the documentation with their rewrite", () => {
    const text = errorsMarkdown();
    for (const [code, { title, rewrite }] of Object.entries(diagnostics)) {
      expect(text).toContain(`## ${code}: ${title}`);
      if (rewrite !== null) expect(text).toContain(rewrite.after);
    }
    expect(text).not.toMatch(/%\w+%/);
  });
});
