// Everything the compiler can refuse: one table of codes, each with what happened, why it is refused and what to write
// instead. Messages at the terminal and docs/errors.md both come from it. A code, once released, keeps its meaning.
//
// In `message` and `hint`, %word% is a parameter; `diagnostic()` is typed by the words of its row.

import type { At } from "../base/failure.ts";
import { WaymarkError } from "../base/failure.ts";
import type { Refusal } from "../program/globals.ts";

interface Row {
  /** Heading in docs/errors.md. */
  title: string;
  /** What is wrong here, one sentence. */
  message: string;
  /** What to do, one sentence or two. */
  hint: string;
  /** Why it is refused, for docs/errors.md. */
  reason: string;
  /** A worked rewrite. `null` where the remedy is outside the code. */
  rewrite: { before: string; after: string } | null;
}

export const diagnostics = {
  // -- the outside world: 104 to 109 are the codes of `refusedGlobals` in program/globals.ts, and of the VM at run time
  WM102: {
    title: "Not available yet",
    message: "`%what%` is not available in a workflow yet.",
    hint: "Write it another way, or do it in an action.",
    reason: "What the VM does not have is refused by name, never approximated.",
    rewrite: null,
  },
  WM103: {
    title: "Node modules",
    message: "`%what%` comes from the Node module `%module%`, and a workflow may not use it.",
    hint: "Call it in an action.",
    reason:
      "Files, sockets and processes are the outside world: what was read from them must be recorded as an action's result.",
    rewrite: {
      before: 'const text = readFileSync("terms.txt", "utf8");',
      after:
        'const readTerms = action("readTerms", () => readFileSync("terms.txt", "utf8"));\n// in the workflow\nconst text = await readTerms();',
    },
  },
  WM104: {
    title: "The clock and the time zone",
    message: "`%what%` reads the clock, and a workflow may not.",
    hint: 'Use `now()` from "waymark", or read the clock in an action.',
    reason:
      "A workflow may be recovered minutes or months after it began, on another machine. Only a time that was recorded stays the same.",
    rewrite: {
      before: "const deadline = Date.now() + 60_000;",
      after: 'import { now } from "waymark";\nconst deadline = now() + 60_000;',
    },
  },
  WM105: {
    title: "Randomness",
    message: "`%what%` is random, and a workflow must give the same answer after a restart.",
    hint: 'Use `random()` or `uuid()` from "waymark", or make the value in an action.',
    reason:
      "An instance can be recovered from its last snapshot and the events after it. What it did in between must come out the same, so every random value is an event that is recorded.",
    rewrite: {
      before: "const pick = Math.random() < 0.5;",
      after: 'import { random } from "waymark";\nconst pick = random() < 0.5;',
    },
  },
  WM106: {
    title: "Timers",
    message: "`%what%` lives in this process only, and would be lost with it.",
    hint: 'Use `await sleep("10s")` from "waymark": it survives restarts.',
    reason: "A timer of the process holds memory and dies with the process. A durable sleep is a row in the database.",
    rewrite: {
      before: "await new Promise((resolve) => setTimeout(resolve, 3_600_000));",
      after: 'import { sleep } from "waymark";\nawait sleep("1h");',
    },
  },
  WM107: {
    title: "The outside world",
    message: "`%what%` %does%, and a workflow may not reach outside itself.",
    hint: "Put it in an action and call the action from here.",
    reason:
      "A request made by the workflow itself would be made again at recovery, and an instance moves between processes and machines and outlives deploys: their environment and their keys are not part of its state. An action's result is recorded once and never asked for again.",
    rewrite: {
      before:
        'const user = await (await fetch("/users/" + id)).json();\nconst region = process.env.REGION;\nconst key = crypto.randomUUID();',
      after:
        'const fetchUser = action("fetchUser", async (id: string) => (await fetch("/users/" + id)).json());\nconst readRegion = action("readRegion", () => process.env.REGION);\n// in the workflow\nconst user = await fetchUser(id);\nconst region = await readRegion();\nconst key = uuid(); // from "waymark"',
    },
  },
  WM108: {
    title: "Code from elsewhere",
    message: "`%what%` runs code that is not part of the compiled program.",
    hint: "Import what is needed at the top of the module, or do it in an action.",
    reason:
      "The program of an instance is fixed and checked when the instance starts, so that no deploy can change it halfway.",
    rewrite: {
      before: 'const { price } = await import("./price.ts");\nconst total = eval("a + b");',
      after: '// at the top of the file\nimport { price } from "./price.ts";\n// in the workflow\nconst total = a + b;',
    },
  },
  WM109: {
    title: "What one machine decides",
    message: "`%what%` %does%.",
    hint: "Do it in an action and use its result here.",
    reason:
      "When garbage is collected, what another thread wrote, and which languages a machine knows cannot be recorded or restored.",
    rewrite: {
      before: "const label = new Intl.DateTimeFormat().format(date);\nconst lower = a.localeCompare(b) < 0;",
      after: "const label = date.toISOString().slice(0, 10);\nconst lower = a < b;",
    },
  },
  WM110: {
    title: "Unknown name",
    message: "`%name%` is not defined: no variable of that name can be seen from here.",
    hint: "Import or declare it. If it is set on the global object by hand, pass it as an argument instead.",
    reason: "A program is complete when it is compiled; it cannot look for a name later.",
    rewrite: null,
  },
  WM111: {
    title: "Globals of the host",
    message: "`%name%` is a global of this host that a workflow does not have.",
    hint: "Use it in an action, or pass what you need as an argument.",
    reason: "A workflow has the language's own library and nothing of the machine it runs on.",
    rewrite: null,
  },

  // -- what is captured from the module
  WM120: {
    title: "Writing to a captured variable",
    message: "`%name%` belongs to the module, and a workflow or its helpers may not change it.",
    hint: "Keep it in a variable of the workflow, and hand it to helpers as an argument.",
    reason:
      "A module variable is shared by everything in a process and by nothing across processes. A workflow takes its value when it is compiled; a write could go nowhere.",
    rewrite: {
      before:
        'let count = 0;\nworkflow("tally", async (xs: number[]) => { for (const x of xs) count += x; return count; });',
      after:
        'workflow("tally", async (xs: number[]) => { let count = 0; for (const x of xs) count += x; return count; });',
    },
  },
  WM121: {
    title: "A captured value that is not data",
    message: "`%name%` is %what%, and a workflow can only take plain data, functions, classes, actions and workflows.",
    hint: "Use it inside an action. It was reached by %path%.",
    reason:
      "Captured values become constants of a program that is stored and may run years later on another machine. A connection, a promise or an instance of a class has no meaning there.",
    rewrite: {
      before: 'const db = new Client();\nworkflow("load", async (id: string) => (await db.query(id)).rows);',
      after:
        'const load = action("load", { deps: { db: getDb } }, async (id: string, { db }) => (await db.query(id)).rows);\nworkflow("load", async (id: string) => load(id));',
    },
  },
  WM122: {
    title: "A function without source",
    message: "`%name%` is a bound, proxied or built-in function: its source cannot be read.",
    hint: "Capture the original function and call it with an arrow. It was reached by %path%.",
    reason: "Workflow code is compiled from its source, and `toString()` of such a function gives none.",
    rewrite: {
      before: "const price = pricing.price.bind(pricing);",
      after: "const price = (item: Item) => pricePerUnit * item.count;",
    },
  },
  WM123: {
    title: "A function of a package",
    message: "`%name%` is a function of the package `%package%`, which is not listed as safe for workflows.",
    hint: 'Call it in an action, or add "%package%" to `waymark.packages` in %manifest% if it is free of side effects. It was reached by %path%.',
    reason:
      "Packages may keep hidden state, read the clock or draw random numbers. Those you list are compiled into the program like your own helpers, and checked like them.",
    rewrite: {
      before: "{ }",
      after: '{ "waymark": { "packages": ["date-fns"] } }',
    },
  },
  WM124: {
    title: "A constant that looks like a secret",
    message: "`%name%` looks like a secret (%why%), and would be stored in the database as part of the program.",
    hint: "Read it in an action. It was reached by %path%.",
    reason:
      "Constants of a program are stored once, readable by everyone who can read the database, and kept for as long as the program is.",
    rewrite: {
      before: 'const apiKey = process.env.API_KEY;\nworkflow("charge", async (id: string) => charge(id, apiKey));',
      after:
        'const charge = action("charge", async (id: string) => request(id, process.env.API_KEY));\nworkflow("charge", async (id: string) => charge(id));',
    },
  },
  WM125: {
    title: "A variable that is not initialised yet",
    message: "`%name%` is not initialised yet.",
    hint: "Start or run the workflow after all modules are loaded; two modules that import each other can cause this. It was reached by %path%.",
    reason: "Captured values are read when the workflow is first compiled. At that moment this one had no value.",
    rewrite: null,
  },
  WM126: {
    title: "An object that is only a name",
    message: "`%name%` is %what%: a workflow can take a member of it, not the whole.",
    hint: "Name the member where you use it (`%name%.member`), with no computed key. It was reached by %path%.",
    reason:
      "Of an object that is not plain data only the path of constant keys that is really used is taken, so that nothing else around it reaches the database.",
    rewrite: {
      before: 'import * as prices from "./prices.ts";\nconst list = Object.values(prices);',
      after: 'import * as prices from "./prices.ts";\nconst list = [prices.small, prices.large];',
    },
  },
  WM127: {
    title: "A name the scope does not give",
    message: "`scope` of this workflow does not give `%name%`.",
    hint: "Return it from `scope`: `scope: () => ({ %name% })`.",
    reason: "Where a workflow has a `scope`, that is the only place its free variables are taken from.",
    rewrite: {
      before:
        'workflow("w", { scope: () => ({ fetchUsers }) }, async () => { const u = await fetchUsers(); return limit; });',
      after:
        'workflow("w", { scope: () => ({ fetchUsers, limit }) }, async () => { const u = await fetchUsers(); return limit; });',
    },
  },
  WM128: {
    title: "A mocked function",
    message: "`%name%` is a mock of the test runner, and cannot be compiled into a workflow.",
    hint: "Mock what the action does instead: an action's body runs natively, mocks and all. It was reached by %path%.",
    reason: "A mock's source is the spy's, not yours, and its record of calls lives in the test process.",
    rewrite: {
      before: 'const price = vi.fn(() => 1);\nworkflow("w", async () => price());',
      after:
        'const price = vi.fn(() => 1);\nconst getPrice = action("getPrice", () => price());\nworkflow("w", async () => getPrice());',
    },
  },
  WM129: {
    title: "A missing member",
    message: "`%name%` has no member `%member%`.",
    hint: "Check the spelling, or whether the module exports it. It was reached by %path%.",
    reason:
      "The path of constant keys through a captured object is followed when the workflow is compiled, and this one ends early.",
    rewrite: null,
  },
  WM130: {
    title: "Too much is captured",
    message: "`%name%` is too large to be a constant: %size%, and the limit is %limit%.",
    hint: "Take the member you need (`config.mail.from`), pass it as an argument, or load it in an action.",
    reason: "Every captured constant is stored with the program and loaded with every instance of it.",
    rewrite: {
      before: "const name = countries.find((c) => c.code === code)?.name;",
      after:
        'const countryName = action("countryName", (code: string) => countries.find((c) => c.code === code)?.name);\n// in the workflow\nconst name = await countryName(code);',
    },
  },

  // -- what the function is
  WM140: {
    title: "`this` of the surroundings",
    message: "An arrow function uses `this` of its surroundings, which cannot be captured.",
    hint: "Write a class with `run()` and helper methods, or put the value in a `const` outside and use that.",
    reason: "The engine keeps `this` of an arrow function where reflection cannot see it.",
    rewrite: {
      before: 'class Mailer {\n  from = "a@b.c";\n  flow = workflow("mail", async () => send(this.from));\n}',
      after: 'const from = "a@b.c";\nconst flow = workflow("mail", async () => send(from));',
    },
  },
  WM141: {
    title: "`arguments` of the surroundings",
    message: "`arguments` of the surrounding function cannot be captured.",
    hint: "Give the arrow function parameters of its own: `(...args) => ...`.",
    reason: "An arrow function has no `arguments`; those of the function around it are gone when the workflow runs.",
    rewrite: { before: "async () => arguments[0]", after: "async (...args: unknown[]) => args[0]" },
  },
  WM142: {
    title: "`new.target` of the surroundings",
    message: "`new.target` of the surrounding function cannot be captured.",
    hint: "Put what you need in a `const` outside and use that.",
    reason: "The surrounding call is over when the workflow runs.",
    rewrite: null,
  },
  WM144: {
    title: "Sloppy mode",
    message: "%what% exists in sloppy mode only.",
    hint: "Workflows are strict code, as in any module. %advice%",
    reason:
      "The program is compiled as strict code; a construct that means something else there is refused rather than changed.",
    rewrite: { before: "with (order) { total = price * count; }", after: "const total = order.price * order.count;" },
  },
  WM145: {
    title: "Syntax that is not supported yet",
    message: "%syntax% is not supported in a workflow yet.",
    hint: "Write it another way, or do it in an action.",
    reason: "What the compiler does not understand is refused by name, never approximated.",
    rewrite: null,
  },
  WM146: {
    title: "Code compiled for an old target",
    message: "`%name%` was compiled down to %shape%, from which the original cannot be recovered.",
    hint: "Set the compile target (`target` in tsconfig.json, Babel or SWC) to ES2022; ES2017 is the least that works.",
    reason: "Below ES2017 `async` functions and generators become state machines of another library.",
    rewrite: {
      before: '{ "compilerOptions": { "target": "es5" } }',
      after: '{ "compilerOptions": { "target": "es2022" } }',
    },
  },
  WM147: {
    title: "Private members compiled for an old target",
    message: "Private members of `%name%` were compiled down to WeakMaps of the module.",
    hint: "Set the compile target to ES2022 or later.",
    reason: "The privacy of a class would become state of the module, which no instance can keep.",
    rewrite: {
      before: '{ "compilerOptions": { "target": "es2021" } }',
      after: '{ "compilerOptions": { "target": "es2022" } }',
    },
  },
  WM148: {
    title: "Source that does not parse",
    message: "The source of `%name%` does not parse: %why%.",
    hint: "The code may have been packed as bytecode or altered when it was loaded; load it from JavaScript or TypeScript files.",
    reason: "A workflow is compiled from what `toString()` gives.",
    rewrite: null,
  },
  WM149: {
    title: "Decorators",
    message: "%what% is decorated, and the decorator would have to run again.",
    hint: "Call the wrapping function by hand, or leave the decorator off classes that workflows use.",
    reason: "A decorator runs once, when the module is loaded, and may replace what it decorates.",
    rewrite: null,
  },
  WM150: {
    title: "Not a workflow function",
    message: "`%name%` is %what%, and a workflow is an async function or a class with `async run()`.",
    hint: "%advice%",
    reason: "A workflow is called once with its arguments and its promise is its result.",
    rewrite: { before: 'workflow("w", async function* () { yield 1; });', after: 'workflow("w", async () => [1]);' },
  },

  // -- the runtime this is running on
  WM160: {
    title: "The inspector is not permitted",
    message: "Node was started with `--permission`, which denies the inspector that workflows are captured with.",
    hint: "Add `--allow-inspector` (Node 24 and later), use the build plugin, or give `scope` to the workflow.",
    reason: "Free variables of a function are read through the in-process inspector. It opens no port.",
    rewrite: {
      before: 'workflow("w", async () => fetchUsers(limit));',
      after: 'workflow("w", { scope: () => ({ fetchUsers, limit }) }, async () => fetchUsers(limit));',
    },
  },
  WM161: {
    title: "No inspector",
    message: "%runtime% has no inspector that workflows could be captured with.",
    hint: "Use the build plugin, or give `scope: () => ({ a, b })` to the workflow.",
    reason: "Free variables of a function are read through the in-process inspector of Node.",
    rewrite: {
      before: 'workflow("w", async () => fetchUsers(limit));',
      after: 'workflow("w", { scope: () => ({ fetchUsers, limit }) }, async () => fetchUsers(limit));',
    },
  },
  WM162: {
    title: "An asynchronous inspector",
    message: "The inspector of %runtime% answers asynchronously, and capture needs an answer at once.",
    hint: "Use Node, or give `scope: () => ({ a, b })` to the workflow.",
    reason: "Between two answers the values could change.",
    rewrite: null,
  },
  WM163: {
    title: "Scopes are not shown",
    message: "The engine of %runtime% does not show the scopes of functions.",
    hint: "Use a released version of Node (20, 22, 24 or later), the build plugin, or `scope: () => ({ a, b })`.",
    reason: "Capture reads `[[Scopes]]`, which one release of Node (19.2) had switched off.",
    rewrite: null,
  },
  WM164: {
    title: "Capture gave a wrong answer",
    message: "Capture of a known function gave %got% instead of %expected% on %runtime%.",
    hint: "Report it with the version of your runtime. Until then give `scope: () => ({ a, b })` to the workflow.",
    reason:
      "Before the first capture a function with one known variable is captured. A wrong value is worse than none.",
    rewrite: null,
  },
  WM165: {
    title: "`scope` failed",
    message: "`scope` of `%name%` threw: %why%.",
    hint: "`scope` must only return the variables that the workflow uses: `scope: () => ({ a, b })`.",
    reason: "`scope` is called when the workflow is first compiled.",
    rewrite: null,
  },
} as const satisfies Record<string, Row>;

