// The global names a workflow may use, and those it may not with the reason. The compiler reads this table to refuse
// early; the VM's sealed realm must offer exactly `vmGlobals`. Names only: what they are is the VM's business.

/** Constructors, namespaces and functions of the sealed realm. */
export const vmGlobals: ReadonlySet<string> = new Set([
  "Object", "Function", "Array", "String", "Number", "Boolean", "Symbol", "BigInt",
  "Error", "TypeError", "RangeError", "ReferenceError", "SyntaxError", "EvalError", "URIError", "AggregateError", "SuppressedError",
  "Math", "JSON", "Reflect", "Proxy", "Promise", "Map", "Set", "WeakMap", "WeakSet", "Date", "RegExp", "Iterator",
  "ArrayBuffer", "DataView", "Uint8Array", "Int8Array", "Uint16Array", "Int16Array", "Uint32Array", "Int32Array",
  "Uint8ClampedArray", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array",
  "parseInt", "parseFloat", "isNaN", "isFinite", "encodeURIComponent", "decodeURIComponent", "encodeURI", "decodeURI",
  "console", "structuredClone", "URL", "queueMicrotask",
]); // biome-ignore format: a table

export interface Refusal {
  /** Row of the diagnostics table. */
  code: string;
  /** What it does that a workflow may not. */
  reason: string;
  hint: string;
}

const clock = (name: string): Refusal => ({
  code: "WM104",
  reason: `\`${name}\` reads the clock, and a workflow may not`,
  hint: 'Use `now()` from "waymark", or read the clock in an action.',
});
const chance = (name: string, use: string): Refusal => ({
  code: "WM105",
  reason: `\`${name}\` is random, and a workflow must give the same answer after a restart`,
  hint: `Use \`${use}\` from "waymark", or make the value in an action.`,
});
const timer = (name: string): Refusal => ({
  code: "WM106",
  reason: `\`${name}\` lives in this process only, and would be lost with it`,
  hint: 'Use `await sleep("10s")` from "waymark": it survives restarts.',
});
const outside = (name: string, what: string): Refusal => ({
  code: "WM107",
  reason: `\`${name}\` ${what}, and a workflow may not reach outside itself`,
  hint: "Put it in an action and call the action from here.",
});
const dynamic = (name: string): Refusal => ({
  code: "WM108",
  reason: `\`${name}\` runs code that is not part of the compiled program`,
  hint: "Import what is needed at the top of the module, or do it in an action.",
});
const nondeterministic = (name: string, what: string): Refusal => ({
  code: "WM109",
  reason: `\`${name}\` ${what}`,
  hint: "Do it in an action and use its result here.",
});

/** Global names (and `Global.member` paths) that are refused by name. */
export const refusedGlobals: ReadonlyMap<string, Refusal> = new Map<string, Refusal>([
  ["Date.now", clock("Date.now()")],
  ["new Date()", clock("new Date()")],
  ["Date()", clock("Date()")],
  ["performance", clock("performance")],
  ["Temporal.Now", clock("Temporal.Now")],
  ["Math.random", chance("Math.random()", "random()")],
  ["crypto", outside("crypto", "is this host's cryptography")],
  ["setTimeout", timer("setTimeout")],
  ["setInterval", timer("setInterval")],
  ["setImmediate", timer("setImmediate")],
  ["clearTimeout", timer("clearTimeout")],
  ["clearInterval", timer("clearInterval")],
  ["clearImmediate", timer("clearImmediate")],
  ["AbortSignal.timeout", timer("AbortSignal.timeout")],
  ["fetch", outside("fetch", "talks to the network")],
  ["XMLHttpRequest", outside("XMLHttpRequest", "talks to the network")],
  ["WebSocket", outside("WebSocket", "talks to the network")],
  ["EventSource", outside("EventSource", "talks to the network")],
  ["process", outside("process", "is this machine's process")],
  ["navigator", outside("navigator", "is this machine's environment")],
  ["localStorage", outside("localStorage", "is storage of this process")],
  ["sessionStorage", outside("sessionStorage", "is storage of this process")],
  ["global", outside("global", "is the whole of this process")],
  ["globalThis", outside("globalThis", "is the whole of this process")],
  ["window", outside("window", "is a browser's page")],
  ["document", outside("document", "is a browser's page")],
  ["self", outside("self", "is the whole of this process")],
  ["Buffer", outside("Buffer", "is Node's memory")],
  ["__dirname", outside("__dirname", "is a path on this machine")],
  ["__filename", outside("__filename", "is a path on this machine")],
  ["exports", outside("exports", "is the module's mutable state")],
  ["module", outside("module", "is the module's mutable state")],
  ["SharedArrayBuffer", nondeterministic("SharedArrayBuffer", "is memory shared with other threads")],
  ["Atomics", nondeterministic("Atomics", "is memory shared with other threads")],
  ["WeakRef", nondeterministic("WeakRef", "depends on when memory is collected")],
  ["FinalizationRegistry", nondeterministic("FinalizationRegistry", "depends on when memory is collected")],
  ["Intl", nondeterministic("Intl", "depends on the language data of the machine it runs on")],
  ["AbortController", outside("AbortController", "controls work of this process")],
  ["AbortSignal", outside("AbortSignal", "controls work of this process")],
  ["WebAssembly", dynamic("WebAssembly")],
  ["require", dynamic("require")],
  ["import()", dynamic("import()")],
  ["import.meta", outside("import.meta", "is a path on this machine")],
  ["eval", dynamic("eval")],
  ["Function()", dynamic("Function()")],
  ["new Function()", dynamic("new Function()")],
]);
