// Down-levelled code: what esbuild and TypeScript make of async functions, classes and names for older targets is
// reduced to what the author wrote. The reduced tree is printed and run against the original.

import { parse } from "acorn";
import { type TransformOptions, transformSync } from "esbuild";
import { describe, expect, it } from "vitest";
import type { Captured } from "../../src/compile/capture.ts";
import { type AnyFunction, captureFunction } from "../../src/compile/capture.ts";
import { walk } from "../../src/compile/position.ts";
import { type Reduced, reduceShapes } from "../../src/compile/shapes.ts";
import { parseText } from "../../src/compile/text.ts";

const missing: Captured["lookup"] = () => ({ found: false, reason: "missing" });

/** A function that a compiler made of `source` (an expression), captured and reduced. */
function reduced(
  source: string,
  options: TransformOptions,
  name = "f",
): Reduced & { captured: Captured; raw: Reduced["node"] } {
  const { code } = transformSync(`export const ${name} = ${source};`, { format: "cjs", loader: "ts", ...options });
  const module: { exports: Record<string, AnyFunction> } = { exports: {} };
  new Function("module", "exports", code)(module, module.exports);
  const captured = captureFunction(module.exports[name]!);
  const raw = parseText(captured.text, name).node;
  return { captured, raw, ...reduceShapes(raw, captured.lookup) };
}

function types(node: Parameters<typeof walk>[0]): Map<string, number> {
  const counts = new Map<string, number>();
  walk(node, ({ type }) => counts.set(type, (counts.get(type) ?? 0) + 1));
  return counts;
}

const awaits = (node: Reduced["node"]) => types(node).get("AwaitExpression") ?? 0;
const yields = (node: Reduced["node"]) => types(node).get("YieldExpression") ?? 0;

const old: TransformOptions = { target: "es2016" };
const oldMinified: TransformOptions = { target: "es2016", minify: true };