export type DiagnosticCode = keyof typeof diagnostics;

type Words<Text extends string> = Text extends `${string}%${infer Word}%${infer Rest}` ? Word | Words<Rest> : never;

/** The words a row must be given. */
export type Parameters<Code extends DiagnosticCode> = {
  [Word in Words<(typeof diagnostics)[Code]["message"] | (typeof diagnostics)[Code]["hint"]>]: string;
};

export interface Diagnostic {
  code: DiagnosticCode;
  message: string;
  at: At | null;
  frame: string | null;
  hint: string;
  /** Function the problem is in, if it has a name. */
  within: string | null;
}

export function diagnostic<Code extends DiagnosticCode>(
  code: Code,
  parameters: Parameters<Code>,
  at: At | null,
  frame: string | null,
  within: string | null = null,
): Diagnostic {
  const { message, hint } = diagnostics[code];
  return { code, message: fill(message, parameters), at, frame, hint: fill(hint, parameters), within };
}

/** The diagnostic of a global name or `Global.member` path of `refusedGlobals`. */
export function refusal(row: Refusal, at: At | null, frame: string | null, within: string | null = null): Diagnostic {
  if (!isCode(row.code)) throw new TypeError(`refusedGlobals speaks of ${row.code}, which this table does not have`);
  return { code: row.code, message: `${row.reason}.`, at, frame, hint: row.hint, within };
}

