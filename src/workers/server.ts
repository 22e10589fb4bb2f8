// The host's end of the protocol: listens, lets in only the workers it was told to expect, and gives each of them a
// link. It knows messages and credits; which worker gets what is the pool's business.

import { timingSafeEqual } from "node:crypto";
import { createServer } from "node:net";
import { Server, ServerCredentials, type ServerDuplexStream, status } from "@grpc/grpc-js";
import { WaymarkError } from "../base/failure.ts";
import {
  type AttachHandler,
  channelOptions,
  type Failed,
  type FromHost,
  type FromWorker,
  type Hello,
  messageMax,
  Outbox,
  protocolVersion,
  taskBytes,
  type WireOutcome,
  type WireTask,
  workerHost,
} from "./protocol.ts";

/** What the host wants to know of one worker it expects. */
export interface Expected {
  token: string;
  ready(hello: Hello, link: Link): void;
  failed(failed: Failed): void;
  outcomes(outcomes: readonly WireOutcome[]): void;
  /** It wants to leave. */
  bye(): void;
  /** The stream is over, whoever ended it. */
  closed(why: string): void;
}

/** An attached worker. */
export interface Link {
  send(task: WireTask): void;
  cancel(keys: string[]): void;
  drain(graceMs: number): void;
  heartbeat(): void;
  /** When something was last heard, by `performance.now()`. */
  heard(): number;
  /** Take what has happened until now as heard: after this process itself stood still. */
  forgive(): void;
  end(): void;
}

export interface WorkerServer {
  readonly address: string;
  expect(worker: string, expected: Expected): void;
  forget(worker: string): void;
  close(): void;
}

export interface Pace {
  heartbeatMs: number;
  silentMs: number;
}

type Stream = ServerDuplexStream<FromWorker, FromHost>;

const introductionMs = 10_000;

/** Listen at `address`. Throws WM713 if it cannot be had. */
export async function serveWorkers(address: string, pace: Pace): Promise<WorkerServer> {
  const expected = new Map<string, Expected>();
  const server = new Server(channelOptions);
  const handler: AttachHandler = (stream) => introduce(stream, expected, pace);
  server.addService(workerHost().service, { Attach: handler });
  const port = await bind(server, address);
  return {
    address: address.replace(/:0$/, `:${port}`),
    expect: (worker, who) => void expected.set(worker, who),
    forget: (worker) => void expected.delete(worker),
    close: () => server.forceShutdown(),
  };
}

async function bind(server: Server, address: string): Promise<number> {
  try {
    await probe(address);
    return await new Promise((resolve, reject) => {
      server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
  } catch (error) {
    server.forceShutdown();
    const why = error instanceof Error ? error.message : String(error);
    throw new WaymarkError("WM713", `The worker protocol cannot listen at ${address}: ${why}`, {
      hint: "Set WAYMARK_WORKER_GRPC_ADDR to a free host:port, or leave it unset to take any free port.",
      cause: error,
    });
  }
}

/** A port that is taken is ordinary, and grpc-js would shout about it on stderr: see first. */
async function probe(address: string): Promise<void> {
  const [, host, port] = /^\[?([^[\]/]+?)\]?:([1-9]\d*)$/.exec(address) ?? [];
  if (host === undefined) return; // any port, or an address of another kind
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port: Number(port) }, resolve);
  });
  await new Promise((resolve) => server.close(resolve));
}

function introduce(stream: Stream, expected: ReadonlyMap<string, Expected>, pace: Pace): void {
  const late = setTimeout(() => refuse(stream, status.DEADLINE_EXCEEDED, "no Hello was sent"), introductionMs);
  stream.on("error", () => clearTimeout(late)); // "close" or "cancelled" follows
  stream.once("close", () => clearTimeout(late));
  stream.once("data", (first: FromWorker) => {
    clearTimeout(late);
    const { hello, failed } = first;
    const who = expected.get(hello?.worker ?? failed?.worker ?? "");
    if (who === undefined || !sameToken(who.token, hello?.token ?? failed?.token ?? "")) {
      return refuse(stream, status.UNAUTHENTICATED, "this host did not start that worker");
    }
    if (failed) {
      who.failed({ ...failed, module: failed.module ?? "", error: failed.error ?? "" });
      return void stream.end();
    }
    if (hello?.protocol !== protocolVersion) {
      return refuse(stream, status.FAILED_PRECONDITION, `this host speaks version ${protocolVersion} of the protocol`);
    }
    stream.write({ welcome: { protocol: protocolVersion, ...pace, messageMax } });
    who.ready({ ...hello, actions: hello.actions ?? [], credits: hello.credits ?? 0 }, linkTo(stream, who));
  });
}

function linkTo(stream: Stream, who: Expected): Link {
  const outbox = new Outbox<WireTask, FromHost>(stream, (tasks) => ({ dispatch: { tasks } }), taskBytes);
  let heard = performance.now();
  let over = false;
  const close = (why: string) => {
    if (over) return;
    over = true;
    outbox.close();
    who.closed(why);
  };
  stream.on("data", (message: FromWorker) => {
    heard = performance.now();
    if (message.outcomes) who.outcomes(message.outcomes.outcomes ?? []);
    else if (message.bye) who.bye();
  });
  stream.on("end", () => {
    stream.end();
    close("it closed the stream");
  });
  stream.on("cancelled", () => close("its connection broke"));
  stream.on("error", (error: Error) => close(`its connection broke: ${error.message}`));
  const write = (message: FromHost) => {
    if (!over) stream.write(message);
  };
  return {
    send: (task) => outbox.push(task),
    cancel(keys) {
      outbox.flush(); // a cancellation must not overtake its task
      write({ cancel: { keys } });
    },
    drain(graceMs) {
      outbox.flush();
      write({ drain: { graceMs } });
    },
    heartbeat: () => write({ heartbeat: {} }),
    heard: () => heard,
    forgive: () => {
      heard = performance.now();
    },
    end: () => stream.end(),
  };
}

function refuse(stream: Stream, code: status, details: string): void {
  stream.emit("error", { code, details });
}

function sameToken(ours: string, theirs: string): boolean {
  const a = Buffer.from(ours);
  const b = Buffer.from(theirs);
  return a.length === b.length && timingSafeEqual(a, b);
}
