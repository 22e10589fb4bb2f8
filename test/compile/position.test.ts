// Positions and values under the toolchains people use. Each builds or runs the same fixture program, which captures its
// own functions and reports; the places it reports are looked up in the TypeScript the fixture was written in.

import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { type BuildOptions, build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AnyFunction, captureFunction } from "../../src/compile/capture.ts";
import { codeFrame } from "../../src/compile/frame.ts";
import * as flows from "./fixtures/capture/flows.ts";

const fixtures = path.join(import.meta.dirname, "fixtures/capture");
const flowsFile = path.join(fixtures, "flows.ts");
const original = readFileSync(flowsFile, "utf8");
const run = promisify(execFile);
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), "waymark-position-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Seen {
  report: {
    name: string;
    kind: string;
    url: string | null;
    positions: {
      word: string;
      offset: number;
      at: { file: string; line: number; column: number } | null;
      frame: string | null;
    }[];
  }[];
  values: { found: boolean; value?: unknown }[];
}

const seen = (command: string, ...args: string[]) => printed<Seen>(command, ...args);

async function printed<T>(command: string, ...args: string[]): Promise<T> {
  const { stdout } = await run(command, args, { cwd: directory, maxBuffer: 1 << 24 });
  return JSON.parse(stdout) as T;
}

function sourceAt(text: string, line: number, column: number): string {
  return (text.split("\n")[line - 1] ?? "").slice(column - 1);
}

function expectOriginal({ report }: Seen): void {
  let checked = 0;
  for (const { name, positions } of report) {
    for (const { word, offset, at, frame } of positions) {
      if (offset < 0) continue;
      expect(at, `${word} in ${name}`).not.toBeNull();
      expect(path.basename(at!.file)).toBe("flows.ts");
      expect(`${word} at ${sourceAt(original, at!.line, at!.column).slice(0, word.length)}`).toBe(`${word} at ${word}`);
      expect(frame).toContain(`> ${at!.line} | `);
      checked++;
    }
  }
  expect(checked).toBeGreaterThanOrEqual(5);
}

async function bundled(name: string, options: BuildOptions): Promise<string> {
  const outfile = path.join(directory, name);
  await build({
    entryPoints: [path.join(fixtures, "report.ts")],
    bundle: true,
    platform: "node",
    outfile,
    logLevel: "error",
    ...options,
  });
  return outfile;
}

const tsx = createRequire(import.meta.url).resolve("tsx/cli");

describe("original positions", () => {
  it("under vitest", () => {
    const captured = captureFunction(flows.chargeLater as unknown as AnyFunction);
    const at = captured.positionAt(captured.text.indexOf("Date.now"));
    expect(at).toMatchObject({ file: flowsFile });
    expect(sourceAt(original, at!.line, at!.column)).toMatch(/^Date\.now\(\)/);
    expect(captured.sourceText(flowsFile)).toBe(original);
    expect(captured.url).toContain("flows.ts");
  });

  it("under tsx", async () => {
    const answer = await seen(process.execPath, tsx, path.join(fixtures, "report.ts"));
    expectOriginal(answer);
    expect(answer.values[0]).toEqual({ found: true, value: 10 });
    expect(answer.report.map(({ kind }) => kind)).toEqual([
      "function",
      "function",
      "function",
      "function",
      "class",
      "class",
      "function",
    ]);
  });

  it.each<[string, BuildOptions]>([
    ["an ESM bundle with its map beside it", { format: "esm", sourcemap: "linked" }],
    ["a CommonJS bundle with its map inside", { format: "cjs", sourcemap: "inline" }],
    ["a bundle whose map has no sources in it", { format: "esm", sourcemap: "linked", sourcesContent: false }],
    ["a minified bundle", { format: "esm", sourcemap: "linked", minify: true, keepNames: true }],
    ["a bundle for ES2017", { format: "esm", sourcemap: "linked", target: "es2017" }],
  ])("of %s, under plain node", async (name, options) => {
    const outfile = await bundled(`${name.replace(/\W+/g, "-")}.${options.format === "cjs" ? "cjs" : "mjs"}`, options);
    expectOriginal(await seen(process.execPath, outfile));
  });
});

describe("whole workflows", () => {
  type Outcome = [{ bytes: number }, { code: string; at: { file: string; line: number; column: number } }[]];

  function expectOutcome([good, bad]: Outcome): void {
    expect(good.bytes).toBeGreaterThan(0);
    expect(bad).toMatchObject([{ code: "WM104", at: { file: flowsFile } }]);
    expect(sourceAt(original, bad[0]!.at.line, bad[0]!.at.column)).toMatch(/^Date\.now\(\)/);
  }

  it("compile under tsx", async () => {
    expectOutcome(await printed<Outcome>(process.execPath, tsx, path.join(fixtures, "compiles.ts")));
  });

  it.each<[string, BuildOptions]>([
    ["for ES2017", { target: "es2017" }],
    ["for ES2016, without async functions", { target: "es2016" }],
    ["minified", { minify: true, keepNames: true }],
  ])("compile from a bundle %s", async (name, options) => {
    const outfile = path.join(directory, `compiles-${name.replace(/\W+/g, "-")}.mjs`);
    await build({
      entryPoints: [path.join(fixtures, "compiles.ts")],
      bundle: true,
      platform: "node",
      format: "esm",
      sourcemap: "linked",
      outfile,
      logLevel: "error",
      ...options,
    });
    expectOutcome(await printed<Outcome>(process.execPath, outfile));
  });
});