export function isCode(code: string): code is DiagnosticCode {
  return Object.hasOwn(diagnostics, code);
}

/** The same row as an error, for what stops a capture at once. */
export function failure<Code extends DiagnosticCode>(
  code: Code,
  parameters: Parameters<Code>,
  options: { cause?: unknown; at?: At } = {},
): WaymarkError {
  const { message, hint } = diagnostics[code];
  return new WaymarkError(code, fill(message, parameters), { hint: fill(hint, parameters), ...options });
}

const indent = "      ";

/** One after the other, as they go to the terminal. `directory` shortens file names (default: none). */
export function printDiagnostics(
  list: readonly Diagnostic[],
  options: { colors?: boolean; directory?: string } = {},
): string {
  return list.map((one) => printDiagnostic(one, options)).join("\n\n");
}

function printDiagnostic(one: Diagnostic, options: { colors?: boolean; directory?: string }): string {
  const paint = options.colors ? ansi : plain;
  const where = [
    one.at === null ? "" : printAt(one.at, options.directory),
    one.within === null ? "" : `in ${one.within}`,
  ]
    .filter((part) => part !== "")
    .join(" ");
  const lines = [`${paint.code(one.code)} ${paint.strong(one.message)}`];
  if (where !== "") lines.push(indent + paint.place(where));
  if (one.frame !== null) lines.push("", ...one.frame.split("\n").map((line) => indent + paint.frame(line)), "");
  lines.push(indent + one.hint);
  return lines.join("\n");
}

