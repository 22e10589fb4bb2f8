// With nothing configured, in a test runner: `run()` and `start()` execute in this process, and waits take no time.

import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { action, NonRetryableError, shutdown, sleep, WorkflowFailed, workflow } from "../../src/index.ts";

class CardDeclined extends NonRetryableError {
  readonly card: string;
  constructor(message: string, card: string) {
    super(message);
    this.name = "CardDeclined";
    this.card = card;
  }
}

const charge = action("memory-charge", async (cents: number): Promise<number> => {
  if (cents > 100) throw new CardDeclined("no money", "4242");
  return cents;
});
const pay = workflow("memory-pay", async (cents: number) => {
  await sleep("24h");
  return (await charge(cents)) + 1;
});
const strict = workflow("memory-strict", async (cents: number) => {
  try {
    return await charge(cents);
  } catch (error) {
    if (error instanceof CardDeclined) throw new CardDeclined("still no money", error.card);
    throw new Error("of another class");
  }
});

beforeAll(() => {
  vi.stubEnv("WAYMARK_DATABASE_URL", "");
});
afterAll(async () => {
  await shutdown();
  vi.unstubAllEnvs();
});

test("run() gives the result", async () => {
  await expect(pay.run(5)).resolves.toBe(6);
});

test("start() gives a handle with the result and the history", async () => {
  const handle = await pay.with({ id: "memory-1" }).start(7);
  await expect(handle.result()).resolves.toBe(8);
  expect(await handle.status()).toBe("completed");
  expect((await handle.history()).map(({ event }) => event)).toEqual(["start", "fired", "done"]);
});

test("an action's error arrives as the cause, with its class where the workflow knows it", async () => {
  const plain = await pay.run(500).catch((error: unknown) => error);
  expect(plain).toBeInstanceOf(WorkflowFailed);
  expect((plain as WorkflowFailed).cause).toMatchObject({ name: "CardDeclined", message: "no money", card: "4242" });
  expect((plain as WorkflowFailed).cause).toBeInstanceOf(NonRetryableError);
  const known = await strict.run(500).catch((error: unknown) => error);
  expect((known as WorkflowFailed).cause).toBeInstanceOf(CardDeclined);
  expect((known as WorkflowFailed).cause).toMatchObject({ message: "still no money", card: "4242" });
});
