// The worker's end of the protocol: attaches to the host, performs what it is sent, reports, leaves when told. It never
// outlives its host: a lost stream, a silent host or a new parent ends the process at once.

import { credentials, type ServiceError } from "@grpc/grpc-js";
import { releaseWorkerDependencies } from "../author/dependency.ts";
import { actionNamed, registeredActions } from "../author/registry.ts";
import { systemClock } from "../base/clock.ts";
import type { Report, Task } from "../engine/dispatch.ts";
import {
  channelOptions,
  type FromHost,
  type FromWorker,
  Outbox,
  outcomeBytes,
  protocolVersion,
  type Sink,
  type Welcome,
  type WireOutcome,
  type WireTask,
  workerHost,
} from "./protocol.ts";
import { Slots } from "./slots.ts";

/** What the environment tells a worker. */
export interface Identity {
  address: string;
  worker: string;
  token: string;
  concurrency: number;
}

interface Stream extends Sink<FromWorker> {
  on(event: "data", listener: (message: FromHost) => void): this;
  on(event: "end", listener: () => void): this;
  on(event: "error", listener: (error: ServiceError) => void): this;
  end(): void;
}

/** What cleaning up worker-scoped dependencies may take: the host ends a worker that takes longer. */
const releaseMs = 2_000;

/** Ends the process. `code` 0 where the worker left as agreed. */
export type Exit = (code: number, why: string) => void;

function open(identity: Identity): { stream: Stream; close: () => void } {
  const Client = workerHost();
  const client = new Client(identity.address, credentials.createInsecure(), channelOptions);
  const attach = client.Attach as unknown as (this: typeof client) => Stream;
  return { stream: attach.call(client), close: () => client.close() };
}

/** Tell the host that this worker cannot become ready; resolves once that is sent. */
export function attachFailed(identity: Identity, module: string, error: string): Promise<void> {
  return new Promise((resolve) => {
    const { stream, close } = open(identity);
    const done = () => {
      close();
      resolve();
    };
    stream
      .on("data", () => {})
      .on("end", done)
      .on("error", done);
    stream.write({
      failed: { worker: identity.worker, token: identity.token, module, error: error.slice(0, 1_000_000) },
    });
    stream.end();
  });
}

/** Attach and work until `exit` is called. */
export function attach(identity: Identity, exit: Exit): { terminate(): void } {
  const { stream, close } = open(identity);
  const metadata = new Map<string, Uint8Array>();
  const outbox = new Outbox<WireOutcome, FromWorker>(stream, (outcomes) => ({ outcomes: { outcomes } }), outcomeBytes);
  const answer = (key: string, outcome: Omit<WireOutcome, "key" | "metadata">) => {
    outbox.push({ key, ...outcome, metadata: metadata.get(key) ?? nothing });
    metadata.delete(key);
  };
  const slots = new Slots(actionNamed, systemClock, (report) => answer(report.key, wireOutcome(report)));
  let leaving = false;
  let asked = false;
  let heard = performance.now();
  let pulse: NodeJS.Timeout | undefined;

  const leave = async (graceMs: number) => {
    if (leaving) return;
    leaving = true;
    await within(graceMs, slots.idle());
    slots.cancelAll();
    await within(releaseMs, releaseWorkerDependencies());
    clearInterval(pulse);
    outbox.flush();
    stream.end();
  };

  const welcome = ({ heartbeatMs, silentMs }: Welcome) => {
    let beat = performance.now();
    pulse = setInterval(() => {
      const now = performance.now();
      // A late beat is this process having stood still: what the host said meanwhile is still unread.
      if (now - beat > 2 * heartbeatMs) heard = now;
      beat = now;
      if (now - heard > silentMs) exit(1, `the host has been silent for ${silentMs} ms`);
      stream.write({ heartbeat: {} });
    }, heartbeatMs);
  };

  stream.on("data", (message) => {
    heard = performance.now();
    if (message.dispatch) {
      for (const task of message.dispatch.tasks) {
        if (task.metadata?.length > 0) metadata.set(task.key, task.metadata);
        slots.start(taskOf(task));
      }
    } else if (message.cancel) {
      for (const key of message.cancel.keys) if (slots.cancel(key)) answer(key, { cancelled: {} });
    } else if (message.drain) void leave(message.drain.graceMs ?? 0);
    else if (message.welcome) welcome(message.welcome);
  });
  stream.on("end", () => {
    close();
    exit(leaving ? 0 : 1, "the host closed the stream");
  });
  stream.on("error", (error) => exit(leaving ? 0 : 1, `the host is gone: ${error.details || error.message}`));

  stream.write({
    hello: {
      protocol: protocolVersion,
      worker: identity.worker,
      token: identity.token,
      runtime: `node/${process.versions.node.split(".")[0]}`,
      pid: process.pid,
      credits: identity.concurrency,
      actions: [...registeredActions().keys()],
    },
  });

  return {
    terminate() {
      // The first asks to leave in good order, whoever sent it: what is on its way here is still taken, until the host
      // answers with Drain. The host sends a second once the grace is over.
      if (leaving || asked) exit(1, "terminated");
      asked = true;
      stream.write({ bye: {} });
    },
  };
}

const nothing = new Uint8Array(0);

/** Fields with their default value are absent on the wire. */
function taskOf(task: WireTask): Task {
  return {
    key: task.key,
    instance: task.instance ?? "",
    workflow: task.workflow ?? "",
    action: task.action ?? "",
    effect: task.effect ?? 0,
    attempt: task.attempt ?? 0,
    idempotencyKey: task.idempotencyKey ?? "",
    args: task.args ?? nothing,
    timeoutMs: task.timeoutMs ?? 0,
  };
}

function wireOutcome(report: Report): Omit<WireOutcome, "key" | "metadata"> {
  switch (report.kind) {
    case "done":
      return { done: report.value };
    case "failed": {
      const { error, retryable, retryAfterMs } = report;
      return { failure: { error, retryable, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) } };
    }
    case "timeout":
      return { timeout: {} };
    case "missing":
      return { missing: {} };
    case "lost":
      throw new Error("waymark is broken: a worker cannot report its own loss");
  }
}

function within(ms: number, work: Promise<unknown>): Promise<unknown> {
  if (ms === Number.POSITIVE_INFINITY) return work;
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return Promise.race([work, limit]).finally(() => clearTimeout(timer));
}
