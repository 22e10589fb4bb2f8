// Functions with a durable meaning. In a workflow the compiler makes instructions of them; called natively (plain code,
// `.inline()`) they do the ordinary thing.

import { randomUUID } from "node:crypto";
import { type Duration, parseDuration } from "../base/duration.ts";
import { WaymarkError } from "../base/failure.ts";
import { toPolicyData } from "../program/policy.ts";
import { type DurableDefinition, durableBrand, type Policy } from "./definition.ts";

/** Wait for a duration, or until a time. In a workflow: durably, for as long as it takes, at the cost of a row. */
export const sleep: (until: Duration | Date) => Promise<void> = durable("sleep", async (until: Duration | Date) => {
  const end = until instanceof Date ? timeOf(until) : Date.now() + parseDuration(until);
  for (let left = end - Date.now(); left > 0; left = end - Date.now()) {
    await new Promise((wake) => setTimeout(wake, Math.min(left, timerMaxMs)));
  }
});

/** Milliseconds since the epoch. In a workflow: the recorded time of the event it is handling. */
export const now: () => number = durable("now", () => Date.now());

/** A number in [0, 1). In a workflow: drawn from the instance's own seed. */
export const random: () => number = durable("random", () => Math.random());

/** A random UUID (version 4). In a workflow: drawn from the instance's own seed. */
export const uuid: () => string = durable("uuid", () => randomUUID());

/**
 * The predecessor's spelling of `action.with(policy)(...)`: `runAction(charge(order), { retry: { attempts: 3 } })`.
 * Natively the call has been made already: it is awaited, and the policy only checked.
 */
export const runAction: <Result>(call: Result, policy: Policy) => Promise<Awaited<Result>> = durable(
  "runAction",
  async <Result>(call: Result, policy: Policy): Promise<Awaited<Result>> => {
    toPolicyData(policy);
    return await call;
  },
);

const timerMaxMs = 2 ** 31 - 1; // what setTimeout can hold

function durable<F extends (...args: never[]) => unknown>(name: DurableDefinition["name"], native: F): F {
  const definition: DurableDefinition = { name };
  return Object.defineProperties(native, {
    name: { value: name, configurable: true },
    [durableBrand]: { value: definition },
  });
}

function timeOf(date: Date): number {
  const at = date.getTime();
  if (Number.isNaN(at)) throw new WaymarkError("WM201", "sleep() was given an invalid date.");
  return at;
}
