// What was tried to get out of the realm, to change what instances share, or to learn about the host, as text: bodies of
// functions that answer "ESCAPED" if code ran or the host was seen. Each new built-in adds one.

/** Tries a function as a constructor of functions in every way, and answers "ESCAPED" if code ran. */
export const helpers = `
  const evil = () => "evil";
  const ran = (F) => {
    for (const use of [() => F("return 7")(), () => new F("return 7")(), () => F("a", "return 7").call(), () => F("return globalThis")()]) {
      try {
        const value = use();
        if (value === 7 || (value && typeof value === "object" && "Object" in value)) return "ESCAPED";
      } catch {}
    }
    return "held";
  };
`;

/** Shared behaviour an attack may have bent without leaving a property behind. */
export const intact = `(() => {
  const wrong = [];
  const check = (name, holds) => { if (!holds) wrong.push(name); };
  check("map", [1, 2].map((x) => x * 2).join() === "2,4");
  check("iterate", [...new Map([[1, 2]])].length === 1 && [..."ab"].length === 2 && [..."aa".matchAll(/a/g)].length === 2);
  check("plain", Object.keys({}).length === 0 && ({}).polluted === undefined && [].polluted === undefined && (() => 0).polluted === undefined);
  check("text", String({}) === "[object Object]" && JSON.stringify({ a: [1] }) === '{"a":[1]}');
  check("index", [, 1][0] === undefined && [].length === 0 && Object.getOwnPropertyNames(Array.prototype).every((key) => Number.isNaN(+key)));
  return wrong.join();
})()`;

export const constructors: Record<string, string> = {
  "({}).constructor.constructor": "return ran(({}).constructor.constructor)",
  "arrow.constructor": "return ran((() => {}).constructor)",
  "async.constructor": "return ran((async () => {}).constructor)",
  "generator.constructor": "return ran((function* () {}).constructor)",
  "async generator.constructor": "return ran((async function* () {}).constructor)",
  "generator prototype": "return ran(Object.getPrototypeOf((function* () {})()).constructor.constructor)",
  "generator's prototype chain":
    "let p = (function* () {})(); while (p) { if (Object.hasOwn(p, 'constructor') && ran(p.constructor) === 'ESCAPED') return 'ESCAPED'; p = Object.getPrototypeOf(p) }",
  "Math.max.constructor": "return ran(Math.max.constructor)",
  "Reflect.get": "return ran(Reflect.get(() => {}, 'constructor'))",
  "Reflect.construct": "return Reflect.construct((() => {}).constructor, ['return 7'])() === 7 ? 'ESCAPED' : ''",
  destructuring: "const { constructor: F } = () => {}; return ran(F)",
  "super.constructor": "const o = { m() { return super.constructor } }; return ran(o.m().constructor)",
  "class extends the constructor of functions":
    "class F extends (() => {}).constructor {} return new F('return 7')() === 7 ? 'ESCAPED' : ''",
  "new.target.constructor":
    "let F; (class { constructor() { F = new.target.constructor } }); new (class { constructor() { F = new.target.constructor } })(); return ran(F)",
  __proto__: "return ran((() => {}).__proto__.constructor)",
  __lookupGetter__: "return ran(({}).__lookupGetter__('__proto__').constructor)",
  "arguments.callee": "return (function () { return ran(arguments.callee) })()",
  "arguments.callee getter":
    "return ran((function () { return Object.getOwnPropertyDescriptor(arguments, 'callee').get.constructor })())",
  "caller of a function": "return (function f() { return ran(f.caller) })()",
  "Symbol.hasInstance": "return ran((() => {})[Symbol.hasInstance].constructor)",
  "%TypedArray%": "return ran(Object.getPrototypeOf(Int8Array).constructor)",
  "iterator prototype":
    "return ran(Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())).constructor ?? (() => {}).constructor)",
  "reduce with Reflect.get": "return ran(['constructor'].reduce((o, k) => Reflect.get(o, k), () => {}))",
  "reduce given Reflect.get itself": "return ran(['constructor'].reduce(Reflect.get, () => {}))",
  "Array.from with a mapper": "return ran(Array.from([() => {}], (f) => f.constructor)[0])",
  "bound function": "return ran((() => {}).bind().constructor)",
  "native getter": "return ran(Object.getOwnPropertyDescriptor(Map.prototype, 'size').get.constructor)",
  "import() through a constructor": "return ran((async () => {}).constructor) === 'ESCAPED' ? 'ESCAPED' : ''",
  "a constructor through Function.prototype.call":
    "return Function.prototype.call.call((() => {}).constructor, null, 'return 7')() === 7 ? 'ESCAPED' : ''",
  "eval by any name": "return typeof eval === 'function' && (0, eval)('7') === 7 ? 'ESCAPED' : ''",
  "the descriptor's value, called at once":
    "return ran(Object.getOwnPropertyDescriptor(Object.getPrototypeOf(() => {}), 'constructor').value)",
  "all descriptors": "return ran(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(() => {})).constructor.value)",
};

