// Captured data: plain data is frozen and shared, what cannot be frozen belongs to the instance.
import { expect, test } from "vitest";
import { action, workflow } from "waymark";
import { testRun } from "waymark/testing";

const step = action("constantsStep", async () => null);
const slug = /[^a-z0-9]+/g;
const table = Uint8Array.of(1, 2, 3);
const list = ["a"];
const names = new Map([["a", 1]]);
const mixed = { pattern: /b/g, words: ["x"] };

const title = workflow("constantsTitle", async (text: string) => {
  const first = text.toLowerCase().replace(slug, "-");
  await step();
  return [first, text.toLowerCase().replace(slug, "_"), "abba".replaceAll(mixed.pattern, "c")];
});
const bytes = workflow("constantsBytes", async () => {
  table[0] = table[0]! + 1;
  await step();
  table[1] = table[1]! + table[0]!;
  return [...table];
});
const push = workflow("constantsPush", async () => list.push("b"));
const set = workflow("constantsSet", async () => names.set("b", 2).size);
const pushMixed = workflow("constantsPushMixed", async () => mixed.words.push("y"));

for (const crashAt of [undefined, "every-event"] as const) {
  const options = { clock: "skip", ...(crashAt && { crashAt }) } as const;

  test(`a captured global RegExp can be used (${crashAt ?? "straight"})`, async () => {
    expect((await testRun(title, ["Hello, World"], options)).result).toEqual(["hello-world", "hello_world", "acca"]);
  });

  test(`captured bytes are the instance's own and survive (${crashAt ?? "straight"})`, async () => {
    expect((await testRun(bytes, [], options)).result).toEqual([2, 4, 3]);
    expect((await testRun(bytes, [], options)).result).toEqual([2, 4, 3]);
    expect([...table]).toEqual([1, 2, 3]);
  });

  test(`writing into captured plain data is an error (${crashAt ?? "straight"})`, async () => {
    await expect(testRun(push, [], options)).rejects.toThrow(/constantsPush/);
    await expect(testRun(set, [], options)).rejects.toThrow(/constantsSet/);
    await expect(testRun(pushMixed, [], options)).rejects.toThrow(/constantsPushMixed/);
  });
}
