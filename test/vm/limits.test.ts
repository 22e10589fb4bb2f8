// What ends an activation without a workflow being able to catch it, and what is refused by name.
import { expect, test } from "vitest";
import { decodeValue, encodeError, encodeValue } from "../../src/program/value.ts";
import { machine } from "./realm.ts";
import { compileText, durable } from "./script.ts";

const start = { kind: "start", at: 1000, seed: new Uint8Array(16).fill(3), input: encodeValue([]) } as const;

async function begin(text: string) {
  const vm = await machine();
  const { body, debug } = compileText(text);
  const state = vm.create(vm.load(body, debug));
  return { vm, state, first: vm.deliver(state, start) };
}

test("endless recursion is fatal and names the line", async () => {
  const { first } = await begin(
    "function f() { return 1 + f(); }\nasync function main() { try { f(); } catch (e) { return 'caught'; } }",
  );
  expect(first.outcome).toBe(null);
  expect(first.fatal?.code).toBe("WM443");
  expect(first.fatal?.message).toContain("/src/test.ts:1:");
});

test("recursion through a built-in is fatal before the host's stack ends", async () => {
  const { first } = await begin(
    "const f = (n) => [n].map(f);\nasync function main() { try { f(1); } catch (e) { return 'caught'; } }",
  );
  expect(first.fatal?.code).toBe("WM442");
});

test("a workflow that waits for nothing fails and says where", async () => {
  const { first } = await begin("async function main() {\n  await new Promise(() => {});\n}");
  expect(first.outcome?.kind).toBe("failed");
  const error = decodeValue(first.outcome!.payload) as Error;
  expect(error.message).toContain("/src/test.ts:2:");
});

test("an unhandled rejection fails the instance with that error", async () => {
  const { vm, state, first } = await begin("async function main() { fail('x'); await sleep(1000); return 1; }");
  expect(first.effects.map((e) => e.kind)).toEqual(["action", "timer"]);
  const next = vm.deliver(state, {
    kind: "failed",
    at: 2000,
    effect: 1,
    attempt: 1,
    error: encodeError(new Error("x")),
  });
  expect(next.outcome?.kind).toBe("failed");
  expect(next.dropped).toEqual([2]);
});

test("the first outcome wins", async () => {
  const { vm, state } = await begin("async function main() { const a = echo(1); await sleep(1); return a; }");
  vm.deliver(state, { kind: "done", at: 2, effect: 1, attempt: 1, value: encodeValue("first") });
  const late = vm.deliver(state, { kind: "done", at: 3, effect: 1, attempt: 1, value: encodeValue("second") });
  expect(late.outcome).toBe(null);
  const end = vm.deliver(state, { kind: "fired", at: 4, effect: 2 });
  expect(decodeValue(end.outcome!.payload)).toBe("first");
});

test("a retry is remembered by the pending effect and in a snapshot", async () => {
  const { vm, state } = await begin("async function main() { return echo(1); }");
  vm.deliver(state, { kind: "retry", at: 5, effect: 1, attempt: 1, dueAt: 900, error: null });
  expect(vm.pending(state)).toMatchObject([{ attempt: 2, dueAt: 900, firstAt: 1000 }]);
});

test("a cancellation runs finally blocks, which may wait, and then ends as cancelled", async () => {
  const { vm, state } = await begin(
    "async function main() { try { await sleep('1h'); } finally { await echo('cleanup'); } }",
  );
  const middle = vm.deliver(state, { kind: "cancel", at: 5, reason: null });
  expect(middle.dropped).toEqual([1]);
  expect(middle.effects).toMatchObject([{ kind: "action", name: "echo", no: 2 }]);
  const end = vm.deliver(state, { kind: "done", at: 6, effect: 2, attempt: 1, value: encodeValue(null) });
  expect(end.outcome?.kind).toBe("cancelled");
});

test("with() and runAction() give a policy; a policy for what has left is refused", async () => {
  const { first } = await begin(
    "async function main() { const a = echo.with({ retry: { attempts: 3 } }).with({ timeout: '1m' })(1); const b = runAction(echo(2), { retry: { attempts: 7 } }); await a; await b; }",
  );
  expect(first.effects.map((e) => (e.kind === "action" && e.policy ? decodeValue(e.policy) : null))).toEqual([
    { retry: { attempts: 3 }, timeoutMs: 60000 },
    { retry: { attempts: 7 } },
  ]);
  const { outcome } = await durable(
    "async function main() { const p = echo(1); await p; try { await runAction(p, {}); } catch (e) { return e.code; } }",
  );
  expect(outcome).toEqual({ value: "WM463" });
});

test("sleep, now, random and uuid come from the instance's own time and seed", async () => {
  const text =
    "async function main() { const a = [now(), random(), uuid()]; await sleep('90s'); return [...a, now(), random(), await sleep(new Date(5))]; }";
  const one = await begin(text);
  const two = await begin(text);
  expect(one.first.effects).toEqual([expect.objectContaining({ kind: "timer", dueAt: 91000 })]);
  const fire = (run: typeof one) =>
    run.vm.deliver(run.vm.restore(run.vm.load(...bodies(text)), run.vm.snapshot(run.state)), {
      kind: "fired",
      at: 91000,
      effect: 1,
    });
  expect(fire(one).effects).toEqual(fire(two).effects);
});

const bodies = (text: string): [Uint8Array, Uint8Array] => {
  const { body, debug } = compileText(text);
  return [body, debug];
};

test("a WeakMap alive across an await is refused by name", async () => {
  const { vm, state } = await begin("async function main() { const w = new WeakMap(); await echo(1); return w; }");
  expect(() => vm.snapshot(state)).toThrow(/WeakMap/);
});

test("console lines are logs of the activation", async () => {
  const { logs } = await durable(
    "async function main() { console.log('n', 1, { a: [1, 'x'] }); await echo(1); console.error('%s!', 'e'); }",
  );
  expect(logs).toEqual(["n 1 { a: [ 1, 'x' ] }", "e!"]);
});

test("a child is an effect; start answers a handle", async () => {
  const { vm, state, first } = await begin(
    "async function main() { const r = await child.run(1); const h = await child.with({ id: 'x' }).start(2); return [r, h.id]; }",
  );
  expect(first.effects).toMatchObject([{ kind: "child", name: "child", wait: true, options: null }]);
  const second = vm.deliver(state, { kind: "done", at: 2, effect: 1, attempt: 1, value: encodeValue("r") });
  expect(second.effects).toMatchObject([{ kind: "child", wait: false }]);
  const end = vm.deliver(state, { kind: "done", at: 3, effect: 2, attempt: 1, value: encodeValue("x") });
  expect(decodeValue(end.outcome!.payload)).toEqual(["r", "x"]);
});

test("an error's stack names the user's lines and nothing of the host", async () => {
  const { outcome } = await durable(
    "function inner() {\n  throw new TypeError('bad');\n}\nasync function main() { await echo(1); try { inner(); } catch (e) { return e.stack; } }",
  );
  const { value } = outcome as { value: string };
  expect(value.split("\n").slice(0, 3)).toEqual([
    "TypeError: bad",
    expect.stringMatching(/at inner \(\/src\/test\.ts:2:\d+\)/),
    expect.stringMatching(/at main \(\/src\/test\.ts:4:\d+\)/),
  ]);
  expect(value).not.toContain("node:");
});

test("an endless loop runs out of fuel", { timeout: 60_000 }, async () => {
  const { first } = await begin("async function main() { try { for (;;) {} } catch { return 1; } }");
  expect(first.fatal?.code).toBe("WM441");
});
