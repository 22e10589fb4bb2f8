import { expect, test } from "vitest";
import { memoryState, openMemory } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { hour, openLease, putProgram, startRow, storeContract } from "./contract.ts";

storeContract("memory store", async () => {
  const state = memoryState();
  const opened: Store[] = [];
  return {
    open: async () => {
      const store = openMemory(Date.now, state);
      opened.push(store);
      return store;
    },
    close: async () => {
      for (const store of opened) await store.close();
    },
  };
});

test("the memory store lives by the clock it is given", async () => {
  let now = 1_000_000;
  const store = openMemory(() => now);
  await store.start(await putProgram(store), 1, [startRow("a", { startAt: now + 10 })]);
  const lease = await openLease(store, { ttlMs: hour });
  expect(await store.claim(lease, 1, 1, 1)).toEqual([]);
  now += 10;
  expect(await store.claim(lease, 1, 1, 1)).toHaveLength(1);
  now += hour - 10;
  expect((await store.reclaim(1)).fenced).toEqual([]);
  now += 1;
  expect((await store.reclaim(1)).fenced).toEqual([lease]);
});
