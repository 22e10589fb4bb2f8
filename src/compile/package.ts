// Which package a file belongs to, and which packages a project lets into its workflows (`waymark.packages` in its
// package.json).

import { fileOf } from "./position.ts";

/** Name of the package a file or URL is installed as, or `null` for the project's own files. */
export function packageOf(url: string): string | null {
  const inside = url.split(/[\\/]node_modules[\\/]/).at(-1);
  if (inside === undefined || inside === url) return null;
  const [first, second] = inside.split(/[\\/]/);
  // pnpm keeps packages in node_modules/.pnpm/name@version/node_modules/name: the last part counts.
  return first?.startsWith("@") ? `${first}/${second}` : (first ?? null);
}

export interface Allowed {
  packages: ReadonlySet<string>;
  /** The package.json that decides, or `null` where there is none above the module. */
  manifest: string | null;
}

const known = new Map<string, Allowed>();

/** From the nearest package.json above a workflow's module. Read once a directory. */
export function allowedPackages(url: string | null): Allowed {
  const file = url === null ? "" : fileOf(url);
  const { dirname, isAbsolute } = process.getBuiltinModule("node:path");
  const directory = isAbsolute(file) ? dirname(file) : process.cwd();
  let allowed = known.get(directory);
  if (allowed === undefined) {
    allowed = read(directory);
    known.set(directory, allowed);
  }
  return allowed;
}

function read(directory: string): Allowed {
  const { readFileSync } = process.getBuiltinModule("node:fs");
  const { dirname, join } = process.getBuiltinModule("node:path");
  for (let at = directory; ; at = dirname(at)) {
    const manifest = join(at, "package.json");
    let text: string | null = null;
    try {
      text = readFileSync(manifest, "utf8");
    } catch {
      // none here: look further up
    }
    if (text !== null) return { packages: listed(text), manifest };
    if (dirname(at) === at) return { packages: new Set(), manifest: null };
  }
}

function listed(text: string): Set<string> {
  try {
    const { waymark } = JSON.parse(text) as { waymark?: { packages?: unknown } };
    const packages = waymark?.packages;
    return new Set(Array.isArray(packages) ? packages.filter((name) => typeof name === "string") : []);
  } catch {
    return new Set(); // a package.json that does not parse lists nothing
  }
}
