// What TypeScript infers for the author: arguments, results, dependencies, handles, children. Compiled by `tsc`; a wrong
// inference is a compile error, and so is a mistake that is not found: each has its `@ts-expect-error`.

import { expectTypeOf } from "vitest";
import { action, dependency, type Handle, now, random, runAction, type Status, sleep, uuid, workflow } from "waymark";

interface User {
  id: string;
  email: string;
  active: boolean;
}
interface Db {
  getMany(ids: string[]): Promise<User[]>;
}
declare const db: Db;

// -- actions
const plain = action("plain", (a: number, b?: string) => `${a}${b}`);
expectTypeOf(plain).parameters.toEqualTypeOf<[a: number, b?: string | undefined]>();
expectTypeOf(plain(1)).toEqualTypeOf<Promise<string>>();
expectTypeOf(plain.actionName).toEqualTypeOf<string>();

const asynchronous = action(
  "asynchronous",
  { retry: { attempts: 3 } },
  async (...ids: string[]): Promise<User[]> => db.getMany(ids),
);
expectTypeOf(asynchronous).parameters.toEqualTypeOf<string[]>();
expectTypeOf(asynchronous("u1")).resolves.toEqualTypeOf<User[]>();
expectTypeOf(asynchronous.with({ timeout: "1m" })).toEqualTypeOf(asynchronous);
expectTypeOf(asynchronous.with({ retry: {} })("u1", "u2")).resolves.toEqualTypeOf<User[]>();

const generic = action("generic", async <T>(value: T): Promise<T[]> => [value]);
expectTypeOf(generic(5)).resolves.toEqualTypeOf<number[]>();
expectTypeOf(generic.with({})("x")).resolves.toEqualTypeOf<string[]>();

const nothing = action("nothing", () => {});
expectTypeOf(nothing()).toEqualTypeOf<Promise<void>>();

// @ts-expect-error: arguments are the user's own
plain("1");
// @ts-expect-error: and no others
plain(1, "2", { retry: {} });
// @ts-expect-error: a policy has known fields
plain.with({ retries: 3 });
// @ts-expect-error: units are strings, numbers or parts
plain.with({ timeout: new Date() });
// @ts-expect-error: attempts is a number
action("wrong", { retry: { attempts: "3" } }, async () => 1);

// -- dependencies
async function* openDb(): AsyncGenerator<Db> {
  yield db;
}
const getConfig = dependency({ scope: "worker" }, () => ({ url: "x" }));
const injected = action(
  "injected",
  { deps: { db: openDb, config: getConfig, at: () => new Date() }, timeout: "1m" },
  async (ids: string[], { db, config, at }) => {
    expectTypeOf(db).toEqualTypeOf<Db>();
    expectTypeOf(config).toEqualTypeOf<{ url: string }>();
    expectTypeOf(at).toEqualTypeOf<Date>();
    return db.getMany(ids);
  },
);
expectTypeOf(injected).parameters.toEqualTypeOf<[ids: string[]]>();
expectTypeOf(injected(["u1"])).resolves.toEqualTypeOf<User[]>();
expectTypeOf(injected.with({ timeout: 5 })(["u1"])).resolves.toEqualTypeOf<User[]>();

const onlyInjected = action("onlyInjected", { deps: { db: async () => db } }, async ({ db }) => db.getMany([]));
expectTypeOf(onlyInjected).parameters.toEqualTypeOf<[]>();
expectTypeOf(onlyInjected()).resolves.toEqualTypeOf<User[]>();

const several = action(
  "several",
  { deps: { db: () => db } },
  (_a: number, _b: string | undefined, { db }: { db: Db }) => db,
);
expectTypeOf(several).parameters.toEqualTypeOf<[_a: number, _b: string | undefined]>();
expectTypeOf(several(1, undefined)).resolves.toEqualTypeOf<Db>();

// @ts-expect-error: what is injected is not passed
injected(["u1"], { db, config: { url: "" }, at: new Date() });
// @ts-expect-error: only what was declared is injected
action("missing", { deps: { db: openDb } }, async (_ids: string[], { mail }: { mail: string }) => mail);

// -- workflows
const welcome = workflow("welcome", async (ids: string[], subject = "Welcome") => {
  const users = await injected(ids);
  expectTypeOf(users).toEqualTypeOf<User[]>();
  const sent = await Promise.allSettled(users.map((user) => plain(user.id.length, subject)));
  expectTypeOf(sent).toEqualTypeOf<PromiseSettledResult<string>[]>();
  await sleep("24h");
  return sent.filter((each) => each.status === "fulfilled").length;
});
expectTypeOf(welcome.run).parameters.toEqualTypeOf<[ids: string[], subject?: string | undefined]>();
expectTypeOf(welcome.run(["u1"])).toEqualTypeOf<Promise<number>>();
expectTypeOf(welcome.inline(["u1"], "Hi")).toEqualTypeOf<Promise<number>>();
expectTypeOf(welcome.start(["u1"])).toEqualTypeOf<Promise<Handle<number>>>();
expectTypeOf(welcome.with({ id: "x", priority: 3, delay: new Date() }).start(["u1"])).resolves.toEqualTypeOf<
  Handle<number>
