// Holds the code to the room table, and ARCHITECTURE.md to both.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";

import { rooms } from "./rooms.ts";

const src = path.join(import.meta.dirname, "..", "src");

function filesIn(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) return filesIn(file);
    return file.endsWith(".ts") ? [file] : [];
  });
}

function importsOf(text: string): string[] {
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+"([^"]+)"|(?:^|[^.\w])import\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s+"([^"]+)"/g,
  );
  return [...found].map((match) => (match[1] ?? match[2] ?? match[3])!);
}

/** Every import that the table does not allow, as `file: reason`. */
function violations(file: string, text: string): string[] {
  const where = path.relative(src, file).split(path.sep).join("/");
  const room = where.includes("/") ? where.split("/")[0]! : "doors";
  if (room === "doors") return [];
  const rule = rooms[room];
  if (!rule) return [`${where}: room ${room} is not in the table`];
  return importsOf(text).flatMap((name) => {
    if (!name.startsWith(".")) {
      return rule.uses.some((used) => name === used || name.startsWith(used.endsWith(":") ? used : `${used}/`))
        ? []
        : [`${where}: ${room} may not use ${name}`];
    }
    const target = path
      .relative(src, path.resolve(path.dirname(file), name))
      .split(path.sep)
      .join("/");
    if (target.startsWith("..")) return [];
    const other = target.includes("/") ? target.split("/")[0]! : "doors";
    return other === room || rule.from.includes(other) ? [] : [`${where}: ${room} may not import ${other} (${name})`];
  });
}

describe("rooms", () => {
  const files = filesIn(src);

  test("every import points to a room above", () => {
    expect(files.flatMap((file) => violations(file, readFileSync(file, "utf8")))).toEqual([]);
  });

  test("the checker finds planted violations", () => {
    const planted =
      'import { a } from "../engine/host.ts";\nimport fs from "node:fs";\nconst b = await import("../store/memory.ts");';
    expect(violations(path.join(src, "vm", "planted.ts"), planted)).toHaveLength(3);
    expect(violations(path.join(src, "cellar", "planted.ts"), planted)).toHaveLength(1);
  });

  test("every file says what it is for", () => {
    const silent = files.filter((file) => !/^(#!.*\n)?(\/\/|\/\*)/.test(readFileSync(file, "utf8")));
    expect(silent.map((file) => path.relative(src, file))).toEqual([]);
  });

  test("ARCHITECTURE.md has the same table", () => {
    const text = readFileSync(path.join(src, "..", "ARCHITECTURE.md"), "utf8");
    const rows = [...text.matchAll(/^\| `(\w+)` \|[^|]*\| ([^|]*) \|$/gm)].map(([, room, from]) => [
      room,
      from!.trim(),
    ]);
    expect(Object.fromEntries(rows)).toEqual(
      Object.fromEntries(
        Object.entries(rooms).map(([room, { from, uses }]) => {
          const outside = uses.filter((name) => name !== "node:");
          return [room, `${from.join(", ") || "–"}${outside.length > 0 ? ` (+ ${outside.join(", ")})` : ""}`];
        }),
      ),
    );
  });

  test("the VM and the program formats know nothing of clocks, chance or Node", () => {
    const banned = /\b(setTimeout|setInterval|setImmediate|process\.|require\(|performance\.)/;
    const guilty = files.filter(
      (file) => /\/(vm|program)\//.test(file) && banned.test(strip(readFileSync(file, "utf8"))),
    );
    expect(guilty.map((file) => path.relative(src, file))).toEqual([]);
  });
});

/** Without comments and strings, where the words may stand. */
function strip(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`/g, "");
}
