import { describe, expect, it } from "vitest";
import { action } from "../../src/author/action.ts";
import { actionContext } from "../../src/author/context.ts";
import { type ActionDefinition, actionBrand } from "../../src/author/definition.ts";
import {
  type Dependencies,
  dependency,
  type Ended,
  type Injected,
  invoke,
  overrideDependency,
  parametersOf,
  releaseWorkerDependencies,
} from "../../src/author/dependency.ts";

let declared = 0;

/** Run a function as an action with these dependencies. */
function call<D extends Dependencies>(
  deps: D,
  run: (...args: never[]) => unknown,
  args: readonly unknown[] = [],
): Promise<unknown> {
  const definition: ActionDefinition = {
    name: `test-${++declared}`,
    policy: {},
    dependencies: deps,
    run,
    declaredAt: "test:1:1",
  };
  return invoke(definition, args);
}

describe("the forms of a provider", () => {
  const log: string[] = [];
  const forms: [string, Dependencies["x"]][] = [
    ["a function", () => "value"],
    ["an async function", async () => "value"],
    [
      "a generator",
      function* () {
        yield "value";
        log.push("cleaned");
      },
    ],
    [
      "an async generator",
      async function* () {
        yield "value";
        log.push("cleaned");
      },
    ],
    ["dependency() around a function", dependency({}, () => "value")],
    [
      "dependency() around an async generator",
      dependency({}, async function* () {
        yield "value";
        log.push("cleaned");
      }),
    ],
  ];
  it.each(forms)("%s provides its value as the last parameter", async (form, provider) => {
    log.length = 0;
    const result = await call(
      { x: provider! },
      (a: string, { x }: { x: unknown }) => {
        log.push("ran");
        return `${a} ${x}`;
      },
      ["the"],
    );
    expect(result).toBe("the value");
    expect(log).toEqual(form.includes("generator") ? ["ran", "cleaned"] : ["ran"]);
  });

  it.each([Symbol.dispose, Symbol.asyncDispose])("a disposable is disposed of after the call", async (symbol) => {
    const order: string[] = [];
    const make = () => ({ name: "db", [symbol]: () => void order.push("disposed") });
    await call({ db: make }, ({ db }: { db: { name: string } }) => order.push(db.name));
    expect(order).toEqual(["db", "disposed"]);
  });
});

