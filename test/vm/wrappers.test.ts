// What the realm has in place of a built-in: the world is refused by name, the zone is UTC, sizes are bounded, and
// frozen prototypes do not show.
import { runInNewContext } from "node:vm";
import { beforeAll, describe, expect, test } from "vitest";
import { refusedGlobals, vmGlobals } from "../../src/program/globals.ts";
import { encodeValue } from "../../src/program/value.ts";
import { allowed, plainGlobals, refused } from "../../src/vm/globals.ts";
import { type Realm, sealedRealm } from "./sealed.ts";

let realm: Realm;
beforeAll(async () => {
  realm = await sealedRealm();
});

const value = (code: string): unknown => JSON.parse(realm.run(`JSON.stringify((() => { ${code} })())`) ?? "null");
const thrown = (code: string): string =>
  realm.run(
    `(() => { try { ${code}; return "nothing" } catch (e) { return [e.code ?? e.name, e.message].join(" ") } })()`,
  );

describe("the list", () => {
  test("everything on it is there, on every Node", () =>
    expect(realm.audit()).toMatchObject({ violations: [], missing: [] }));

  test("every object has a name of its own, for snapshots", () => {
    const names = JSON.parse(realm.run("JSON.stringify([...waymarkVm.intrinsicNames().values()])")) as string[];
    expect(new Set(names).size).toBe(names.length);
  });

  test("the compiler and the realm know the same names", () => {
    const here = new Set([...Object.keys(allowed), ...plainGlobals, ...refused].filter((name) => !/[.%]/.test(name)));
    for (const name of ["NaN", "Infinity", "undefined", "WaymarkError"]) here.delete(name);
    expect([...here].sort()).toEqual([...vmGlobals].sort());
    for (const name of refusedGlobals.keys()) expect(here.has(name)).toBe(false);
  });

  test("functions have the names and lengths of the engine's own", () => {
    const list = `Object.fromEntries(paths.map((path) => {
      const words = path.split(".");
      const key = words.pop();
      const holder = words.reduce((o, k) => o?.[k], self);
      const f = holder && Object.getOwnPropertyDescriptor(holder, key)?.value;
      return [path, typeof f === "function" ? f.name + "/" + f.length + ("prototype" in f && f.prototype ? "/new" : "") : ""];
    }))`;
    const paths = Object.entries(allowed)
      .filter(([path]) => !/[%@]|console|URL|Proxy|WaymarkError|Suppressed/.test(path))
      .flatMap(([path, row]) => [
        path,
        ...row
          .split(" ")
          .filter((key) => !/@@|__proto__|caller|arguments/.test(key))
          .map((key) => `${path}.${key}`),
      ]);
    const natively = runInNewContext(`const self = globalThis; JSON.stringify(${list})`, { paths }) as string;
    const names = [...new Set(paths.map((path) => path.split(".")[0]))].join(", ");
    const ours = realm.run(
      `(() => { const paths = ${JSON.stringify(paths)}; const self = { ${names} }; return JSON.stringify(${list}) })()`,
    );
    const expected = JSON.parse(natively) as Record<string, string>;
    const found = JSON.parse(ours) as Record<string, string>;
    for (const path of Object.keys(expected))
      if (expected[path] === "") for (const list of [found, expected]) delete list[path];
    // Names of this Node may be fewer than the list's.
    for (const path of Object.keys(found)) if (!(path in expected)) delete found[path];
    expect(found).toEqual(expected);
  });
});

describe("the world is refused by name", () => {
  test.each([
    ["Date.now()", "WM104"],
    ["new Date()", "WM104"],
    ["Date()", "WM104"],
    ["Reflect.construct(Date, [])", "WM104"],
    ["new (class D extends Date {})()", "WM104"],
    ["Math.random()", "WM105"],
    ["(() => {}).constructor('1')", "WM108"],
    ["Function('1')", "WM108"],
    ["(1).toLocaleString()", "WM109"],
    ["new Date(0).toLocaleDateString()", "WM109"],
    ["'a'.localeCompare('b')", "WM109"],
    ["[1].toLocaleString()", "WM109"],
    ["new Proxy({}, {})", "WM102"],
    ["new URL('http://x')", "WM102"],
    ["new Iterator()", "WM102"],
    ["[].values().map((x) => x)", "WM102"],
    ["console.table([])", "WM102"],
    ["structuredClone(() => 0)", "WM401"],
  ])("%s", (code, expected) => expect(thrown(code).split(" ")[0]).toBe(expected));
});

