// The protocol as docs/protocol.md tells it, spoken from the outside on both ends.

import { type ClientDuplexStream, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { decodeValue } from "../../src/program/value.ts";
import { channelOptions, type FromHost, type FromWorker, Outbox, workerHost } from "../../src/workers/protocol.ts";
import { type Expected, type Link, serveWorkers, type WorkerServer } from "../../src/workers/server.ts";
import { attach } from "../../src/workers/worker.ts";
import { task } from "./task.ts";
import "./fixtures/actions.ts";

const pace = { heartbeatMs: 10_000, silentMs: 30_000 };
const nothing = new Uint8Array(0);
let closing: (() => void)[] = [];

afterEach(() => {
  for (const close of closing) close();
  closing = [];
});

async function listen(): Promise<WorkerServer> {
  const server = await serveWorkers("127.0.0.1:0", pace);
  closing.push(() => server.close());
  return server;
}

function dial(server: WorkerServer): ClientDuplexStream<FromWorker, FromHost> {
  const client = new (workerHost())(server.address, credentials.createInsecure(), channelOptions);
  closing.push(() => client.close());
  const attach = client.Attach as unknown as (this: typeof client) => ClientDuplexStream<FromWorker, FromHost>;
  return attach.call(client).on("error", () => {}); // the end of the server ends the call
}

function expecting(more: Partial<Expected>): Expected {
  return { token: "secret", ready() {}, failed() {}, outcomes() {}, closed() {}, bye() {}, ...more };
}

const hello = {
  protocol: 1,
  worker: "w1",
  token: "secret",
  runtime: "python/3.13",
  pid: 7,
  credits: 2,
  actions: ["a"],
};

describe("introduction", () => {
  const refusals: [string, FromWorker, status][] = [
    ["an unknown worker", { hello: { ...hello, worker: "w9" } }, status.UNAUTHENTICATED],
    ["a wrong token", { hello: { ...hello, token: "guess!" } }, status.UNAUTHENTICATED],
    ["no introduction", { heartbeat: {} }, status.UNAUTHENTICATED],
    [
      "a failure that a stranger reports",
      { failed: { worker: "w1", token: "", module: "", error: "" } },
      status.UNAUTHENTICATED,
    ],
    ["another version", { hello: { ...hello, protocol: 2 } }, status.FAILED_PRECONDITION],
  ];
  it.each(refusals)("%s is turned away", async (_, message, code) => {
    const server = await listen();
    const told: string[] = [];
    server.expect("w1", expecting({ ready: () => told.push("ready"), failed: () => told.push("failed") }));
    const stream = dial(server);
    stream.write(message);
    const error = await new Promise<ServiceError>((resolve) => stream.on("error", resolve).on("data", () => {}));
    expect(error.code).toBe(code);
    expect(told).toEqual([]);
  });

  it("a worker of any runtime is welcomed", async () => {
    const server = await listen();
    const stream = dial(server);
    const said = new Promise((resolve) => server.expect("w1", expecting({ ready: resolve })));
    stream.write({ hello });
    const welcome = await new Promise((resolve) => stream.once("data", resolve));
    expect(await said).toEqual(hello);
    expect(welcome).toEqual({ welcome: { protocol: 1, ...pace, messageMax: 64 * 1024 * 1024 } });
  });
});

describe("our worker", () => {
  /** Attach our worker in this process, and hear what it says. */
  async function open(
    concurrency: number,
  ): Promise<{ link: Link; outcomes: () => Promise<Record<string, unknown>[][]> }> {
    const server = await listen();
    const messages: Record<string, unknown>[][] = [];
    let heard = () => {};
    const link = await new Promise<Link>((resolve) => {
      server.expect(
        "w1",
        expecting({
          ready: (_, link) => resolve(link),
          outcomes(outcomes) {
            messages.push(outcomes as unknown as Record<string, unknown>[]);
            heard();
          },
        }),
      );
      attach({ address: server.address, worker: "w1", token: "secret", concurrency }, () => {});
    });
    closing.push(() => link.drain(0));
    return {
      link,
      outcomes: () =>
        new Promise((resolve) => {
          heard = () => resolve(messages);
        }),
    };
  }

  it("echoes metadata byte for byte", async () => {
    const { link, outcomes } = await open(1);
    link.send({ ...task("add", [20, 22]), metadata: new Uint8Array([0, 255, 128]) });
    const [[outcome]] = (await outcomes()) as [[{ done: Uint8Array; metadata: Uint8Array }]];
    expect(decodeValue(outcome.done)).toBe(42);
    expect([...outcome.metadata]).toEqual([0, 255, 128]);
  });

  it("answers tasks sent together together", async () => {
    const { link, outcomes } = await open(100);
    for (let n = 0; n < 100; n++) link.send({ ...task("add", [n, n]), metadata: nothing });
    const messages = await outcomes();
    expect(messages[0]!.length).toBeGreaterThan(10);
  });

  it("answers a cancelled task once, and that", async () => {
    const { link, outcomes } = await open(1);
    const sent = task("hang");
    link.send({ ...sent, metadata: nothing });
    link.cancel([sent.key, "unknown"]);
    expect(await outcomes()).toMatchObject([[{ key: sent.key, cancelled: {} }]]);
  });
});

describe("an outbox", () => {
  it("sends one batch a turn, waits while the stream is full, and splits by size", async () => {
    const sent: number[][] = [];
    let full = false;
    let drained = () => {};
    const sink = {
      write: (batch: number[]) => sent.push(batch) > 0 && !full,
      once: (_: "drain", listener: () => void) => {
        drained = listener;
      },
    };
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const outbox = new Outbox<number, number[]>(
      sink,
      (items) => items,
      (megabytes) => megabytes * 1024 * 1024,
    );
    for (const n of [1, 2, 3]) outbox.push(n);
    await turn();
    expect(sent).toEqual([[1, 2, 3]]);
    full = true;
    outbox.push(4);
    await turn();
    for (const n of [30, 30, 30]) outbox.push(n);
    await turn();
    expect(sent).toEqual([[1, 2, 3], [4]]);
    full = false;
    drained();
    expect(sent).toEqual([[1, 2, 3], [4], [30, 30], [30]]);
  });
});
