// Every example runs, straight and with a crash after every event, and says the same.
import { describe, expect, test } from "vitest";
import { testRun } from "waymark/testing";

import { agent } from "../examples/agent.ts";
import { importAll } from "../examples/import.ts";
import { placeOrder } from "../examples/order.ts";
import { followUp } from "../examples/reminder.ts";

describe.each([
  ["straight", {}],
  ["crashing after every event", { crashAt: "every-event" as const }],
])("%s", (_name, options) => {
  test("an order ships", async () => {
    const { result } = await testRun(placeOrder, [{ id: "o1", sku: "book", amount: 20 }], {
      clock: "skip",
      ...options,
    });
    expect(result).toEqual({ shipped: "o1 shipped, charge-of-o1" });
  });

  test("an order that cannot be paid is undone", async () => {
    const { result, calls } = await testRun(placeOrder, [{ id: "o2", sku: "yacht", amount: 9000 }], {
      clock: "skip",
      ...options,
    });
    expect(result).toEqual({ cancelled: "declined: 9000 is over the limit" });
    expect(calls.map((call) => call.action)).toEqual(["reserve", "charge", "release"]);
  });

  test("the agent uses its tools and answers", async () => {
    const { result } = await testRun(agent, ["How is my day?"], { clock: "skip", ...options });
    expect(result).toEqual({ answer: "sunny in Vienna; nothing on today", turns: 3 });
  });

  test("the import writes what it can and names the rest", async () => {
    const { result, calls } = await testRun(importAll, ["1h"], { clock: "skip", ...options });
    expect(result).toEqual({ written: 14, failed: ["row 2.3 has no key"] });
    expect(calls.filter((call) => call.args[0] === "row 2.3")).toHaveLength(2);
  });

  test("three reminders take three days", async () => {
    const { result } = await testRun(followUp, ["ada"], { clock: "skip", ...options });
    expect(result).toEqual({ reminders: ["ada: reminder 1", "ada: reminder 2", "ada: reminder 3"], days: 3 });
  });
});
