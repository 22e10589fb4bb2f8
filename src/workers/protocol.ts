// The worker protocol as TypeScript: message types of proto/worker.proto, limits, and the one way to send. See
// docs/protocol.md for what each side must do.

import { fileURLToPath } from "node:url";
import {
  type ChannelOptions,
  type handleBidiStreamingCall,
  loadPackageDefinition,
  type ServiceClientConstructor,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

export const protocolVersion = 1;

/** Bytes of one gRPC message. */
export const messageMax = 64 * 1024 * 1024;

export interface Hello {
  protocol: number;
  worker: string;
  token: string;
  runtime: string;
  pid: number;
  credits: number;
  actions: string[];
}

export interface Failed {
  worker: string;
  token: string;
  module: string;
  error: string;
}

export interface WireTask {
  key: string;
  instance: string;
  workflow: string;
  action: string;
  effect: number;
  attempt: number;
  idempotencyKey: string;
  args: Uint8Array;
  timeoutMs: number;
  metadata: Uint8Array;
}

export interface WireOutcome {
  key: string;
  done?: Uint8Array;
  failure?: { error: Uint8Array; retryable: boolean; retryAfterMs?: number };
  timeout?: Record<never, never>;
  missing?: Record<never, never>;
  cancelled?: Record<never, never>;
  metadata: Uint8Array;
}

export interface Welcome {
  protocol: number;
  heartbeatMs: number;
  silentMs: number;
  messageMax: number;
}

/** Exactly one of them is set. */
export interface FromWorker {
  hello?: Hello;
  failed?: Failed;
  outcomes?: { outcomes: WireOutcome[] };
  heartbeat?: Record<never, never>;
  bye?: Record<never, never>;
}

/** Exactly one of them is set. */
export interface FromHost {
  welcome?: Welcome;
  dispatch?: { tasks: WireTask[] };
  cancel?: { keys: string[] };
  heartbeat?: Record<never, never>;
  drain?: { graceMs: number };
}

export type AttachHandler = handleBidiStreamingCall<FromWorker, FromHost>;

interface Loaded {
  waymark: { worker: { v1: { WorkerHost: ServiceClientConstructor } } };
}

let service: ServiceClientConstructor | undefined;

/** The gRPC service, read from the package's proto/ folder at first use: the same path from src/ and from dist/. */
export function workerHost(): ServiceClientConstructor {
  if (service === undefined) {
    const file = fileURLToPath(new URL("../../proto/worker.proto", import.meta.url));
    const definition = loadSync(file, { longs: Number, arrays: true, defaults: false });
    service = (loadPackageDefinition(definition) as unknown as Loaded).waymark.worker.v1.WorkerHost;
  }
  return service;
}

export const channelOptions: ChannelOptions = {
  "grpc.max_receive_message_length": messageMax,
  "grpc.max_send_message_length": messageMax,
  "grpc.enable_http_proxy": 0, // an http_proxy in the environment is not meant for the process next door
};

/** The end of a stream that messages are written to. */
export interface Sink<Message> {
  write(message: Message): boolean;
  once(event: "drain", listener: () => void): unknown;
}

const itemsMax = 1_000;

/**
 * Collects items and sends them in batches: what came in one turn of the event loop, and while the stream is full,
 * what came meanwhile. No delay is ever added.
 */
export class Outbox<Item, Message> {
  readonly #sink: Sink<Message>;
  readonly #pack: (items: Item[]) => Message;
  readonly #bytes: (item: Item) => number;
  #items: Item[] = [];
  #waiting = false;
  #closed = false;

  constructor(sink: Sink<Message>, pack: (items: Item[]) => Message, bytes: (item: Item) => number) {
    this.#sink = sink;
    this.#pack = pack;
    this.#bytes = bytes;
  }

  push(item: Item): void {
    this.#items.push(item);
    if (this.#waiting) return;
    this.#waiting = true;
    process.nextTick(() => this.flush());
  }

  /** Send what the stream takes now. */
  flush(): void {
    this.#waiting = false;
    while (this.#items.length > 0 && !this.#closed) {
      if (this.#sink.write(this.#pack(this.#next()))) continue;
      this.#waiting = true;
      this.#sink.once("drain", () => this.flush());
      return;
    }
  }

  close(): void {
    this.#closed = true;
    this.#items = [];
  }

  #next(): Item[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#items.length && count < itemsMax) {
      bytes += this.#bytes(this.#items[count]!);
      if (bytes > messageMax && count > 0) break;
      count++;
    }
    return this.#items.splice(0, count);
  }
}

/** Bytes an item takes on the wire, rounded up: strings as UTF-8 are at most three bytes a unit. */
export function taskBytes(task: WireTask): number {
  const { key, instance, workflow, action, idempotencyKey } = task;
  const text = key.length + instance.length + workflow.length + action.length + idempotencyKey.length;
  return task.args.length + task.metadata.length + 3 * text + 64;
}

export function outcomeBytes(outcome: WireOutcome): number {
  const payload = (outcome.done?.length ?? 0) + (outcome.failure?.error.length ?? 0);
  return payload + outcome.metadata.length + 3 * outcome.key.length + 64;
}