describe("async functions below ES2017", () => {
  it.each<[string, string, number]>([
    ["an arrow", "async (a, b) => { const x = await a; return x + (await b); }", 2],
    ["an expression body", "async (a) => (await a) + 1", 1],
    ["a function", "async function (a) { return await a; }", 1],
    ["defaults and destructuring", "async (a, { b = 1 } = {}, ...c) => { await a; return b + c.length; }", 1],
    ["await before ||", "async (a, b) => (await a) || b", 1],
    ["an async arrow inside", "async (list) => Promise.all(list.map(async (x) => { await x; return 1; }))", 1],
    ["a generator inside stays one", "async (a) => { function* g() { yield 1; } await a; return [...g()]; }", 1],
    [
      "loops and try",
      "async (list) => { for (const x of list) { try { await x; } catch (e) { await 1; } finally { await 2; } } }",
      3,
    ],
  ])("%s", (_, source, count) => {
    for (const options of [old, oldMinified]) {
      const { node, problems } = reduced(source, options);
      expect(problems).toEqual([]);
      expect(node).toMatchObject({ async: true, generator: false });
      expect(awaits(node)).toBe(count);
      expect(yields(node)).toBe(source.includes("yield") ? 1 : 0);
    }
  });

  it("keeps offsets, so that positions survive", () => {
    const { node, captured } = reduced("async (a) => { const x = await a.b; return x; }", old);
    const source = captured.prefix + captured.text + captured.suffix;
    walk(node, ({ type, start, end }) => {
      if (type === "AwaitExpression") expect(source.slice(start, end)).toBe("yield a.b");
    });
    expect(node.start).toBe(captured.node.start);
  });

  it("is what capture gives", () => {
    const { captured, node } = reduced("async (a) => await a", old);
    expect(captured.node).toEqual(node);
  });

  it("does not touch the tree it was given", () => {
    const { captured, raw } = reduced("async (a) => await a", old);
    expect(raw).toEqual(parseText(captured.text, "f").node);
  });

  it("gives the same tree where there is nothing to undo", () => {
    const { raw, node } = reduced("async (a) => { const f = () => a; return (await f()).b?.c; }", {
      target: "esnext",
    });
    expect(node).toBe(raw);
  });

  const awaiter = `(function (thisArg, _arguments, P, generator) {
    function adopt(value) { return value instanceof P ? value : new P(function (resolve) { resolve(value); }); }
    return new (P || (P = Promise))(function (resolve, reject) {
        function fulfilled(value) { try { step(generator.next(value)); } catch (e) { reject(e); } }
        function rejected(value) { try { step(generator["throw"](value)); } catch (e) { reject(e); } }
        function step(result) { result.done ? resolve(result.value) : adopt(result.value).then(fulfilled, rejected); }
        step((generator = generator.apply(thisArg, _arguments || [])).next());
    });
  })`;
  const helpers: Record<string, unknown> = {
    __awaiter: named("__awaiter", awaiter),
    tslib_1: { __awaiter: named("__awaiter", awaiter) },
    _async_to_generator: named("_async_to_generator", "(function (fn) { return function () {}; })"),
  };
  const lookup: Captured["lookup"] = (name) =>
    Object.hasOwn(helpers, name) ? { found: true, value: helpers[name] } : missing(name);
  const tree = (source: string) => {
    const [statement] = parse(`(${source})`, { ecmaVersion: "latest", sourceType: "module" }).body;
    return statement?.type === "ExpressionStatement" ? statement.expression : expect.unreachable();
  };
  const reduce = (source: string) => reduceShapes(tree(source), lookup).node;

  it.each<[string, string, number]>([
    ["TypeScript", "function f(a) { return __awaiter(this, void 0, void 0, function* () { yield a; }); }", 1],
    ["TypeScript through tslib", "(a) => (0, tslib_1.__awaiter)(void 0, void 0, void 0, function* () { yield a; })", 1],
    [
      "TypeScript with defaults",
      "(a_1, ...args_1) => __awaiter(void 0, [a_1, ...args_1], void 0, function* (a, b = 1) { yield a; })",
      2,
    ],
    [
      "TypeScript with `arguments`",
      "function f(a_1) { return __awaiter(this, arguments, void 0, function* (a, b = 1) { yield a; }); }",
      2,
    ],
    ["SWC", "function f(a) { return _async_to_generator(function* () { yield a; })(); }", 1],
    ["SWC with this", "function f(a) { return _async_to_generator(function* () { yield this.a; }).call(this); }", 1],
  ])("by %s", (_, source, parameters) => {
    const node = reduce(source);
    expect(node).toMatchObject({ async: true, params: { length: parameters } });
    expect(awaits(node)).toBe(1);
  });

  it.each<[string, string]>([
    [
      "parameters are not handed on as they are",
      "(a, b) => __awaiter(void 0, [b, a], void 0, function* (x, y) { yield x; })",
    ],
    [
      "more than the call is in the function",
      "(a) => { log(a); return __awaiter(void 0, void 0, void 0, function* () { yield a; }); }",
    ],
    [
      "a variable inside takes a parameter's name",
      "(a) => __awaiter(void 0, void 0, void 0, function* () { var a; yield a; })",
    ],
    [
      "the helper's name is another thing here",
      "(__awaiter) => __awaiter(void 0, void 0, void 0, function* () { yield 1; })",
    ],
    ["the generator gets another `this`", "(a) => __awaiter(a, void 0, void 0, function* () { yield this; })"],
  ])("are left to the helper where %s", (_, source) => {
    const node = tree(source);
    expect(reduceShapes(node, lookup).node).toBe(node);
  });

  it("keep a block where a minifier used a parameter's name again", () => {
    const node = reduce("(a) => __awaiter(void 0, void 0, void 0, function* () { let a = yield 1; return a; })");
    expect(node).toMatchObject({ async: true, body: { body: [{ type: "BlockStatement" }] } });
  });

  it("are not taken from a user's own coroutine runner", () => {
    const own = named(
      "run",
      "(function (a, b, generator) { const g = generator(); return new Promise((resolve) => { const go = (v) => { const r = g.next(v); if (r.done) resolve(r.value); else go(r.value); }; go(); }); })",
    );
    const node = tree("(a) => own(null, null, function* () { yield a; })");
    expect(reduceShapes(node, (name) => (name === "own" ? { found: true, value: own } : missing(name))).node).toBe(
      node,
    );
  });
});

function named(name: string, source: string): unknown {
  return Object.defineProperty(new Function(`return ${source}`)() as object, "name", { value: name });
}

