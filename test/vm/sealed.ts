// A sealed realm to attack from inside: the VM's replacements, the wrappers and the seal, without a program. The context
// is made as a host makes it, code generation off.
import path from "node:path";
import { type Context, createContext, Script } from "node:vm";
import { build } from "esbuild";
import type { Audit } from "../../src/vm/seal.ts";

const src = path.join(import.meta.dirname, "../../src");

async function bundle(entry: string): Promise<string> {
  const result = await build({
    stdin: { contents: entry, resolveDir: src, loader: "ts" },
    bundle: true,
    write: false,
    format: "iife",
    globalName: "waymarkVm",
    banner: { js: '"use strict";' },
    target: "es2022",
    legalComments: "none",
  });
  return result.outputFiles[0]!.text;
}

/** The realm's script, sealed as it is evaluated. */
export const sealedScript = bundle(`
  import { installReplacements } from "./vm/replace.ts";
  import { wrap, sizes, guardBigint, isOverride, assign } from "./vm/wrappers.ts";
  import { seal, auditRealm, realmGlobals, intrinsicNames } from "./vm/seal.ts";
  import { encodeValue, decodeValue } from "./program/value.ts";
  installReplacements();
  wrap(globalThis);
  seal(globalThis, { keep: ["waymarkVm"] });
  export const audit = () => JSON.stringify(auditRealm());
  export { sizes, guardBigint, isOverride, assign, realmGlobals, intrinsicNames, encodeValue, decodeValue };
`);

export interface Realm {
  context: Context;
  /** Evaluates text in the realm, strict. The value it ends with comes back as text. */
  run(code: string, timeoutMs?: number): string;
  audit(): Audit;
}

export async function sealedRealm(script?: string): Promise<Realm> {
  const context = createContext(Object.create(null), { codeGeneration: { strings: false, wasm: false } });
  new Script(script ?? (await sealedScript), { filename: "vm" }).runInContext(context);
  const run = (code: string, timeout = 10_000): string =>
    new Script(`"use strict"; ${code}`, { filename: "attack" }).runInContext(context, { timeout }) as string;
  return { context, run, audit: () => JSON.parse(run("waymarkVm.audit()")) as Audit };
}
