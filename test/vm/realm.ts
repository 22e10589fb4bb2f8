// The VM under test is the script in a realm, as it runs in a host: bundled once here, evaluated in a fresh realm for
// each machine.
import path from "node:path";
import { build } from "esbuild";
import { createMachine } from "../../src/engine/realm.ts";
import type { Machine } from "../../src/vm/machine.ts";

let script: string | undefined;

export async function bundle(): Promise<string> {
  if (script !== undefined) return script;
  const result = await build({
    entryPoints: [path.join(import.meta.dirname, "../../src/vm/realm.ts")],
    bundle: true,
    write: false,
    format: "iife",
    globalName: "waymarkVm",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
  });
  script = result.outputFiles[0]!.text;
  return script;
}

export async function machine(): Promise<Machine> {
  return createMachine({ script: await bundle() });
}
