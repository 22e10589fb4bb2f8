// Every error code has one meaning and one row, and docs/errors.md says the same. `UPDATE=1` rewrites the page.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { codes } from "../src/base/codes.ts";
import { diagnostics } from "../src/compile/diagnostics.ts";

const root = path.join(import.meta.dirname, "..");
const tables = ["src/base/codes.ts", "src/compile/diagnostics.ts"];
const users = new Map<string, Set<string>>();
const sources = readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
  .map((each) => `src/${each.split(path.sep).join("/")}`)
  .filter((each) => each.endsWith(".ts") && !tables.includes(each));
for (const file of sources) {
  for (const [, quoted, named] of readFileSync(path.join(root, file), "utf8").matchAll(
    /["'`](WM\d{3})["'`]|\b(?:code|fault): ?["'](WM\d{3})/g,
  )) {
    const code = (quoted ?? named)!;
    if (!users.has(code)) users.set(code, new Set());
    users.get(code)?.add(file.split("/")[1] ?? file);
  }
}

const rooms: Record<string, { title: string; users: string[] }> = {
  1: { title: "The compiler's answer", users: ["compile"] },
  2: { title: "Declaring: actions, workflows, policies", users: ["author", "base", "program"] },
  3: { title: "The client", users: ["author", "client"] },
  4: {
    title: "Values, programs and running",
    users: ["program", "author", "engine", "store", "vm", "workers", "testing.ts"],
  },
  5: { title: "The database", users: ["store", "engine"] },
  6: { title: "Commands and settings", users: ["cli", "engine"] },
  7: { title: "Workers, dependencies and the action's context", users: ["workers", "author"] },
  9: { title: "Internal", users: ["vm", "compile", "engine"] },
};

test("every code that is used has one row, in one table", () => {
  const known = [...Object.keys(codes), ...Object.keys(diagnostics)];
  expect(new Set(known).size).toBe(known.length);
  expect([...users.keys()].filter((code) => !known.includes(code))).toEqual([]);
});

test("every row is used", () => {
  expect(Object.keys(codes).filter((code) => !users.has(code))).toEqual([]);
});

test("a code is used by the rooms its range belongs to", () => {
  const strays = Object.keys(codes).flatMap((code) =>
    [...(users.get(code) ?? [])]
      .filter((room) => !rooms[code[2] ?? ""]?.users.includes(room))
      .map((room) => `${code} ${room}`),
  );
  expect(strays).toEqual([]);
});

test("docs/errors.md is what the tables say", () => {
  const file = path.join(root, "docs/errors.md");
  if (process.env.UPDATE === "1") writeFileSync(file, page());
  expect(readFileSync(file, "utf8")).toBe(page());
});

function page(): string {
  const sections = [
    {
      title: "Compiling a workflow",
      rows: Object.entries(diagnostics).map(([code, row]) => ({ code, ...compiled(row) })),
    },
    ...Object.entries(rooms).map(([digit, { title }]) => ({
      title,
      rows: Object.entries(codes)
        .filter(([code]) => code[2] === digit)
        .map(([code, row]) => ({ code, title: row.title, text: row.help })),
    })),
  ];
  const contents = sections.map(
    ({ title }) =>
      `- [${title}](#${title
        .toLowerCase()
        .replaceAll(/[^a-z ]/g, "")
        .replaceAll(" ", "-")})`,
  );
  const body = sections.map(
    ({ title, rows }) =>
      `## ${title}\n\n${rows.map((row) => `### ${row.code}: ${row.title}\n\n${row.text}\n`).join("\n")}`,
  );
  return `# Errors\n\nEvery error of waymark has a code. Here is what each means and what to do about it.\n\n${contents.join("\n")}\n\n${body.join("\n")}`;
}

function compiled(row: (typeof diagnostics)[keyof typeof diagnostics]): { title: string; text: string } {
  const { title, reason, hint, rewrite } = row;
  const example =
    rewrite === null
      ? ""
      : `\n\nBefore:\n\n\`\`\`ts\n${rewrite.before}\n\`\`\`\n\nAfter:\n\n\`\`\`ts\n${rewrite.after}\n\`\`\``;
  return { title, text: `${reason}\n\n${hint.replaceAll("%", "")}${example}` };
}