export const moves: Record<string, string> = {
  "the escape of the host-realm filter: a constructor that no register ever held": `
    const d = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(() => {}), "constructor");
    const h = {}; Object.defineProperty(h, "get", d);
    const p = new Proxy({ toString: () => "a" }, h);
    const o = Object.create(p, { toString: { value: () => "return 7" }, [Symbol.toPrimitive]: { value: undefined } });
    return JSON.stringify(o) === "7" ? "ESCAPED" : "held";`,
  "a descriptor moved into a getter":
    "const o = {}; Object.defineProperty(o, 'get', Object.getOwnPropertyDescriptor(Object.getPrototypeOf(() => {}), 'constructor')); return ran(o.get)",
  "a constructor as a comparator": "try { [1, 2].sort((() => {}).constructor) } catch {} return ''",
  "a constructor as a replacer":
    "return 'x'.replace('x', (async () => {}).constructor) === 'function' ? 'ESCAPED' : ''",
  "a constructor as toJSON": "return JSON.stringify({ toJSON: (() => {}).constructor }) === undefined ? '' : ''",
  "a constructor as species":
    "class A extends Array { static get [Symbol.species]() { return (() => {}).constructor } } return ran(new A(1, 2).map((x) => x))",
};

export const callbacks: Record<string, string> = {
  "a proxy's trap arguments":
    "let F; const p = new Proxy(() => {}, { apply(t) { F = t.constructor } }); p(); return ran(F)",
  "valueOf in a native": "let F; Math.abs({ valueOf() { F = this.constructor.constructor; return 1 } }); return ran(F)",
  "this of toJSON": "let F; JSON.stringify({ toJSON() { F = this.constructor.constructor; return 1 } }); return ran(F)",
  "a JSON reviver":
    "let F; JSON.parse('{\"a\":1}', function () { F = this.constructor.constructor; return 1 }); return ran(F)",
  "a replace callback":
    "let F; 'a'.replace('a', function () { F = Object(this)?.constructor?.constructor ?? evil.constructor; return '' }); return ran(F)",
  "this of a native's callback is not the global object":
    "let self = 0; [1].forEach(function () { self = this }); return self === undefined ? '' : 'ESCAPED'",
  "this of a getter on a primitive":
    "let self; Object.defineProperty(Object.create(null), 'x', { get() { self = this } }).x; return typeof self === 'object' && 'Object' in self ? 'ESCAPED' : ''",
  "overridden exec":
    "const r = /a/; r.exec = function () { return { index: 0, 0: 'a', groups: undefined, length: 1 } }; return ran('a'.replace(r, 'b').constructor.constructor)",
  "a promise executor": "let F; new Promise((resolve) => { F = resolve.constructor }); return ran(F)",
  "reject of an executor":
    "let F; new Promise((_, reject) => { F = reject.constructor }).catch(() => {}); return ran(F)",
  "a native's error": "try { null.x } catch (e) { return ran(e.constructor.constructor) }",
  "a stack overflow's error": "const f = () => f(); try { f() } catch (e) { return ran(e.constructor.constructor) }",
  "an error of a wrapper": "try { Math.random() } catch (e) { return ran(e.constructor.constructor) }",
  "an error of the codec": "try { structuredClone(() => {}) } catch (e) { return ran(e.constructor.constructor) }",
  "an error of the refused Function":
    "try { (() => {}).constructor('x') } catch (e) { return ran(e.constructor.constructor) }",
};