describe("time is UTC, whatever the process's zone", () => {
  const code = `
    const at = new Date(2026, 6, 1, 12, 30, 15, 250);
    const moved = new Date(at.getTime()); moved.setHours(25, 61); moved.setMonth(13); moved.setYear(99);
    return [at.getTime(), at.getHours(), at.getDay(), at.getTimezoneOffset(), at.getYear(), String(at), at.toDateString(), at.toTimeString(),
      at + "", at - 0, moved.toISOString(), new Date("2026-07-01T12:30:15").toJSON(), new Date("2026-07-01").toJSON(),
      new Date("2026-07-01T12:00:00+02:00").toJSON(), new Date("Jul 1, 2026 10:00").toJSON(), new Date("Wed Jul 01 2026 10:00:00 GMT+0300").toJSON(),
      Date.parse("2026-07-01 10:00"), Date.parse("7/1/2026"), new Date(at).getTime(), new Date("nonsense").getTime(), String(new Date(NaN)), new Date(NaN).getHours(),
      new Date({ valueOf: () => 5 }).getTime(), Date.UTC(2026, 0), new Date(99, 0).getFullYear(), new Date(-1e14).toString()];`;
  test("as Node with TZ=UTC", () => {
    const zone = process.env.TZ;
    try {
      process.env.TZ = "UTC";
      const expected = JSON.parse(runInNewContext(`JSON.stringify((() => { ${code} })())`) as string) as unknown;
      process.env.TZ = "America/New_York";
      expect(new Date(2026, 6, 1).getTimezoneOffset()).toBe(240);
      expect(value(code)).toEqual(expected);
    } finally {
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });
});

describe("one call can neither exhaust memory nor run for ever", () => {
  test.each([
    "'x'.repeat(2 ** 28)",
    "'x'.padStart(2 ** 28)",
    "'x'.padEnd(2 ** 28, 'y')",
    "const s = 'x'.repeat(2 ** 25); s.concat(s, s)",
    "new Array(1e8)",
    "Array(1e8)",
    "new Array(1e7).fill(0).concat(new Array(1e7).fill(0))",
    "const a = []; a.length = 4e9; a.fill(0)",
    "const a = []; a.length = 4e9; a.indexOf(1)",
    "const a = []; a[4e9] = 1; a.map((x) => x)",
    "const a = []; a.length = 4e9; [...'ab'].concat(a)",
    "new Array(1e6).join('x'.repeat(1e5))",
    "Array.from({ length: 2 ** 53 - 1 })",
    "Array.from.call(Object, { length: 2 ** 53 - 1 })",
    "Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)",
    "Array.prototype.includes.call({ length: Infinity }, 1)",
    "Array.prototype.lastIndexOf.call({ length: '9007199254740991' }, 1)",
    "Array.prototype.reverse.call({ __proto__: { length: 2 ** 53 - 1 } })",
    "let n = 0; Array.prototype.some.call({ get length() { return n++ ? 2 ** 53 - 1 : 1 } }, () => false)",
    "let n = 0; Array.prototype.every.call({ length: { valueOf: () => (n++ ? 2 ** 53 - 1 : 1) } }, () => true)",
    "let a = [1]; for (let i = 0; i < 30; i++) a = [a, a]; a.flat(Infinity)",
    "const big = new Array(1e7); new Array(1e3).fill(0).flatMap(() => big)",
    "new Uint8Array(2 ** 32)",
    "new Float64Array(2 ** 25)",
    "new ArrayBuffer(2 ** 32)",
    "new ArrayBuffer(8, { maxByteLength: 2 ** 32 })",
    "new Uint8Array({ length: 2 ** 32 })",
    "Uint8Array.from({ length: 2 ** 32 })",
    "new (class Big extends Uint8Array {})(2 ** 32)",
    "BigInt.asUintN(2 ** 29, -1n)",
    "BigInt('9'.repeat(1e6))",
    "String.raw({ raw: { length: 2 ** 53 - 1 } })",
    "('a'.repeat(1e5)).replaceAll('a', '$`')",
    "waymarkVm.guardBigint('**', 3n, 10000000n)",
    "waymarkVm.guardBigint('<<', 1n, 10000000n)",
    "Math.max.apply(null, { length: 2 ** 53 - 1 })",
    "Reflect.apply(Math.max, null, { length: 2 ** 53 - 1 })",
  ])("%s", (code) => expect(thrown(code)).toMatch(/^RangeError /));

  test.each([
    ["'ab'.repeat(3)", "ababab"],
    ["'a'.padStart(3, 'xy') + 'a'.padEnd(3) + '|'", "xyaa  |"],
    ["'a'.concat(1, null)", "a1null"],
    ["Array(3).fill(0)", [0, 0, 0]],
    ["new Array(2, 3)", [2, 3]],
    ["Array.from({ length: 2 }, (_, i) => i)", [0, 1]],
    ["Array.from('ab')", ["a", "b"]],
    ["[1, [2, [3]]].flat(2)", [1, 2, 3]],
    ["[1, 2].flatMap((x, i, a) => [x, a.length + i])", [1, 2, 2, 3]],
    ["[3, 1, 2].toSorted()", [1, 2, 3]],
    ["Array.prototype.map.call('ab', (x) => x + x)", ["aa", "bb"]],
    ["Array.prototype.join.call(new Uint8Array([1, 2]), '-')", "1-2"],
    ["[...new Uint8Array([1, 2]).map((x) => x * 2)]", [2, 4]],
    ["(class A extends Array {}).from([1]) instanceof Array", true],
    [
      "class A extends Array {} const a = new A(3).fill(1).map((x) => x + 1); return [a.constructor === A, a.length, a[0]]",
      [true, 3, 2],
    ],
    [
      "[].constructor === Array && Array.isArray(new Array(1)) && [] instanceof Array && [].map((x) => x).constructor === Array",
      true,
    ],
    ["new Uint8Array(new Uint8Array([5]).buffer)[0]", 5],
    [
      "new Uint8Array([1]).constructor === Uint8Array && Object.getPrototypeOf(Uint8Array) === Object.getPrototypeOf(Int8Array)",
      true,
    ],
    ["String(BigInt('12') + BigInt(true)) + BigInt.asUintN(8, 257n)", "131"],
    ["String.raw({ raw: ['a', 'b'] }, 1)", "a1b"],
    ["'a-b'.replaceAll('-', '$&$&')", "a--b"],
    ["'a,b'.split(',')", ["a", "b"]],
    ["[1, , 2].concat([3], 4).length", 5],
    ["Math.max.apply(null, [1, 3, 2])", 3],
  ])("%s", (code, expected) => expect(value(code.includes("return ") ? code : `return ${code}`)).toEqual(expected));
});

describe("frozen prototypes do not show", () => {
  test.each([
    ["Object.assign({}, { toString: 1, constructor: 2 })", { toString: 1, constructor: 2 }],
    ["const o = {}; return [Reflect.set(o, 'valueOf', 1), Object.keys(o)]", [true, ["valueOf"]]],
    ["Reflect.set(Object.freeze({}), 'toString', 1)", false],
    ["Reflect.set([], 'map', 1)", true],
    [
      "class A { toString() { return 'A' } } const o = new A(); return [Reflect.set(o, 'toString', 1), o.toString]",
      [true, 1],
    ],
    ["const o = {}; waymarkVm.assign(o, 'hasOwnProperty', 3); return o", { hasOwnProperty: 3 }],
    ["waymarkVm.isOverride(Object.freeze({}), 'toString')", false],
    ["waymarkVm.isOverride({ __proto__: Object.freeze({ x: 1 }) }, 'x')", false],
  ])("%s", (code, expected) => expect(value(code.includes("return ") ? code : `return ${code}`)).toEqual(expected));

  test("a Map given the prototype of plain objects is refused, not stored as {}", () => {
    for (const way of [
      "Object.setPrototypeOf(m, Object.prototype)",
      "Reflect.setPrototypeOf(m, null)",
      "m.__proto__ = Object.prototype",
    ]) {
      expect(thrown(`const m = new Map([[1, 2]]); ${way}; structuredClone({ m })`)).toMatch(
        /^WM401 .*a Map with another prototype at \.m/,
      );
    }
    expect(value("return structuredClone(Object.setPrototypeOf({ a: 1 }, null)).a")).toBe(1);
  });
});

describe("what an older Node lacks", () => {
  test.each([
    ["[...new Set([1, 2]).union(new Set([2, 3]))]", [1, 2, 3]],
    ["[...new Set([1, 2, 3]).intersection(new Set([3, 2]))]", [3, 2]],
    ["[...new Set([1, 2, 3]).intersection(new Set([9, 3, 2, 7]))]", [2, 3]],
    ["[...new Set([1, 2, 3]).difference(new Map([[2, 0]]))]", [1, 3]],
    ["[...new Set([1, 2]).symmetricDifference(new Set([2, 3]))]", [1, 3]],
    [
      "[new Set([1]).isSubsetOf(new Set([1, 2])), new Set([1, 2]).isSupersetOf(new Set([3])), new Set([1]).isDisjointFrom(new Set([2]))]",
      [true, false, true],
    ],
    ["Object.groupBy([1, 2, 3], (x) => (x % 2 ? 'odd' : 'even'))", { odd: [1, 3], even: [2] }],
    [
      "[...Map.groupBy([1, 2, 3], (x) => x % 2)]",
      [
        [1, [1, 3]],
        [0, [2]],
      ],
    ],
    ["typeof Symbol.dispose + typeof Symbol.asyncDispose", "symbolsymbol"],
    [
      "const e = new SuppressedError(1, 2, 'm'); return [e.error, e.suppressed, e.message, e.name, e instanceof Error]",
      [1, 2, "m", "SuppressedError", true],
    ],
  ])("%s", (code, expected) => expect(value(code.includes("return ") ? code : `return ${code}`)).toEqual(expected));
});

describe("URLs that were brought along", () => {
  const texts = [
    "https://me:pw@example.com:8080/a%20b/c?q=1#h",
    "mailto:a@b.c",
    "http://[::1]/",
    "file:///x/y",
    "https://example.com/?#",
  ];
  const names = [
    "href",
    "protocol",
    "username",
    "password",
    "hostname",
    "port",
    "host",
    "pathname",
    "search",
    "hash",
    "origin",
  ] as const;
  test.each(texts)("%s has the parts Node gives it", (text) => {
    const url = new URL(text);
    const bytes = realm.run(`[...waymarkVm.encodeValue("")].length`);
    expect(bytes).toBe(3);
    expect(
      value(
        `return ((url) => [${names.map((name) => `url.${name}`)}, String(url), JSON.stringify(url)])(${urlIn(url)})`,
      ),
    ).toEqual([...names.map((name) => url[name]), String(url), JSON.stringify(url)]);
  });

  test("it crosses back as a URL, and cannot be changed", () => {
    const url = urlIn(new URL("https://example.com/a"));
    expect(value(`return structuredClone({ u: ${url} }).u.pathname`)).toBe("/a");
    expect(thrown(`${url}.hash = 'x'`)).toMatch(/^WM102 /);
    expect(thrown(`${url}.searchParams`)).toMatch(/^WM102 /);
  });

  /** Text that decodes the URL inside the realm. */
  function urlIn(url: URL): string {
    return `waymarkVm.decodeValue(new Uint8Array([${encodeValue(url)}]))`;
  }
});