describe("kept names", () => {
  it.each<[string, TransformOptions]>([
    ["plain", { keepNames: true }],
    ["minified", { keepNames: true, minify: true }],
  ])("of functions and classes, %s", (_, options) => {
    const source =
      "async (n) => { function double(x) { return x * 2; } const triple = (x) => x * 3; class Box { x = n; } return [double(n), triple(n), new Box(), double.name]; }";
    const { node, names } = reduced(source, { ...options, minifyIdentifiers: false });
    expect([...names.values()].sort()).toEqual(["Box", "double", "triple"]);
    const seen = new Set<object>();
    walk(node, (one) => seen.add(one));
    for (const key of names.keys()) expect(seen.has(key), names.get(key)).toBe(true);
    expect(types(node).get("StaticBlock")).toBeUndefined();
  });

  it("survive together with async below ES2017", () => {
    const { node, names } = reduced("async (n) => { const inner = async (x) => { await x; }; await inner(n); }", {
      target: "es2016",
      keepNames: true,
    });
    expect([...names.values()]).toEqual(["inner"]);
    expect([...names.keys()][0]).toMatchObject({ type: "ArrowFunctionExpression", async: true });
    expect(awaits(node)).toBe(2);
  });
});

describe("coverage counters", () => {
  const strip = (source: string) => {
    const root = parse(source, { ecmaVersion: "latest", sourceType: "module" });
    return reduceShapes(root, missing).node as typeof root;
  };
  const bare = (node: unknown) =>
    JSON.parse(JSON.stringify(node, (key, value) => (key === "start" || key === "end" ? undefined : value)));

  it.each<[string, string]>([
    ["cov_1a().f[0]++; cov_1a().s[1]++; return_(x);", "return_(x);"],
    ["cov_1a().s[1]++; const y = c ? (cov_1a().b[0][0]++, a) : (cov_1a().b[0][1]++, b());", "const y = c ? a : b();"],
    ["(cov_1a().b[0][0]++, a.b)();", "(0, a.b)();"],
    ["if (a) { cov_1a().b[0][0]++; } else { cov_1a().b[0][1]++; c(); }", "if (a) {} else { c(); }"],
  ])("go from %s", (source, expected) => {
    expect(bare(strip(source))).toEqual(bare(parse(expected, { ecmaVersion: "latest", sourceType: "module" })));
  });

  it.each(["count().s[1]++;", "cov_1a().s[1] = 2;", "cov_1a().total++;"])("are not seen in %s", (source) => {
    expect(bare(strip(source))).toEqual(bare(parse(source, { ecmaVersion: "latest", sourceType: "module" })));
  });

  it("do not hide an async function", () => {
    const answer = reduceShapes(
      parse(
        "function f(a) { cov_1a().f[0]++; cov_1a().s[0]++; return __async(this, null, function* () { cov_1a().s[1]++; yield a; }); }",
        { ecmaVersion: "latest" },
      ),
      (name) => (name === "__async" ? { found: true, value: named("__async", "(function () {})") } : missing(name)),
    );
    expect(answer.node).toMatchObject({
      body: [{ async: true, body: { body: [{ expression: { type: "AwaitExpression" } }] } }],
    });
  });
});

describe("what cannot be undone", () => {
  it("is named: state machines of ES5", () => {
    const generator = named("__generator", "(function (thisArg, body) {})");
    const root = parse("function f() { return __generator(this, function (_a) { switch (_a.label) {} }); }", {
      ecmaVersion: "latest",
    });
    const { problems } = reduceShapes(root, (name) =>
      name === "__generator" ? { found: true, value: generator } : missing(name),
    );
    expect(problems).toMatchObject([{ code: "WM146" }]);
    expect(
      reduceShapes(parse("regeneratorRuntime.mark(function f() {})", { ecmaVersion: "latest" }), missing).problems,
    ).toMatchObject([{ code: "WM146" }]);
  });

  it.each<[string, TransformOptions]>([
    ["plain", { target: "es2021" }],
    ["minified", { target: "es2021", minify: true }],
  ])("is named: private members below ES2022, %s", (_, options) => {
    const { problems } = reduced("class { #x = 1; get() { return this.#x; } }", options);
    expect(new Set(problems.map(({ code }) => code))).toEqual(new Set(["WM147"]));
  });
});
