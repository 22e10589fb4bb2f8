// What the benchmarks run: no-op actions, so that only waymark is measured.
import { action, workflow } from "waymark";

export const noop = action("benchNoop", async (value) => value);

export const chain = workflow("benchChain", async (steps) => {
  let value = 0;
  for (let step = 0; step < steps; step++) value = await noop(value + 1);
  return value;
});

export const fanout = workflow("benchFanout", async (width) => {
  const calls = [];
  for (let index = 0; index < width; index++) calls.push(noop(index));
  const values = await Promise.all(calls);
  return values.length;
});