export const reflection: Record<string, string> = {
  prepareStackTrace: "Error.prepareStackTrace = (e, sites) => sites",
  "prepareStackTrace by definition":
    "Object.defineProperty(Error, 'prepareStackTrace', { value: (e, sites) => sites })",
  captureStackTrace: "return typeof Error.captureStackTrace === 'function' ? 'ESCAPED' : ''",
  stackTraceLimit: "return 'stackTraceLimit' in Error ? 'ESCAPED' : ''",
  "stack shows no path of the host":
    "const e = new Error('x'); const s = String(e.stack); return /node:|waymark-vm|evalmachine|vm:[0-9]|file:/.test(s) ? 'ESCAPED' : ''",
  "stack of a native's error":
    "try { null.x } catch (e) { return /node:|waymark-vm|evalmachine|vm:[0-9]|file:/.test(String(e.stack)) ? 'ESCAPED' : '' }",
  "RegExp.$1":
    "/(a)/.exec('a'); return RegExp.$1 === undefined && RegExp.input === undefined && RegExp['$&'] === undefined ? '' : 'ESCAPED'",
  "the text of a native of ours":
    "return /=>|apply\\(/.test(Math.random.toString() + [].fill.toString() + Date.toString()) ? 'ESCAPED' : ''",
  "names of the host":
    "return ['process', 'require', 'Buffer', 'setTimeout', 'fetch', 'WebAssembly', 'SharedArrayBuffer', 'Atomics', 'WeakRef', 'FinalizationRegistry', 'Intl', 'Temporal', 'ShadowRealm', 'gc'].some((name) => { try { return name in new (class {})().constructor || typeof this?.[name] === 'function' } catch { return false } }) ? 'ESCAPED' : ''",
  "names that are left on the global object":
    "return typeof process !== 'undefined' || typeof WebAssembly !== 'undefined' || typeof SharedArrayBuffer !== 'undefined' || typeof Intl !== 'undefined' || typeof WeakRef !== 'undefined' || typeof Atomics !== 'undefined' ? 'ESCAPED' : ''",
};

export const writes: Record<string, string> = {
  direct: "Array.prototype.polluted = 1",
  "by __proto__": "({}).__proto__.polluted = 1",
  "by constructor.prototype": "(() => {}).constructor.prototype.polluted = 1",
  defineProperty: "Object.defineProperty(Object.prototype, 'polluted', { value: 1 })",
  "Reflect.defineProperty":
    "Reflect.defineProperty(Object.prototype, 'polluted', { value: 1 }); Reflect.set(Object.prototype, 'polluted', 1)",
  assign: "Object.assign(Array.prototype, { map: evil })",
  "push.call": "Array.prototype.push.call(Array.prototype, 1)",
  "freeze of a live prototype": "Object.freeze(Map.prototype); Object.seal(Set.prototype)",
  setPrototypeOf: "Object.setPrototypeOf(Array.prototype, { polluted: 1 })",
  "Reflect.setPrototypeOf": "Reflect.setPrototypeOf(Function.prototype, { polluted: 1 })",
  "__proto__ of a prototype": "Array.prototype.__proto__ = { polluted: 1 }",
  __defineGetter__: "Object.prototype.__defineGetter__('polluted', evil)",
  delete: "delete Array.prototype.map",
  "Math.floor": "Math.floor = evil",
  "JSON.stringify": "JSON.stringify = evil",
  "bound fill":
    "[].fill.bind(Array.prototype, evil, 0, 3)(); Array.prototype.fill.call({ __proto__: Array.prototype, length: 2 }, 1)",
  "fill of a shared object":
    "Array.prototype.fill.call(Object.assign(Object.create(null), { length: 1 }), 1); Array.prototype.copyWithin.call(Array.prototype, 0, 1)",
  "a method with this = Object.prototype": "(function () { this.polluted = 1 }).call(Object.prototype)",
  "a setter on Array.prototype[0] to capture arrays":
    "Object.defineProperty(Array.prototype, 0, { set: evil, configurable: true })",
  "a getter on Object.prototype to capture records":
    "Object.defineProperty(Object.prototype, 'value', { get: evil, configurable: true })",
  "a promise's then": "Promise.prototype.then = evil",
  "an error's toString": "Error.prototype.toString = evil; TypeError.prototype.name = 'x'",
  "the thrower itself": "(() => {}).constructor.polluted = 1",
  "a method's own property": "[].map.polluted = 1; Reflect.setPrototypeOf([].map, {})",
  "a refusing mutator": "structuredClone.polluted = 1",
};