>();
expectTypeOf(welcome.with({ delay: "5m" }).run(["u1"])).resolves.toEqualTypeOf<number>();
expectTypeOf(welcome.workflowName).toEqualTypeOf<string>();

declare const handle: Handle<number>;
expectTypeOf(handle.id).toEqualTypeOf<string>();
expectTypeOf(handle.result()).toEqualTypeOf<Promise<number>>();
expectTypeOf(handle.status()).toEqualTypeOf<Promise<Status>>();
expectTypeOf(handle.cancel()).toEqualTypeOf<Promise<boolean>>();
expectTypeOf((await handle.history())[0]!.value).toBeUnknown();

// @ts-expect-error: a workflow is not a function
welcome(["u1"]);
// @ts-expect-error: arguments are the function's own
welcome.run("u1");
// @ts-expect-error: options do not ride along with the arguments
welcome.run(["u1"], "Hi", { id: "x" });
// @ts-expect-error: options are known
welcome.with({ identifier: "x" });

const synchronous = workflow("synchronous", (a: number) => a + 1);
expectTypeOf(synchronous.run(1)).toEqualTypeOf<Promise<number>>();

const scoped = workflow("scoped", { scope: () => ({ plain }) }, async (a: number) => plain(a));
expectTypeOf(scoped.run(1)).toEqualTypeOf<Promise<string>>();

// -- children, and a workflow that starts itself
const parent = workflow("parent", async (ids: string[]) => {
  const child = await welcome.start(ids);
  expectTypeOf(child).toEqualTypeOf<Handle<number>>();
  const [one, two] = await Promise.all([welcome.run(ids), child.result()]);
  expectTypeOf(one).toEqualTypeOf<number>();
  return one + two;
});
expectTypeOf(parent.run(["u1"])).resolves.toEqualTypeOf<number>();

const countdown = workflow("countdown", async (n: number): Promise<number> => (n === 0 ? 0 : countdown.run(n - 1)));
expectTypeOf(countdown.run(3)).resolves.toEqualTypeOf<number>();

// -- classes
class Order {
  readonly #prefix = "order";
  async run(id: string, amount?: number): Promise<{ id: string; amount: number }> {
    return { id: `${this.#prefix}-${id}`, amount: amount ?? 0 };
  }
}
const order = workflow("order", Order);
expectTypeOf(order.run).parameters.toEqualTypeOf<[id: string, amount?: number | undefined]>();
expectTypeOf(order.run("1")).resolves.toEqualTypeOf<{ id: string; amount: number }>();
expectTypeOf(workflow("order", {}, Order).inline("1", 2)).resolves.toEqualTypeOf<{ id: string; amount: number }>();

class Shapeless {}
class Constructed {
  readonly n: number;
  constructor(n: number) {
    this.n = n;
  }
  async run() {}
}
// @ts-expect-error: a class needs run()
workflow("shapeless", Shapeless);
// @ts-expect-error: nothing gives the constructor its arguments
workflow("constructed", Constructed);

// -- durable functions
expectTypeOf(now()).toEqualTypeOf<number>();
expectTypeOf(random()).toEqualTypeOf<number>();
expectTypeOf(uuid()).toEqualTypeOf<string>();
expectTypeOf(sleep({ minutes: 10 })).toEqualTypeOf<Promise<void>>();
expectTypeOf(runAction(plain(1), { retry: { attempts: 2 } })).toEqualTypeOf<Promise<string>>();
// @ts-expect-error: a policy is needed
runAction(plain(1));

// -- no `any` reaches the user
expectTypeOf(plain).not.toBeAny();
expectTypeOf(plain(1)).not.toBeAny();
expectTypeOf(plain.with).not.toBeAny();
expectTypeOf(injected).parameter(0).not.toBeAny();
expectTypeOf(injected(["x"])).resolves.not.toBeAny();
expectTypeOf(welcome.run).not.toBeAny();
expectTypeOf(welcome.run).parameter(0).not.toBeAny();
expectTypeOf(welcome.run(["x"])).resolves.not.toBeAny();
expectTypeOf(welcome.with({})).not.toBeAny();
expectTypeOf(handle.result()).resolves.not.toBeAny();
expectTypeOf(order.run("1")).resolves.not.toBeAny();
expectTypeOf(runAction(plain(1), {})).resolves.not.toBeAny();
