// Clients that wait for an instance, as the one string a queue row keeps: names apart by a space, the newest last.

import { WaymarkError } from "../base/failure.ts";

// More than this forget the first; who is forgotten finds the result at its next poll.
const waiterMax = 16;

export function waitersOf(list: string | null): string[] {
  return list ? list.split(" ") : [];
}

export function withWaiter(list: string | null, waiter: string): string {
  checkWaiter(waiter);
  const others = waitersOf(list).filter((each) => each !== waiter);
  return [...others, waiter].slice(-waiterMax).join(" ");
}

export function checkWaiter(waiter: string): void {
  if (/^[^\s]{1,100}$/.test(waiter)) return;
  throw new WaymarkError("WM570", `${JSON.stringify(waiter)} cannot name a waiting client.`, {
    hint: "Use 1 to 100 characters without white space.",
  });
}

/** Gather ids by waiter, for one notice each. */
export function addWaiter(ended: { waiter: string; ids: string[] }[], waiter: string, id: string): void {
  const found = ended.find((each) => each.waiter === waiter);
  if (found) found.ids.push(id);
  else ended.push({ waiter, ids: [id] });
}