export const borrowed: Record<string, string> = {
  "Array.from with a constructor that returns a prototype":
    "Array.from.call(function () { return Array.prototype }, [evil])",
  "Array.of likewise": "Array.of.call(function () { return Array.prototype }, evil)",
  "species that returns an intrinsic":
    "class A extends Array { static get [Symbol.species]() { return function () { return Array.prototype } } } new A(1, 2, 3).map(evil)",
  "species of a plain array's constructor":
    "const a = [1, 2]; a.constructor = { [Symbol.species]: function () { return Object.prototype } }; a.map(evil); a.concat([evil])",
  "a proxy of a prototype": "new Proxy(Array.prototype, {}).polluted = 1",
  "Reflect.set with a shared receiver": "Reflect.set({}, 'polluted', 1, Array.prototype)",
  "Reflect.set through an inherited setter":
    "Reflect.set({ set polluted(v) { this.x = v } }, 'polluted', 1, Object.prototype)",
  "a class whose base returns a prototype":
    "class B { constructor() { return Object.prototype } } class C extends B { polluted = 1 } new C()",
  "a private field on a prototype is no property":
    "class B { constructor() { return Object.prototype } } class C extends B { #p = 1; static has(o) { return #p in o } } try { new C() } catch {}",
  "RegExp's lastIndex on a prototype":
    "RegExp.prototype[Symbol.replace].call({ exec: () => null, flags: 'g', __proto__: RegExp.prototype }, 'a', 'b'); RegExp.prototype.lastIndex = 3",
  "typed array species":
    "class T extends Uint8Array { static get [Symbol.species]() { return function () { return Array.prototype } } } new T(2).map(evil)",
  "Promise species":
    "class P extends Promise { static get [Symbol.species]() { return function () { return Object.prototype } } } P.resolve(1).then(evil)",
  "splice into a prototype": "Array.prototype.splice.call(Array.prototype, 0, 0, evil)",
  "sort of a prototype": "Array.prototype.sort.call(Array.prototype, evil)",
  "Object.fromEntries with __proto__":
    "Object.fromEntries([['__proto__', { polluted: 1 }]]); JSON.parse('{\"__proto__\": {\"polluted\": 1}}')",
  "Object.groupBy with __proto__": "Object.groupBy([1], () => '__proto__')",
  "structuredClone with __proto__": 'structuredClone(JSON.parse(\'{"__proto__": {"polluted": 1}}\'))',
};

export const hidden: Record<string, string> = {
  "the iterator of matchAll": "Object.getPrototypeOf('a'.matchAll(/a/g)).next = evil",
  "the iterator of an array": "Object.getPrototypeOf([][Symbol.iterator]()).next = evil",
  "the iterator of a Map": "Object.getPrototypeOf(new Map().entries()).next = evil",
  "the iterator of a Set": "Object.getPrototypeOf(new Set().values()).next = evil",
  "the iterator of a string": "Object.getPrototypeOf(''[Symbol.iterator]()).next = evil",
  "the parent of iterators": "Object.getPrototypeOf(Object.getPrototypeOf([].values()))[Symbol.iterator] = evil",
  "the prototype of generators": "Object.getPrototypeOf(function* () {}).prototype.next = evil",
  "the prototype of async generators": "Object.getPrototypeOf(async function* () {}).prototype.next = evil",
  "the parent of async iterators":
    "Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}).prototype)[Symbol.asyncIterator] = evil",
  "the prototype of async functions": "Object.getPrototypeOf(async () => {}).polluted = evil",
  "the prototype of native promises": "Object.getPrototypeOf((async () => {})()).then = evil",
  "%TypedArray%.prototype": "Object.getPrototypeOf(Uint8Array.prototype).fill = evil",
  "%ThrowTypeError%": "(function () { Object.getOwnPropertyDescriptor(arguments, 'callee').get.polluted = 1 })()",
  "the unscopables": "Array.prototype[Symbol.unscopables].polluted = true",
  "our own error class":
    "try { Math.random() } catch (e) { Object.getPrototypeOf(e).polluted = 1; e.constructor.polluted = 1 }",
};

export const groups = { constructors, moves, callbacks, reflection, writes, borrowed, hidden };
