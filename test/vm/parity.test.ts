// Small programs, each for one thing the VM does itself: run by Node and by the VM across snapshots, same transcript.
import { expect, test } from "vitest";
import { same } from "./script.ts";

const programs: Record<string, string> = {
  "an awaited action": `async function main() { const a = await echo(1); return a + await echo(2); }`,
  "closures share cells across an await": `
    async function main() {
      let n = 0;
      const inc = () => ++n;
      inc(); await echo(0); inc(); inc();
      return [n, await echo(n)];
    }`,
  "an action's error is caught": `
    async function main() {
      try { await fail("boom"); } catch (e) { return [e instanceof Error, e.name, e.message]; } finally { await echo("f"); }
    }`,
  "all, allSettled, race, any": `
    async function main() {
      const a = await Promise.all([1, 2, 3].map((x) => echo(x)));
      const b = await Promise.allSettled([echo(1), fail("x"), 3]);
      const c = await Promise.race([echo("slow"), echo("slower")]);
      const d = await Promise.any([fail("one"), echo("two")]);
      let e; try { await Promise.any([fail("p"), fail("q")]); } catch (err) { e = [err.name, err.message, err.errors.map((x) => x.message)]; }
      return [a, b.map((r) => r.status === "fulfilled" ? r.value : r.reason.message), c, d, e];
    }`,
  "generators suspended across an await": `
    async function main() {
      function* g(n) { try { for (let i = 0; i < n; i++) { const got = yield i; if (got) out.push(got); } } finally { out.push("closed"); } return "end"; }
      const out = [];
      const it = g(5);
      out.push(it.next().value);
      await echo(0);
      out.push(it.next("sent").value);
      await echo(0);
      for (const v of it) { out.push(v); if (v === 3) break; }
      out.push(it.next());
      return [out, [...g(3)], Array.from(g(2)), Math.max(...g(4))];
    }`,
  "yield* and recursion": `
    async function main() {
      function* walk(t) { if (t) { yield* walk(t.l); yield t.v; yield* walk(t.r); } }
      const tree = { v: 2, l: { v: 1 }, r: { v: 3 } };
      const it = walk(tree); const a = it.next().value; await echo(a);
      return [a, ...it];
    }`,
  "async generators and for await": `
    async function main() {
      async function* g() { for (let i = 0; i < 3; i++) { try { yield echo(i); } finally { await echo("f" + i); } } }
      const out = [];
      for await (const v of g()) { out.push(v); if (v === 1) break; }
      for await (const v of [echo("a"), "b"]) out.push(v);
      const it = g(); const ps = [it.next(), it.next(), it.return(9), it.next()];
      out.push(await Promise.all(ps));
      return out;
    }`,
  "classes: fields, private members, accessors, statics, super": `
    async function main() {
      class A { #x = 1; static count = 0; static #made = []; y = this.#x + 1; constructor() { A.count++; A.#made.push(this); }
        get x() { return this.#x; } set x(v) { this.#x = v; } #hid() { return "hid" + this.#x; } hid() { return this.#hid(); }
        static get made() { return A.#made.length; } has(o) { return #x in o; } }
      class B extends A { z = 5; constructor(q) { super(); this.q = q; } hid() { return super.hid() + "B"; } }
      const b = new B(7); await echo(1); b.x = 10; await echo(2);
      return [b.x, b.y, b.z, b.q, b.hid(), A.count, A.made, b.has(b), b.has({}), b instanceof A, B.name, b.constructor.name];
    }`,
  "classes that extend built-ins": `
    async function main() {
      class E2 extends Error { constructor(m, code) { super(m); this.code = code; this.name = "E2"; } }
      class L extends Array { sum() { return this.reduce((a, b) => a + b, 0); } }
      class M extends Map { getOr(k, d) { return this.has(k) ? this.get(k) : d; } }
      const l = L.from([1, 2, 3]); const m = new M([["a", 1]]); let err;
      try { throw new E2("no", 42); } catch (e) { err = e; }
      await echo(0);
      return [l.sum(), l.map((x) => x * 2) instanceof L, l.map((x) => x * 2).sum(), m.getOr("a"), m.getOr("b", 9), err instanceof E2, err instanceof Error, err.code, err.name, String(err), l.length];
    }`,
  "destructuring, spread, defaults, optional chaining": `
    async function main() {
      const { a, b: { c = 4, ...rest } = {}, ...others } = { a: 1, b: { d: 2, e: 3 }, x: 9, y: 8 };
      const [p, , q = 5, ...r] = [1, 2, undefined, 4, 5];
      const f = (x, y = x + 1, { z } = { z: 3 }, ...more) => [x, y, z, more];
      await echo(0);
      return [a, c, rest, others, p, q, r, f(1), f(1, 2, { z: 4 }, 5, 6), others?.x?.y?.z, others.nope?.(), [...[1, 2], ..."ab"], { ...rest, a }];
    }`,
  "finally with every completion": `
    async function main() {
      const f = async (how) => { for (let i = 0; i < 3; i++) { try { if (how === "return") return "r" + i; if (how === "throw") throw new Error("t" + i); if (how === "break") break; if (how === "continue") continue; } finally { await echo(how + i); } } return "end"; };
      const out = [];
      for (const how of ["return", "break", "continue", "throw"]) { try { out.push(await f(how)); } catch (e) { out.push(e.message); } }
      return out;
    }`,
  "iterators of arrays, Maps, Sets and strings across an await": `
    async function main() {
      const out = [];
      const arr = [1, 2, 3]; for (const v of arr) { out.push(v); await echo(v); if (v === 1) arr.push(4); }
      const m = new Map([["a", 1], ["b", 2], ["c", 3]]);
      for (const [k, v] of m) { out.push(k, v); await echo(k); if (k === "a") { m.delete("b"); m.set("d", 4); } }
      const s = new Set([1, 2, 3]); for (const v of s) { await echo(v); s.delete(v); if (v < 3) s.add(v + 10); out.push(v); if (out.length > 40) break; }
      for (const ch of "a\u{1F600}b") { out.push(ch); await echo(ch); }
      for (const [i, v] of ["x", "y"].entries()) { await echo(i); out.push(i, v); }
      for (const k in { p: 1, q: 2 }) { await echo(k); out.push(k); }
      return out;
    }`,
  "values keep identity and shape": `
    async function main() {
      const o = { self: null, list: [1, , 3], d: new Date(5), r: /a(b)/gi, m: new Map([[1, { x: 1 }]]), s: new Set(["q"]), n: null, u: undefined, z: -0, nan: NaN, big: 123456789012345678901234567890n, sym: Symbol("mine"), u8: new Uint8Array([1, 2, 3]) };
      o.self = o; const sub = o.u8.subarray(1); const frozen = Object.freeze({ a: 1 }); const bare = Object.create(null); bare.k = 1;
      const acc = { get v() { return this.w * 2; }, w: 4 }; const bound = acc.constructor.keys.bind(null, { q: 1 }); o.r.exec("xab");
      const sealed = Object.seal([1]); const wk = Symbol.iterator; const reg = Symbol.for("reg");
      await echo(0);
      sub[0] = 9;
      let threw; try { frozen.a = 2; } catch (e) { threw = e.constructor.name; }
      return [o.self === o, 1 in o.list, o.list.length, o.d.getTime(), o.r.source, o.r.flags, o.r.lastIndex, o.m.get(1).x, o.s.has("q"), Object.is(o.z, -0), o.nan, o.big, String(o.sym), o.u8[1], threw, Object.getPrototypeOf(bare), acc.v, bound(), Object.isSealed(sealed), wk === Symbol.iterator, reg === Symbol.for("reg")];
    }`,
  "job order": `
    async function main() {
      const out = []; const t = (x) => out.push(x);
      const thenable = { then(r) { t("then"); r("T"); } };
      Promise.resolve().then(() => t(1)).then(() => t(2)).then(() => t(3)).then(() => t(4)).then(() => t(5));
      (async () => { t("a"); await null; t("b"); await thenable; t("c"); return Promise.resolve("d"); })().then(t);
      Promise.reject(new Error("e")).catch(() => t("caught")).finally(() => t("fin"));
      queueMicrotask(() => t("micro"));
      new Promise((r) => r(Promise.resolve("nested"))).then(t);
      Promise.race([thenable, 1]).then(t);
      const { promise, resolve } = Promise.withResolvers(); promise.then(t); resolve("with");
      await echo(0);
      return out;
    }`.replace(
    "const { promise, resolve } = Promise.withResolvers();",
    "let resolve; const promise = new Promise((r) => { resolve = r; });",
  ),
  "a promise settled by hand later": `
    async function main() {
      let resolve; const p = new Promise((r) => { resolve = r; });
      const waiting = (async () => (await p) + 1)();
      await echo(0); resolve(41); return await waiting;
    }`,
  "then chains on actions": `
    async function main() { return echo(1).then((x) => echo(x + 1)).then((x) => { throw new Error("n" + x); }).catch((e) => e.message).finally(() => log("done")); }`,
  "error messages": `
    async function main() {
      const out = []; const o = {}; const tries = [() => o.f(), () => o.a.b, () => { null.x = 1; }, () => new o.g(), () => o(), () => { const [x] = 5; }, () => { x; let x = 1; }, () => { const c = 1; return [...o]; }, () => 1n + 1, () => "a" in 5, () => Symbol() + "", () => { class A { constructor() {} } A(); }, () => { class A { constructor() {} } class B extends A { constructor() { this.x = 1; } } new B(); }];
      for (const f of tries) { try { f(); out.push("none"); } catch (e) { out.push(e.constructor.name); } }
      return out;
    }`,
  "the override mistake is not there": `
    async function main() {
      const e = new Error("m"); e.name = "X"; const o = {}; o.toString = () => "mine"; function F() {} F.prototype.valueOf = () => 7; const a = []; a.map = 1;
      const m = new Map(); m.get = () => "got"; await echo(0);
      return [String(e), String(o), +new F(), a.map, m.get(), Object.keys(o)];
    }`,
  "arguments, call, apply, bind, new.target, tagged templates": `
    async function main() {
      function f() { return [...arguments, this?.v, new.target === undefined]; } function G() { this.t = new.target === G; }
      const tag = (s, ...v) => [s, s.raw, v]; const once = () => tag\`a\${1}b\`; const first = once()[0];
      await echo(0);
      return [f.call({ v: 1 }, 2), f.apply({ v: 2 }, [3, 4]), f.bind({ v: 3 }, 5)(6), new G().t, once()[0] === first, once()[0], once()[2], f.name, f.length, f.bind().name];
    }`,
  "sort, reduce, replace and other natives with closures": `
    async function main() {
      const xs = [3, 1, 2].sort((a, b) => a - b); await echo(xs);
      return [xs, xs.reduce((a, b) => a + b), "a-b".replace(/[ab]/g, (c) => c.toUpperCase()), xs.flatMap((x) => [x, x]), Object.entries({ a: 1 }).map(([k, v]) => k + v), JSON.stringify({ d: { toJSON() { return 1; } } }), [..."abc".matchAll(/b/g)].map((m) => m.index), Object.fromEntries(new Map([["k", 1]])), Array.from({ length: 3 }, (_, i) => i * 2)];
    }`,
  "labels, switch, do, comma, exponent, bit operators": `
    async function main() {
      let out = []; outer: for (let i = 0; i < 3; i++) { for (let j = 0; j < 3; j++) { if (j === 1) continue outer; if (i === 2) break outer; out.push([i, j]); await echo(i); } }
      switch (out.length) { case 1: out.push("one"); case 2: out.push("two"); break; default: out.push("d"); }
      let k = 0; do { k += 2; } while (k < 5); const fns = []; for (let i = 0; i < 3; i++) fns.push(() => i); await echo(k);
      return [out, k, 2 ** 10, 5 & 3, 5 | 3, 5 ^ 3, ~5, -9 >> 1, -9 >>> 28, 1 << 4, fns.map((f) => f()), typeof null, void 0, (1, 2)];
    }`,
  "iterators of one's own are closed": `
    async function main() {
      const out = []; const make = (n) => ({ i: 0, [Symbol.iterator]() { return this; }, next() { return { value: this.i, done: this.i++ >= n }; }, return(v) { out.push("return"); return {}; } });
      for (const v of make(5)) { out.push(v); await echo(v); if (v === 1) break; }
      try { for (const v of make(5)) { await echo(v); throw new Error("in"); } } catch (e) { out.push(e.message); }
      const [a, b] = make(9); const [...c] = make(3); out.push(a, b, c); try { new Map(make(2)); } catch (e) { out.push(e.constructor.name); }
      const f = async () => { for (const v of make(4)) { return await echo(v); } }; out.push(await f());
      return out;
    }`,
  "async iterators of one's own": `
    async function main() {
      const out = []; const src = { [Symbol.asyncIterator]() { let i = 0; return { next: async () => ({ value: await echo(i), done: i++ >= 2 }), return: async () => { out.push("closed"); return {}; } }; } };
      for await (const v of src) out.push(v);
      for await (const v of src) { out.push(v); break; }
      try { for await (const v of src) { await fail("in"); } } catch (e) { out.push(e.message); }
      try { for await (const v of [Promise.reject(new Error("rej"))]) out.push(v); } catch (e) { out.push(e.message); }
      async function* inner() { const got = yield 1; out.push(got); try { yield 2; } finally { await echo("fin"); } }
      async function* outer() { const r = yield* inner(); yield r; }
      const it = outer(); out.push(await it.next(), await it.next("sent"), await it.return("bye"), await it.next());
      const th = outer(); await th.next(); try { await th.throw(new Error("thrown")); } catch (e) { out.push(e.message); }
      return out;
    }`,
  "generators: return, throw, already running": `
    async function main() {
      const out = []; function* g() { try { yield 1; yield 2; } catch (e) { out.push("c" + e); yield 3; } finally { yield 4; } }
      const a = g(); out.push(a.next(), a.throw("x")); await echo(0); out.push(a.next(), a.next(), a.next());
      const b = g(); b.next(); await echo(0); out.push(b.return("r"), b.next(), b.return("again")); const c = g(); out.push(c.return(5), c.next());
      let self; function* h() { try { self.next(); } catch (e) { out.push(e.constructor.name); } yield 1; } self = h(); self.next();
      out.push(Object.prototype.toString.call(a), typeof a[Symbol.iterator], a[Symbol.iterator]() === a, Object.getPrototypeOf(a) === g.prototype);
      return out;
    }`,
  "static blocks, private statics, accessors, symbol keys, computed names": `
    async function main() {
      const out = []; const key = Symbol("k");
      class A { static #secret = 1; static { this.made = A.#secret + 1; } static #bump() { return ++A.#secret; } static bump() { return A.#bump(); } [key] = "sym"; ["c" + 1]() { return "comp"; } get #p() { return this.v; } set #p(x) { this.v = x; } touch(x) { this.#p = x; return this.#p; } static async later(x) { return await echo(x) + A.#bump(); } *[Symbol.iterator]() { yield* [1, 2]; } }
      const a = new A(); await echo(0);
      out.push(A.made, A.bump(), a[key], a.c1(), a.touch(4), await A.later(1), [...a], Object.keys(a), A.bump());
      const o = { get x() { return 1; }, set x(v) { out.push("set" + v); }, async m() { return super.toString === Object.prototype.toString; }, ["q" + 1]: 2, __proto__: { inherited: 1 } };
      o.x = 5; await echo(0); out.push(o.x, await o.m(), o.q1, o.inherited, Object.keys(o));
      const E = class extends null { static s = 1; }; out.push(E.s, Object.getPrototypeOf(E.prototype)); const N = class Named {}; out.push(N.name, (class {}).name, (() => {}).name);
      return out;
    }`,
  "a class that extends Promise, and thenables": `
    async function main() {
      class P extends Promise { constructor(f) { super(f); this.mine = true; } }
      const p = P.resolve(1).then((x) => x + 1); const all = P.all([1, echo(2)]); await echo(0);
      return [p instanceof P, p.mine, await p, all instanceof P, await all, await { then(f) { f("th"); } }, await P.reject(new Error("r")).catch((e) => e.message), Promise.name, Object.prototype.toString.call(p)];
    }`,
  "deep recursion and mutual recursion": `
    async function main() { const even = (n) => n === 0 ? true : odd(n - 1), odd = (n) => n === 0 ? false : even(n - 1); const d = (n) => n === 0 ? 0 : 1 + d(n - 1); await echo(0); return [even(3000), d(3000)]; }`,
  "errors keep cause, own properties and class across an await": `
    async function main() {
      class MyError extends TypeError { get name() { return "MyError"; } } const root = new RangeError("root"); const e = new MyError("m", { cause: root }); e.extra = [1];
      const agg = new AggregateError([root], "agg"); let json; try { JSON.parse("{"); } catch (x) { json = x; } await echo(0);
      return [e.cause === root, e.extra, e.name, e instanceof MyError, e instanceof TypeError, String(e), agg.errors[0] === root, json instanceof SyntaxError, typeof json.stack, Object.keys(e)];
    }`,
  "accessors on arrays, holes, frozen arrays, array length": `
    async function main() {
      const a = [1, , 3]; a.extra = "e"; Object.defineProperty(a, "1", { get: () => "got", enumerable: true, configurable: true }); const f = Object.freeze([1, 2]); const l = [1, 2, 3]; Object.defineProperty(l, "length", { writable: false });
      const big = []; big[5] = 1; const args = (function () { return arguments; })(1, 2); const nul = Object.assign(Object.create(null), { x: 1 }); const box = Object("str"); const sub = class extends Set {}; const s2 = new sub([1]); s2.tag = "t";
      await echo(0); let t1, t2; try { f.push(3); } catch (e) { t1 = e.constructor.name; } try { l.push(4); } catch (e) { t2 = e.constructor.name; }
      return [a[1], a.extra, a.length, 5 in big, 4 in big, big.length, t1, t2, args.length, args[1], [...args], Object.prototype.toString.call(args), Object.getPrototypeOf(nul), box + "!", box.length, s2 instanceof sub, s2.has(1), s2.tag];
    }`,
  "sets of loops with closures over each turn, across awaits": `
    async function main() {
      const fs = []; for (let i = 0; i < 3; i++) { await echo(i); fs.push(() => i++); } fs[0](); const out = fs.map((f) => f());
      for (const x of [1, 2]) { await echo(x); fs.push(() => x); } let w = 0; while (w < 2) { const y = w; fs.push(async () => { await echo(y); return y; }); w++; }
      out.push(fs[3](), fs[4](), await fs[5](), await fs[6]()); return out;
    }`,
  "parameters: defaults that see others, arguments after them, rest": `
    async function main() {
      const f = async function (a, b = a + 1, { c = b, ...d } = {}, [e = c] = [], ...r) { await echo(0); return [a, b, c, d, e, r, arguments.length]; }; const g = (x = (() => { throw new Error("needed"); })()) => x;
      let m; try { g(); } catch (e) { m = e.message; } return [await f(1), await f(1, 2, { c: 3, z: 4 }, [5], 6, 7), m, f.length];
    }`,
  "compound assignment, increments, logical assignment, delete, in, instanceof": `
    async function main() {
      const o = { n: 1, b: 5n, s: "a" }; o.n += await echo(2); o.n **= 2; o.b++; o.s += 1; o.u ??= "def"; o.n ||= 0; o.s &&= o.s + "!"; const i = o.n++ + ++o.n; const k = "dyn"; o[k] = 1; o[k] <<= 3; delete o.s;
      let x = "5"; x++; let y = 1n; y = y * 2n ** 10n; await echo(0); return [o, i, x, y, "n" in o, o instanceof Object, typeof o.zz?.a, o?.["n"], (await echo(o))?.n];
    }`,
  "switch with lexical scope, try in loops, nested finally": `
    async function main() {
      const out = []; const f = async (v) => { try { switch (v) { case 0: { let q = await echo("zero"); return q; } case 1: throw new Error("one"); default: let z = 9; out.push(z); } } catch (e) { out.push(e.message); return "caught"; } finally { try { await fail("inner"); } catch (e) { out.push(e.message + v); } finally { out.push("f" + v); } } return "end"; };
      out.push(await f(0), await f(1), await f(2)); const g = () => { try { return "a"; } finally { return "b"; } }; out.push(g()); return out;
    }`,
  "typed arrays, buffers, DataView, Date, JSON, regular expressions": `
    async function main() {
      const b = new ArrayBuffer(16); const v = new DataView(b, 2, 8); const u = new Uint16Array(b, 4, 2); const d = new Date(Date.UTC(2024, 1, 29)); const r = /(?<y>d+)-(d+)/y; r.lastIndex = 1; const m = r.exec("x12-34"); await echo(0);
      v.setInt16(2, -2); u[1] = 7; d.setUTCDate(1);
      return [[...new Uint8Array(b)], v.getInt16(2), u.length, d.toISOString(), r.lastIndex, m.groups.y, m[2], m.index, "aXbX".replaceAll("X", (c, i) => i), "a,b;c".split(/[,;]/), JSON.parse('{"a":[1,{"b":2}]}', (k, x) => typeof x === "number" ? x + 1 : x)];
    }`,
  "a fan-out that settles in any order, with captured loop variables": `
    async function main() {
      const out = []; const jobs = [3, 1, 2].map(async (n, i) => { for (let k = 0; k < n; k++) out.push([i, await echo(k)]); if (n === 2) throw new Error("two"); return n; });
      const all = await Promise.allSettled(jobs); const winner = await Promise.race([echo("a"), sleep(10)]); return [out, all.map((r) => r.value ?? r.reason.message), winner];
    }`,
  "sleeps and un-awaited promises": `
    async function main() { const p = sleep(1000).then(() => "slept"); const q = echo(1); await sleep("1s"); return [await p, await q]; }`,
};

for (const [name, text] of Object.entries(programs)) {
  test(name, async () => {
    const { outcome } = await same(text);
    expect(outcome).toBeDefined();
  });
}
