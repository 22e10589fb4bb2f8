// Where a worker process finds the user's modules, and the loader it needs to read them: decided before anything is
// spawned, so that a wrong path or a missing loader is one clear error.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { WaymarkError } from "../base/failure.ts";

export interface UserModule {
  /** As configured. */
  name: string;
  /** What the worker imports. */
  specifier: string;
}

/** Paths relative to `cwd`, absolute paths, file URLs, or package specifiers. Throws WM711 for a file that is not there. */
export function resolveModules(names: readonly string[], cwd: string): UserModule[] {
  return names.map((name) => ({ name, specifier: resolveModule(name.trim(), cwd) }));
}

function resolveModule(name: string, cwd: string): string {
  if (name.startsWith("file:")) return existing(fileURLToPath(name), name);
  if (path.isAbsolute(name) || name.startsWith("./") || name.startsWith("../"))
    return existing(path.resolve(cwd, name), name);
  const local = path.resolve(cwd, name);
  if (existsSync(local)) return existing(local, name);
  try {
    return pathToFileURL(createRequire(path.join(cwd, "noop.js")).resolve(name)).href;
  } catch (error) {
    if (path.extname(name) !== "") return existing(local, name);
    // A package with an "import" condition only is invisible to require: the worker's own import() decides.
    if ((error as NodeJS.ErrnoException).code === "ERR_PACKAGE_PATH_NOT_EXPORTED") return name;
    throw new WaymarkError("WM711", `The user module "${name}" is neither a file nor an installed package.`, {
      hint: `Looked for the file ${local} and for a package of that name from ${cwd}. Check WAYMARK_USER_MODULE.`,
      cause: error,
    });
  }
}

function existing(file: string, name: string): string {
  if (existsSync(file)) return pathToFileURL(file).href;
  throw new WaymarkError("WM711", `The user module "${name}" was not found.`, {
    hint: `Looked for ${file}. Paths in WAYMARK_USER_MODULE are relative to the folder the host is started in.`,
  });
}

/** Node options of a worker: those of this process, without what is its alone, and a TypeScript loader if one is needed. */
export function workerArguments(files: readonly string[], cwd: string): string[] {
  const inherited = inheritable(process.execArgv);
  const extra = files.some((file) => /\.[mc]?tsx?$/.test(file)) ? loaderFor(files, inherited, cwd) : [];
  return [...inherited, ...extra];
}

function loaderFor(files: readonly string[], inherited: readonly string[], cwd: string): string[] {
  const options = [...inherited, process.env.NODE_OPTIONS ?? ""].join(" ");
  if (/\btsx\b/.test(options)) return [];
  const strips = Boolean((process.features as { typescript?: unknown }).typescript);
  const jsx = files.some((file) => file.endsWith(".tsx"));
  if (strips && !jsx && inherited.some((option) => option.includes("strip-types"))) return [];
  for (const from of [path.join(cwd, "noop.js"), fileURLToPath(import.meta.url)]) {
    const tsx = resolved("tsx", from);
    if (tsx !== undefined) return ["--import", tsx];
  }
  if (strips && !jsx) return [];
  const file = files.find((each) => (jsx ? each.endsWith(".tsx") : /\.[mc]?tsx?$/.test(each)));
  throw new WaymarkError("WM712", `Node ${process.versions.node} cannot load ${file}: it is TypeScript.`, {
    hint: "Install tsx in your project (npm install --save-dev tsx), start the host with a loader such as node --import tsx, or use Node 22.18 or later, which reads TypeScript itself (not .tsx).",
  });
}

function resolved(name: string, from: string): string | undefined {
  try {
    return pathToFileURL(createRequire(from).resolve(name)).href;
  } catch {
    return undefined; // not installed there
  }
}

const alone = /^--(inspect|debug|watch|test|check|interactive|cpu-prof|heap-prof|input-type|title)/;

/** Options with a value of their own that must go with them. */
const alonePairs = new Set(["-e", "--eval", "-p", "--print", "-pe"]);

function inheritable(options: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < options.length; at++) {
    const option = options[at]!;
    if (alonePairs.has(option)) at++;
    else if (!alone.test(option) && option !== "-c" && option !== "-i") kept.push(option);
  }
  return kept;
}

/** V8 tells where a syntax error is only when it prints one that nobody caught: let a process do that. */
export function located(error: unknown, specifier: string): string {
  const text = described(error);
  const frames = text.split("\n").filter((line) => line.startsWith("    at "));
  const anonymous = error instanceof SyntaxError && frames.every((frame) => frame.includes("node:internal"));
  if (!anonymous) return text;
  const script = `import(${JSON.stringify(specifier)})`;
  const { stderr } = spawnSync(process.execPath, [...process.execArgv, "-e", script], {
    encoding: "utf8",
    timeout: 10_000,
  });
  return stderr.includes("SyntaxError") ? stderr.trim() : text;
}

export function described(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `\n  because: ${described(error.cause)}`;
  return `${error.stack ?? `${error.name}: ${error.message}`}${cause}`;
}
