// What an instance leaves behind when it ends: actions that nobody waits for run to their end, losers of a race do not.
import { expect, test } from "vitest";
import { action, sleep, workflow } from "waymark";
import { testRun } from "waymark/testing";

const audit = action("unawaitedAudit", async (text: string) => text);
const slow = action("unawaitedSlow", { retry: {} }, async () => {
  throw new Error("never");
});
const failing = action("unawaitedFailing", async () => {
  throw new Error("nobody looked");
});

async function note(text: string): Promise<void> {
  await audit(`${text} 1`);
  await audit(`${text} 2`);
}

const last = workflow("unawaitedLast", async () => {
  audit("bye"); // not awaited on purpose
  return "done";
});
const helper = workflow("unawaitedHelper", async () => {
  void note("step");
  return "done";
});
const race = workflow("unawaitedRace", async () => Promise.race([slow(), sleep("5s").then(() => "timeout")]));
const unseen = workflow("unawaitedUnseen", async () => {
  void failing();
  return "done";
});

for (const crashAt of [undefined, "every-event"] as const) {
  const options = { clock: "skip", ...(crashAt && { crashAt }) } as const;

  test(`an action called last without await is performed (${crashAt ?? "straight"})`, async () => {
    const { result, calls } = await testRun(last, [], options);
    expect([result, calls.map((call) => call.args[0])]).toEqual(["done", ["bye"]]);
  });

  test(`so is everything in a helper that nobody awaits (${crashAt ?? "straight"})`, async () => {
    const { result, calls } = await testRun(helper, [], options);
    expect([result, calls.map((call) => call.args[0])]).toEqual(["done", ["step 1", "step 2"]]);
  });

  test(`the loser of a race holds nothing up (${crashAt ?? "straight"})`, async () => {
    expect((await testRun(race, [], options)).result).toBe("timeout");
  });

  test(`its failure fails the instance, like any rejection that nobody handles (${crashAt ?? "straight"})`, async () => {
    await expect(testRun(unseen, [], options)).rejects.toThrow(/nobody looked/);
  });
}