describe("what cannot be trusted", () => {
  it("is placed in the bundle itself where there is no map", async () => {
    const outfile = await bundled("bare.mjs", { format: "esm" });
    const { report } = await seen(process.execPath, outfile);
    const { at } = report.find(({ name }) => name === "chargeLater")!.positions[0]!;
    expect(at?.file).toBe(outfile);
    expect(sourceAt(readFileSync(outfile, "utf8"), at!.line, at!.column)).toMatch(/^Date\.now/);
  });

  it("cuts the line of a minified bundle to a window", async () => {
    const outfile = await bundled("bare-minified.mjs", { format: "esm", minify: true });
    const { report } = await seen(process.execPath, outfile);
    const frame = report.find(({ name }) => name === "chargeLater")!.positions[0]!.frame!;
    const [marked, caret] = frame.split("\n").slice(frame.split("\n").findIndex((line) => line.startsWith(">")));
    expect(marked!.length).toBeLessThan(130);
    expect(marked!.slice(caret!.indexOf("^"))).toMatch(/^Date\.now/);
  });

  it("has no position where a loader names the source but keeps its map", async () => {
    const plain = path.join(directory, "private.ts");
    writeFileSync(
      plain,
      "// a\n// b\ninterface A { x: number }\nexport const f = async (a: A): Promise<number> => Math.max(a.x, 2);\n",
    );
    const source = `export const f = async (a) => Math.max(a.x, 2);\n//# sourceURL=${plain}`;
    const { f } = (await import(`data:text/javascript,${encodeURIComponent(source)}`)) as { f: AnyFunction };
    const captured = captureFunction(f);
    const offset = captured.text.indexOf("Math");
    expect(captured.positionAt(offset)).toBeNull();
    expect(captured.frameAt(offset, 4)).toBe(
      ["generated code", "> 1 | async (a) => Math.max(a.x, 2)", "    |              ^^^^"].join("\n"),
    );
  });

  it("has no position where a map belongs to another text", async () => {
    const payload = {
      version: 3,
      sources: ["other.ts"],
      sourcesContent: ["const something = entirely(different);\n".repeat(3)],
      names: [],
      mappings: "AAAA,SAASA,SAASC",
    };
    const map = Buffer.from(JSON.stringify(payload)).toString("base64");
    const source = `export const f = async (a) => Math.max(a.x, Number.parseInt("23", 2));\n//# sourceMappingURL=data:application/json;base64,${map}`;
    const { f } = (await import(`data:text/javascript,${encodeURIComponent(source)}`)) as { f: AnyFunction };
    const captured = captureFunction(f);
    expect(captured.positionAt(0)).toBeNull();
    expect(captured.frameAt(0)).toMatch(/^generated code\n/);
  });
});

describe("a runtime that cannot be asked", () => {
  const permission = Number.parseInt(process.versions.node, 10) < 22 ? "--experimental-permission" : "--permission";

  it("is named: Node's permission model, with what to do", async () => {
    const outfile = await bundled("permission.mjs", { format: "esm" });
    const failed = await seen(process.execPath, permission, "--allow-fs-read=*", outfile).catch(
      (error: { stderr: string }) => error.stderr,
    );
    expect(failed).toContain("WM160");
    expect(failed).toContain("--allow-inspector");
  });

  it("still takes an explicit scope", async () => {
    const entry = path.join(directory, "scoped.ts");
    writeFileSync(
      entry,
      `import { captureFunction, withCapture } from ${JSON.stringify(path.join(import.meta.dirname, "../../src/compile/capture.ts"))};
       const limit = 3;
       const lookup = withCapture(() => captureFunction(() => limit, { scope: () => ({ limit }) }).lookup("limit"));
       console.log(JSON.stringify(lookup));`,
    );
    const outfile = path.join(directory, "scoped.mjs");
    await build({ entryPoints: [entry], bundle: true, platform: "node", format: "esm", outfile, logLevel: "error" });
    expect(await seen(process.execPath, permission, "--allow-fs-read=*", outfile)).toEqual({ found: true, value: 3 });
  });
});

describe("frames", () => {
  const check = (input: Parameters<typeof codeFrame>, ...lines: string[]) =>
    expect(codeFrame(...input).split("\n")).toEqual(lines);

  it("show a line before and after", () => {
    check(["one\ntwo\nthree\nfour", 3, 2, { length: 3 }], "  2 | two", "> 3 | three", "    |  ^^^", "  4 | four");
  });
  it("line up where numbers grow a digit", () => {
    check(
      [Array.from({ length: 11 }, (_, n) => `l${n + 1}`).join("\n"), 10, 1],
      "   9 | l9",
      "> 10 | l10",
      "     | ^",
      "  11 | l11",
    );
  });
  it("underline no further than the line", () => {
    check(["ab\n", 1, 2, { length: 40 }], "> 1 | ab", "    |  ^", "  2 |");
  });
  it("stand at the first and last line", () => {
    check(["a\r\nb", 1, 1], "> 1 | a", "    | ^", "  2 | b");
    check(["a\tb", 1, 3], "> 1 | a b", "    |   ^");
  });
  it("are empty outside the text", () => {
    check(["a", 7, 1], "");
  });
});
