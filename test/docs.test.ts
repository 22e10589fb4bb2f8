// Runs every TypeScript block of the guide, in memory, as its own module.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = path.join(import.meta.dirname, "..");
const text = await readFile(path.join(root, "docs/guide.md"), "utf8");
const blocks = [...text.matchAll(/^## (.+)$|^```ts\n([\s\S]*?)^```$/gm)].reduce<{
  section: string;
  found: { section: string; code: string }[];
}>(
  (state, [, section, code]) => {
    if (section) state.section = section;
    else state.found.push({ section: state.section, code: code! });
    return state;
  },
  { section: "", found: [] },
).found;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(import.meta.dirname, ".docs-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

test.each(blocks)("$section", async ({ section, code }) => {
  const file = path.join(directory, `${section.replaceAll(/\W+/g, "-")}.ts`);
  await writeFile(file, code);
  await expect(import(/* @vite-ignore */ file)).resolves.toBeDefined();
});

test("every relative link of README and docs leads somewhere", async () => {
  for (const page of ["README.md", "ARCHITECTURE.md", "docs/guide.md"]) {
    const links = [...(await readFile(path.join(root, page), "utf8")).matchAll(/\]\((?!https?:|#)([^)#]+)/g)];
    for (const [, link] of links) {
      await expect(readFile(path.join(root, path.dirname(page), link!)), `${page} -> ${link}`).resolves.toBeDefined();
    }
  }
});
