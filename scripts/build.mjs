// Builds dist/: JavaScript and declarations by tsc, and the VM as one classic script, because the interpreter is
// evaluated inside a realm of its own (src/engine/realm.ts) and cannot be imported there.
import { spawnSync } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const dist = path.join(root, "dist");
await rm(dist, { recursive: true, force: true });
const tsc = path.join(path.dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
const { status } = spawnSync(process.execPath, [tsc, "-p", path.join(root, "tsconfig.build.json")], {
  stdio: "inherit",
});
if (status !== 0) process.exit(status ?? 1);
await mkdir(path.join(dist, "vm"), { recursive: true });
await build({
  entryPoints: [path.join(root, "src/vm/realm.ts")],
  outfile: path.join(dist, "vm/realm.script.js"),
  bundle: true,
  format: "iife",
  globalName: "waymarkVm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: '"use strict";' }, // sloppy `this` would hand the global object to workflow code
});