describe("the life of a call-scoped dependency", () => {
  const order: string[] = [];
  const named = (name: string, deps: Dependencies = {}) =>
    dependency({ deps }, function* () {
      order.push(`open ${name}`);
      yield name;
      order.push(`close ${name}`);
    });

  it("is cleaned up in reverse order, those it needs after it", async () => {
    order.length = 0;
    const a = named("a");
    const b = named("b", { a });
    await call({ b, c: named("c") }, () => order.push("run"));
    expect(order).toEqual(["open a", "open b", "open c", "run", "close c", "close b", "close a"]);
  });

  it("is cleaned up when the action throws, and told so", async () => {
    let ended: Ended | undefined;
    const tx = function* (): Generator<string, void, Ended> {
      ended = yield "tx";
    };
    const failure = new Error("no");
    await expect(
      call({ tx }, () => {
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect(ended).toEqual({ ok: false, error: failure });
  });

  it("is cleaned up when a later one cannot be made", async () => {
    order.length = 0;
    const broken = () => {
      throw new Error("no connection");
    };
    await expect(call({ a: named("a"), broken }, () => order.push("run"))).rejects.toThrow("no connection");
    expect(order).toEqual(["open a", "close a"]);
  });

  it("is made once for one attempt, and again for the next", async () => {
    let made = 0;
    const counter = () => ++made;
    const twice = dependency({ deps: { counter } }, ({ counter }) => counter);
    const run = ({ counter, twice }: { counter: number; twice: number }) => [counter, twice];
    expect(await call({ counter, twice }, run)).toEqual([1, 1]);
    expect(await call({ counter, twice }, run)).toEqual([2, 2]);
  });

  it("fails the attempt if its cleanup fails", async () => {
    const tx = function* () {
      yield "tx";
      throw new Error("commit failed");
    };
    await expect(call({ tx }, () => "done")).rejects.toThrow("commit failed");
  });

  it("sees the context of the action", async () => {
    const key = () => actionContext().idempotencyKey;
    const result = await call({ key }, ({ key }: { key: string }) => [key, actionContext().idempotencyKey]);
    const [provided, own] = result as [string, string];
    expect(provided).toBe(own);
  });
});

describe("the life of a worker-scoped dependency", () => {
  it("is made once, shared by concurrent calls, and closed at the end of the worker", async () => {
    const order: string[] = [];
    const config = dependency({}, function* () {
      order.push("open config");
      yield { url: "db://x" };
      order.push("close config");
    });
    const pool = dependency({ scope: "worker", deps: { config } }, async function* ({ config }) {
      order.push(`open ${config.url}`);
      yield { url: config.url };
      order.push("close pool");
    });
    const run = ({ pool }: { pool: { url: string } }) => pool.url;
    expect(await Promise.all([call({ pool }, run), call({ pool }, run)])).toEqual(["db://x", "db://x"]);
    expect(order).toEqual(["open config", "open db://x"]);
    expect(await releaseWorkerDependencies()).toEqual([]);
    expect(order).toEqual(["open config", "open db://x", "close pool", "close config"]);
  });

  it("is tried again after it could not be made", async () => {
    let tries = 0;
    const pool = dependency({ scope: "worker" }, () => {
      if (++tries === 1) throw new Error("refused");
      return "pool";
    });
    await expect(call({ pool }, () => 1)).rejects.toThrow("refused");
    expect(await call({ pool }, ({ pool }: { pool: string }) => pool)).toBe("pool");
    await releaseWorkerDependencies();
  });

  it("has no action context: it outlives every action", async () => {
    const nosy = dependency({ scope: "worker" }, () => actionContext().attempt);
    await expect(call({ nosy }, () => 1)).rejects.toMatchObject({ code: "WM701" });
  });
});

describe("what is refused", () => {
  it("a value in place of a provider, by name", async () => {
    await expect(call({ db: 5 as never }, () => 1)).rejects.toMatchObject({ code: "WM702", message: /"db"/ });
    expect(() => dependency({ deps: { db: {} as never } }, () => 1)).toThrow(/"db" is an object/);
  });

  it("a generator that yields nothing, or twice", async () => {
    await expect(call({ x: function* () {} }, () => 1)).rejects.toMatchObject({ code: "WM703" });
    const twice = function* () {
      yield 1;
      yield 2;
    };
    await expect(call({ x: twice }, () => 1)).rejects.toMatchObject({ code: "WM703", message: /more than once/ });
  });

  it("a shared disposable handed out by a call-scoped provider", async () => {
    const pool = { [Symbol.dispose]() {} };
    await call({ pool: () => pool }, () => 1);
    await expect(call({ pool: () => pool }, () => 1)).rejects.toMatchObject({ code: "WM703", hint: /scope: "worker"/ });
  });

  it("a cycle made by an override", async () => {
    const db = () => "real";
    const restore = overrideDependency(
      db,
      dependency({ deps: { db } }, ({ db }) => db),
    );
    await expect(call({ db }, () => 1)).rejects.toMatchObject({ code: "WM702", message: /needs itself/ });
    restore();
  });

  it("actionContext() where no action runs", () => {
    expect(() => actionContext()).toThrow(expect.objectContaining({ code: "WM701" }));
  });
});

describe("overrides", () => {
  it("replace a provider, nested ones too, until restored", async () => {
    const db = () => "real";
    const repository = dependency({ deps: { db } }, ({ db }) => `repository on ${db}`);
    const run = ({ repository }: { repository: string }) => repository;
    const restore = overrideDependency(db, () => "fake");
    expect(await call({ repository }, run)).toBe("repository on fake");
    restore();
    expect(await call({ repository }, run)).toBe("repository on real");
  });
});

describe("where the dependencies stand", () => {
  const x = () => "x";
  it.each([
    ["more arguments than parameters", (a: unknown, { x }: { x: string }) => [a, x], ["a", 0, []], ["a", "x"]],
    [
      "trailing arguments left out",
      (a: unknown, b: unknown, { x }: { x: string }) => [a, b, x],
      ["a"],
      ["a", undefined, "x"],
    ],
    [
      "defaults before it",
      (a: unknown, b = "b,(", { x }: { x: string } = { x: "" }) => [a, b, x],
      ["a"],
      ["a", "b,(", "x"],
    ],
    ["nothing else", ({ x }: { x: string }) => x, [], "x"],
  ] as const)("%s", async (_, run, args, expected) => {
    expect(await call({ x }, run as (...args: never[]) => unknown, args)).toEqual(expected);
  });

  it("counts declared parameters", () => {
    const check = (fn: (...args: never[]) => unknown, count: number | null) => expect(parametersOf(fn)).toBe(count);
    check(() => 1, 0);
    check((a: number) => a, 1);
    // biome-ignore format: a trailing comma and a comment are the case
    check((/* , */ a: number, { b }: { b: number[] } = { b: [1, 2] },) => [a, b], 2);
    check(async (a = ")", b = `${1}(`) => [a, b], 2);
    check((...rest: number[]) => rest, null);
    check(async function named(a: number, b: number) {
      return [a, b];
    }, 2);
  });
});

describe("an action called as a plain function", () => {
  it("has a local context with a key of its own, and no signal that fires", async () => {
    const look = action("look", () => ({ ...actionContext(), signal: actionContext().signal.aborted }));
    const first = await look();
    expect(first).toMatchObject({ instanceId: "local", workflow: "local", action: "look", attempt: 1, signal: false });
    expect((await look()).idempotencyKey).not.toBe(first.idempotencyKey);
    expect(actionBrand in look).toBe(true);
  });

  it("gets its dependencies, their types inferred", async () => {
    const getDb = dependency({ scope: "call" }, async () => ({ many: (ids: string[]) => ids.map((id) => ({ id })) }));
    const fetchUsers = action("fetchUsers", { deps: { db: getDb } }, async (ids: string[], { db }) => db.many(ids));
    const users: { id: string }[] = await fetchUsers(["u1"]);
    expect(users).toEqual([{ id: "u1" }]);
  });

  it("injected types", () => {
    const deps = {
      plain: () => 1,
      later: async () => "s",
      yielded: function* () {
        yield true;
      },
      streamed: async function* () {
        yield new Date();
      },
      owned: dependency({ scope: "worker", deps: { n: () => 1 } }, async ({ n }) => [n]),
    };
    type Expected = { plain: number; later: string; yielded: boolean; streamed: Date; owned: number[] };
    const same = (value: Injected<typeof deps>): Expected => value;
    const back = (value: Expected): Injected<typeof deps> => value;
    expect([same, back]).toHaveLength(2);
  });
});