/** "src/orders.ts:12:17", relative where the file is inside `directory`. */
export function printAt(at: At, directory?: string): string {
  const inside = directory !== undefined && at.file.startsWith(`${directory}/`);
  return `${inside ? at.file.slice(directory.length + 1) : at.file}:${at.line}:${at.column}`;
}

/** docs/errors.md. */
export function errorsMarkdown(): string {
  const sections = Object.entries(diagnostics as Record<string, Row>).map(([code, row]) => {
    const lines = [
      `## ${code}: ${row.title}`,
      "",
      readable(row.message),
      "",
      `*What to do.* ${readable(row.hint)}`,
      "",
      row.reason,
    ];
    if (row.rewrite !== null) {
      lines.push(
        "",
        "Instead of",
        "",
        "```ts",
        row.rewrite.before,
        "```",
        "",
        "write",
        "",
        "```ts",
        row.rewrite.after,
        "```",
      );
    }
    return lines.join("\n");
  });
  return `${[
    "# Errors of the compiler",
    "Made from the table in `src/compile/diagnostics.ts`. Every message names its code, the place in your source, and what to do.",
    ...sections,
  ].join("\n\n")}\n`;
}

function fill(template: string, parameters: Readonly<Record<string, string>>): string {
  return template.replace(/%(\w+)%/g, (_, word: string) => parameters[word] ?? "").trim();
}

/** A template with its words shown as words: `%what%` becomes `what` in the running text of the docs. */
function readable(template: string): string {
  return template.replace(/%(\w+)%/g, "<$1>").trim();
}

const plain = { code: same, strong: same, place: same, frame: same };
const ansi = {
  code: (text: string) => `\u001b[31m${text}\u001b[39m`,
  strong: (text: string) => `\u001b[1m${text}\u001b[22m`,
  place: (text: string) => `\u001b[36m${text}\u001b[39m`,
  frame: (text: string) => (/^(>| +\| +\^)/.test(text) ? `\u001b[31m${text}\u001b[39m` : `\u001b[2m${text}\u001b[22m`),
};

function same(text: string): string {
  return text;
}
