// What was tried to get out of the realm, to change what instances share, or to learn about the host. Each attack is
// JavaScript evaluated inside the sealed realm by the engine itself, which is more than a workflow can do: what holds
// here holds for the VM's instructions. An attack answers "ESCAPED" if it got code to run or saw the host; afterwards the
// audit must find the realm as it was.
import { createContext, Script } from "node:vm";
import { beforeAll, describe, expect, test } from "vitest";
import { borrowed, constructors, groups, helpers, hidden, intact, moves, reflection, writes } from "./attacks.ts";
import { type Realm, sealedRealm, sealedScript } from "./sealed.ts";

let realm: Realm;
let before: unknown;
beforeAll(async () => {
  realm = await sealedRealm();
  before = realm.audit();
});

function attack(code: string): void {
  let answer: string;
  try {
    answer = realm.run(`(() => { ${helpers}; ${code} })()`);
  } catch (error) {
    answer = `threw ${String(error)}`;
  }
  expect(String(answer)).not.toMatch(/ESCAPED|SyntaxError|ReferenceError/);
  expect(realm.audit()).toEqual(before);
  expect(realm.run(intact)).toBe("");
}

describe.each(Object.entries(groups))("%s", (_group, attacks) => {
  test.each(Object.entries(attacks))("%s", (_name, code) => attack(code));
});

test("the same attacks get through where nothing is sealed", () => {
  let through = 0;
  for (const code of Object.values({ ...constructors, ...moves, ...reflection, ...writes, ...borrowed, ...hidden })) {
    const open = createContext(Object.create(null));
    const run = (text: string): unknown => new Script(`"use strict"; ${text}`).runInContext(open);
    try {
      if (run(`(() => { ${helpers}; ${code} })()`) === "ESCAPED") through++;
      else if (run(intact) !== "") through++;
    } catch {
      through++; // the attack broke what the check itself stands on
    }
  }
  expect(through).toBeGreaterThan(40);
});

test("a planted hole is found by the audit", async () => {
  const script = await sealedScript;
  const holed = script.replace(/freeze\d*\(object\);/, (text) => `if (object !== Math) ${text}`);
  expect(holed).not.toBe(script);
  const broken = await sealedRealm(holed);
  broken.run("Math.evil = () => 1; ''");
  expect(broken.audit().violations).toEqual(
    expect.arrayContaining(["Math is not frozen", "Math.evil is not in the list"]),
  );
});
