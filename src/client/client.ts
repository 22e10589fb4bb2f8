// The client: starts workflows in a store and waits for them. One for each process, over one small store.

import { randomBytes, randomUUID } from "node:crypto";
import { workflowBrand } from "../author/definition.ts";
import type { WorkflowFunction } from "../author/registry.ts";
import type { Handle, HistoryEntry, Runtime, StartRequest, Status } from "../author/runtime.ts";
import { WaymarkError } from "../base/failure.ts";
import { encodeValue } from "../program/value.ts";
import { unpackAttempt, unpackRetry } from "../store/journal.ts";
import { eventKind, type ResultRow, type Started, type StartRow, type Store } from "../store/store.ts";
import { decodePayload, type ErrorClasses, unwrap } from "./outcome.ts";
import { type Compile, Programs } from "./programs.ts";
import { Starts } from "./starts.ts";
import { unknownInstance, Waits } from "./waits.ts";

export interface ClientOptions {
  store: Store;
  compile: Compile;
  /** `run()` returns once the instance is queued. */
  skipWait?: boolean;
}

/** A runtime over `store`, which it owns: `close()` closes it. */
export function openClient({ store, compile, skipWait = false }: ClientOptions): Client {
  return new Client(store, compile, skipWait);
}

export class Client implements Runtime {
  readonly store: Store;
  readonly #name = randomUUID();
  readonly #programs: Programs;
  readonly #starts: Starts;
  readonly #waits: Waits;
  readonly #skipWait: boolean;

  constructor(store: Store, compile: Compile, skipWait: boolean) {
    this.store = store;
    this.#skipWait = skipWait;
    this.#programs = new Programs(store, compile);
    this.#starts = new Starts(store);
    this.#waits = new Waits(store, this.#name);
  }

  async start(request: StartRequest): Promise<Handle<unknown>> {
    const row = this.#row(request, null);
    await this.#put(request.workflow, row);
    return this.#handle(row.id, request.workflow);
  }

  async run(request: StartRequest): Promise<unknown> {
    if (this.#skipWait) {
      await this.start(request);
      return undefined;
    }
    const row = this.#row(request, this.#name);
    const classes = this.#programs.compiled(request.workflow).errorClasses;
    const end = this.#waits.wait(row.id); // from before the start: the notice may come before the reply
    try {
      await this.#waits.listen();
      const { created } = await this.#put(request.workflow, row);
      if (!created) this.#waits.read([row.id]); // it may have ended, and its waiter was somebody else
    } catch (error) {
      this.#waits.leave(row.id);
      throw error;
    }
    return unwrap(await end, classes);
  }

  /** A handle of an instance that was started elsewhere, or earlier. */
  handle(id: string, workflow: WorkflowFunction): Handle<unknown> {
    return this.#handle(id, workflow);
  }

  async close(): Promise<void> {
    await this.#starts.quiet();
    await this.#waits.close();
    await this.store.close();
  }

  #row({ input, options }: StartRequest, waiter: string | null): StartRow {
    return {
      id: options.id ?? randomUUID(),
      input,
      seed: randomBytes(16),
      priority: options.priority,
      startAt: options.delayMs === null ? options.startAt : Date.now() + options.delayMs,
      parent: null,
      waiter,
    };
  }

  async #put(workflow: WorkflowFunction, row: StartRow): Promise<Started> {
    const { format } = this.#programs.compiled(workflow).row;
    const program = await this.#programs.number(workflow);
    const started = await this.#starts.start(program, format, row);
    if (started.created) return started;
    const { name } = workflow[workflowBrand];
    const other = started.program === program ? name : (await this.store.getProgram(started.program))?.workflow;
    if (other !== name) throw taken(row.id, `of workflow "${other}", not "${name}"`);
    if (!started.mine) throw taken(row.id, `of workflow "${name}" with other arguments`);
    return started;
  }

  #handle(id: string, workflow: WorkflowFunction): Handle<unknown> {
    const classes = () => this.#programs.compiled(workflow).errorClasses();
    return {
      id,
      workflow: workflow[workflowBrand].name,
      result: async () => unwrap(await this.#end(id), classes),
      status: async (): Promise<Status> => (await this.#current(id)).status,
      cancel: (reason?: unknown) => this.#cancel(id, reason),
      history: () => this.#history(id, classes),
      signal: async (name: string) => {
        throw new WaymarkError(
          "WM306",
          `Signals are not in this version: ${JSON.stringify(name)} was not sent to instance ${JSON.stringify(id)}.`,
        );
      },
    };
  }

  async #end(id: string): Promise<ResultRow> {
    const end = this.#waits.wait(id);
    try {
      await this.#waits.listen();
    } catch (error) {
      this.#waits.leave(id);
      throw error;
    }
    this.#waits.read([id]);
    return end;
  }

  async #current(id: string): Promise<ResultRow> {
    const [row] = await this.store.results([id]);
    if (row === undefined) throw unknownInstance(id);
    return row;
  }

  async #cancel(id: string, reason: unknown): Promise<boolean> {
    const payload = reason === undefined ? null : encodeValue(reason, { what: "The reason of a cancellation" });
    const { no } = await this.#current(id);
    const [terminated] = await this.store.terminate([no], payload);
    if (terminated !== undefined) {
      this.#waits.read([id]);
      return true;
    }
    const [delivered] = await this.store.deliver([{ no, effect: 0, kind: eventKind.cancel, attempt: 0, payload }]);
    if (delivered === undefined) return false; // it has ended
    const notice =
      delivered.lease === null ? ({ kind: "work" } as const) : ({ kind: "mail", leases: [delivered.lease] } as const);
    await this.store.notify([notice]).catch(() => {}); // a hint: the host's poll finds the mail
    return true;
  }

  async #history(id: string, classes: ErrorClasses): Promise<HistoryEntry[]> {
    const { no } = await this.#current(id);
    const rows = await this.store.history(no);
    return rows.map((stored) => {
      const row = unpackAttempt(stored);
      const payload = row.kind === eventKind.retry ? unpackRetry(row).error : row.payload;
      return {
        seq: row.seq,
        at: new Date(row.at),
        event: eventNames.get(row.kind) ?? unknownEvent(row.kind),
        effect: row.effect === 0 ? null : row.effect,
        attempt: row.attempt === 0 ? null : row.attempt,
        value: decodePayload(payload, classes),
      };
    });
  }
}

type EventName = HistoryEntry["event"];

const eventNames = new Map<number, EventName>(
  (Object.entries(eventKind) as [EventName, number][]).map(([name, kind]) => [kind, name]),
);

function unknownEvent(kind: number): never {
  throw new WaymarkError("WM309", `The journal has an event of kind ${kind}, which this version does not know.`, {
    hint: "A newer waymark wrote it. Upgrade this process.",
  });
}

function taken(id: string, what: string): WaymarkError {
  return new WaymarkError("WM302", `There is an instance ${JSON.stringify(id)} already, ${what}.`, {
    hint: "An id names one workflow with one input: the same start again joins it. Choose another id.",
  });
}
