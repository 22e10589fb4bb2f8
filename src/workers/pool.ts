// Worker processes as an ActionPool: keeps `count` of them alive, gives each attempt to the one with the least to do,
// and reports what became of it. An attempt whose worker died is reported lost once that process is gone for sure, so
// that two attempts of one call never overlap.

import { randomBytes } from "node:crypto";
import { systemClock } from "../base/clock.ts";
import { WaymarkError } from "../base/failure.ts";
import type { ActionPool, Report, Task } from "../engine/dispatch.ts";
import { resolveModules, type UserModule, workerArguments } from "./modules.ts";
import { refused, valueMax } from "./perform.ts";
import { entry, type Gone, type Log, type Spawned, spawnWorker } from "./process.ts";
import type { Hello, WireOutcome, WireTask } from "./protocol.ts";
import { type Expected, type Link, serveWorkers, type WorkerServer } from "./server.ts";

export type { Log } from "./process.ts";

export interface ProcessPoolOptions {
  /** Worker processes. */
  count: number;
  /** Most attempts at once in one of them. */
  concurrency: number;
  /** What the workers load before they take work: paths relative to `cwd`, absolute, or package specifiers. */
  modules: readonly string[];
  /** Where the worker protocol listens, host:port. Default 127.0.0.1:24118, or a free port where that is taken. */
  address?: string | undefined;
  /** False: somewhere else will do where `address` is taken. */
  addressExplicit?: boolean;
  log: Log;
  onEvent?: (event: WorkerEvent) => void;
  /** Another program that speaks the worker protocol, instead of this package's own worker. */
  command?: readonly string[];
  /** Attempts after which a process is replaced. Default: never. */
  maxLifecycle?: number | null;
  /** Default: the folder this process runs in. */
  cwd?: string;
  /** How often each side sends a sign of life. Default 1 s. */
  heartbeatMs?: number;
  /** Silence after which a worker is taken for dead, its event loop blocked. Default 30 s. */
  silentMs?: number;
  /** How long a worker may take to load its modules. Default 60 s. */
  startMs?: number;
}

export type WorkerEvent =
  | { kind: "spawned" | "ready" | "leaving"; worker: string; pid: number }
  | { kind: "gone"; worker: string; pid: number; how: string; lost: number };

export interface ProcessPool extends ActionPool {
  readonly address: string;
  /** Those that take work now. */
  workers(): { id: string; pid: number; inFlight: number }[];
}

const defaultAddress = "127.0.0.1:24118";

/**
 * Start workers; resolves when each of them is ready or has failed. Throws WM711 to WM716, with nothing left running,
 * if none could start.
 */
export async function processPool(options: ProcessPoolOptions): Promise<ProcessPool> {
  atLeastOne("count", options.count);
  atLeastOne("concurrency", options.concurrency);
  const cwd = options.cwd ?? process.cwd();
  const modules = resolveModules(options.modules, cwd);
  const command = options.command ?? [process.execPath, ...workerArguments(filesOf(modules), cwd), entry];
  const pace = { heartbeatMs: options.heartbeatMs ?? 1_000, silentMs: options.silentMs ?? 30_000 };
  const server = await listen(options, pace);
  const pool = new Pool(options, pace, modules, command, server);
  const failures = await pool.start();
  if (failures.length === options.count) {
    await pool.close(0);
    throw failures[0]!;
  }
  return pool;
}

function atLeastOne(option: string, value: number): void {
  if (Number.isInteger(value) && value >= 1) return;
  throw new WaymarkError("WM716", `processPool: ${option} is ${value}, not a whole number from 1.`, {
    hint: "WAYMARK_WORKER_COUNT and WAYMARK_CONCURRENT_PER_WORKER set the number of workers and of attempts in each.",
  });
}

function filesOf(modules: readonly UserModule[]): string[] {
  return [...modules.map(({ specifier }) => specifier), entry];
}

async function listen(options: ProcessPoolOptions, pace: Pace): Promise<WorkerServer> {
  const { address = defaultAddress, addressExplicit = options.address !== undefined, log } = options;
  if (addressExplicit) return serveWorkers(address, pace);
  try {
    return await serveWorkers(address, pace);
  } catch (error) {
    if (!(error instanceof WaymarkError)) throw error;
    const server = await serveWorkers("127.0.0.1:0", pace);
    log.info({ address: server.address }, `${address} is taken: the worker protocol listens at a free port`);
    return server;
  }
}

interface Pace {
  heartbeatMs: number;
  silentMs: number;
}

/** A place that is always to be filled by one worker. */
interface Seat {
  member: Member | undefined;
  /** On its way to replace a living member. */
  successor: Member | undefined;
  /** Short lives in a row. */
  failures: number;
  timer: NodeJS.Timeout | undefined;
}

const newSeat = (): Seat => ({ member: undefined, successor: undefined, failures: 0, timer: undefined });

interface Member {
  id: string;
  seat: Seat;
  state: "starting" | "ready" | "leaving" | "gone";
  process: Spawned | undefined;
  link: Link | undefined;
  actions: ReadonlySet<string>;
  credits: number;
  /** Keys unanswered, with the action; null where it was cancelled and nobody waits any more. */
  inFlight: Map<string, string | null>;
  taken: number;
  readyAt: number;
  /** Not heard for more than two beats: it gets nothing until it is heard again. */
  sluggish: boolean;
  /** Why we ended it, if we did. */
  why: string | undefined;
  started: (failure?: WaymarkError) => void;
  /** Resolves once its process is gone for sure. */
  gone: Promise<void>;
  left: () => void;
}

const backoffMs = 100;
const backoffMaxMs = 30_000;
const longLifeMs = 10_000;

/** What a worker may take beyond the grace to clean up, and then to end on SIGTERM. */
const cleanupMs = 2_500;
const termMs = 1_000;

class Pool implements ProcessPool {
  readonly #options: ProcessPoolOptions;
  readonly #pace: Pace;
  readonly #modules: readonly UserModule[];
  readonly #command: readonly string[];
  readonly #server: WorkerServer;
  readonly #seats: Seat[];
  readonly #members = new Set<Member>();
  readonly #owners = new Map<string, Member>();
  readonly #shown = new Set<string>();
  #waiting: Task[] = [];
  #actions: ReadonlySet<string> | null = null;
  #listener: (reports: readonly Report[]) => void = () => {};
  #reports: Report[] = [];
  #announced = false;
  #closing = false;
  #spawned = 0;
  #monitor: NodeJS.Timeout;
  #beat = performance.now();

  constructor(
    options: ProcessPoolOptions,
    pace: Pace,
    modules: readonly UserModule[],
    command: readonly string[],
    server: WorkerServer,
  ) {
    this.#options = options;
    this.#pace = pace;
    this.#modules = modules;
    this.#command = command;
    this.#server = server;
    this.#seats = Array.from({ length: options.count }, () => newSeat());
    this.#monitor = setInterval(() => this.#watch(), pace.heartbeatMs);
  }

  get address(): string {
    return this.#server.address;
  }

  async start(): Promise<WaymarkError[]> {
    const results = await Promise.all(this.#seats.map((seat) => this.#fill(seat)));
    const failures = results.filter((failure) => failure !== undefined);
    if (failures.length < this.#seats.length) for (const failure of failures) this.#show(failure);
    return failures;
  }

  workers(): { id: string; pid: number; inFlight: number }[] {
    return [...this.#members]
      .filter(({ state }) => state === "ready")
      .map(({ id, process, inFlight }) => ({ id, pid: process?.pid ?? 0, inFlight: inFlight.size }));
  }

  free(): number {
    if (this.#closing) return 0;
    let free = -this.#waiting.length;
    for (const member of this.#members) if (takes(member)) free += member.credits - member.inFlight.size;
    return Math.max(0, free);
  }

  actions(): ReadonlySet<string> | null {
    return this.#actions;
  }

  onReport(listener: (reports: readonly Report[]) => void): void {
    this.#listener = listener;
  }

  dispatch(tasks: readonly Task[]): void {
    for (const task of tasks) this.#assign(task);
  }

  cancel(keys: readonly string[]): void {
    const sent = new Map<Member, string[]>();
    for (const key of keys) {
      const member = this.#owners.get(key);
      if (member === undefined) continue;
      member.inFlight.set(key, null);
      const list = sent.get(member);
      if (list === undefined) sent.set(member, [key]);
      else list.push(key);
    }
    for (const [member, list] of sent) member.link?.cancel(list);
    if (this.#waiting.length === 0) return;
    const dropped = new Set(keys);
    this.#waiting = this.#waiting.filter(({ key }) => !dropped.has(key));
  }

  /** Nothing is reported about what had to be abandoned: whoever takes the instance over performs it again. */
  async close(graceMs: number): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#waiting = [];
    for (const seat of this.#seats) clearTimeout(seat.timer);
    const all = [...this.#members];
    const gone = Promise.all(all.map((member) => member.gone));
    for (const member of all) {
      if (member.link === undefined) member.process?.kill("SIGKILL");
      else this.#drain(member, graceMs);
    }
    if (!(await ended(gone, graceMs + cleanupMs))) for (const member of all) member.process?.kill("SIGTERM");
    if (!(await ended(gone, termMs))) for (const member of all) member.process?.kill("SIGKILL");
    await gone;
    clearInterval(this.#monitor);
    this.#server.close();
  }

  #assign(task: Task): void {
    if (this.#closing) return;
    if (task.args.length > valueMax) {
      this.#report({ key: task.key, ...this.#tooLarge(task) });
      return;
    }
    let best: Member | undefined;
    let able = false;
    let ready = false;
    for (const member of this.#members) {
      if (member.state !== "ready") continue;
      ready = true;
      if (!member.actions.has(task.action)) continue;
      able = true;
      if (member.sluggish || member.inFlight.size >= member.credits) continue;
      if (best === undefined || member.inFlight.size < best.inFlight.size) best = member;
    }
    if (best !== undefined) this.#send(best, task);
    else if (ready && !able) this.#report({ key: task.key, kind: "missing", action: task.action });
    else this.#waiting.push(task);
  }

  #tooLarge(task: Task) {
    const message = `The arguments of action "${task.action}" take ${task.args.length} bytes; a worker can be sent ${valueMax}.`;
    const hint = "Store the data elsewhere and hand over where it is.";
    return refused(task, new WaymarkError("WM402", message, { hint }), systemClock);
  }

  #send(member: Member, task: Task): void {
    member.inFlight.set(task.key, task.action);
    this.#owners.set(task.key, member);
    member.link?.send({ ...task, metadata: nothing } satisfies WireTask);
    member.taken++;
    if (member.taken >= (this.#options.maxLifecycle ?? Number.POSITIVE_INFINITY)) this.#recycle(member);
  }

  #drainWaiting(): void {
    if (this.#waiting.length === 0) return;
    const tasks = this.#waiting;
    this.#waiting = [];
    for (const task of tasks) this.#assign(task);
  }

  #report(report: Report): void {
    this.#reports.push(report);
    this.#announce();
  }

  // One batch for everything that arrives in one turn, from all workers.
  #announce(): void {
    if (this.#announced) return;
    this.#announced = true;
    process.nextTick(() => {
      this.#announced = false;
      const reports = this.#reports;
      this.#reports = [];
      this.#drainWaiting();
      this.#listener(reports);
    });
  }

  // -- the life of a worker

  /** Spawn a worker for a seat. Resolves when it is ready, or with why it could not become so. */
  async #fill(seat: Seat): Promise<WaymarkError | undefined> {
    const id = `w${++this.#spawned}`;
    const token = randomBytes(24).toString("hex");
    let settle: (failure?: WaymarkError) => void = () => {};
    const started = new Promise<WaymarkError | undefined>((resolve) => {
      settle = resolve;
    });
    let left: () => void = () => {};
    const gone = new Promise<void>((resolve) => {
      left = resolve;
    });
    const member: Member = {
      id,
      seat,
      state: "starting",
      process: undefined,
      link: undefined,
      actions: new Set(),
      credits: 0,
      inFlight: new Map(),
      taken: 0,
      readyAt: 0,
      sluggish: false,
      why: undefined,
      started: settle,
      gone,
      left,
    };
    if (seat.member === undefined) seat.member = member;
    else seat.successor = member;
    this.#members.add(member);
    this.#server.expect(id, this.#expected(member, token));
    try {
      member.process = await spawnWorker(this.#command, this.#environment(id, token), id, this.#options.log);
    } catch (error) {
      const how = `could not be started: ${error instanceof Error ? error.message : String(error)}`;
      this.#gone(member, { how, code: null, said: "" });
      return started;
    }
    const { pid } = member.process;
    this.#event({ kind: "spawned", worker: id, pid });
    void member.process.gone.then((gone) => this.#gone(member, gone)); // never rejects
    if (this.#closing) member.process.kill("SIGKILL");
    const startMs = this.#options.startMs ?? 60_000;
    const late = setTimeout(() => this.#end(member, `was not ready within ${startMs} ms`), startMs);
    return started.finally(() => clearTimeout(late));
  }

  #environment(id: string, token: string): Record<string, string> {
    return {
      WAYMARK_WORKER_ADDR: this.#server.address.replace(/^(0\.0\.0\.0|\[::\]):/, "127.0.0.1:"),
      WAYMARK_WORKER_ID: id,
      WAYMARK_WORKER_TOKEN: token,
      WAYMARK_WORKER_CONCURRENCY: String(this.#options.concurrency),
      WAYMARK_WORKER_MODULES: JSON.stringify(this.#modules),
      WAYMARK_WORKER_PARENT: String(process.pid),
    };
  }

  #expected(member: Member, token: string): Expected {
    return {
      token,
      ready: (hello, link) => this.#ready(member, hello, link),
      failed: ({ module, error }) => {
        const message = module === "" ? error : `The user module "${module}" could not be loaded:\n${error}`;
        member.started(new WaymarkError("WM714", message));
      },
      outcomes: (outcomes) => this.#outcomes(member, outcomes),
      bye: () => this.#bye(member),
      closed: (why) => this.#closed(member, why),
    };
  }

  #ready(member: Member, hello: Hello, link: Link): void {
    if (member.state !== "starting") return;
    member.state = "ready";
    member.link = link;
    member.credits = hello.credits;
    member.actions = new Set(hello.actions);
    member.readyAt = performance.now();
    this.#actions = this.#known();
    this.#event({ kind: "ready", worker: member.id, pid: member.process?.pid ?? 0 });
    this.#succeed(member);
    if (this.#closing) this.#drain(member, 0);
    member.started();
    this.#announce();
  }

  #succeed(member: Member): void {
    const { seat } = member;
    if (seat.successor !== member) return;
    const before = seat.member;
    seat.member = member;
    seat.successor = undefined;
    if (before?.state === "ready") this.#drain(before, Number.POSITIVE_INFINITY);
  }

  #known(): ReadonlySet<string> {
    const names = new Set<string>();
    for (const { state, actions } of this.#members) if (state === "ready") for (const name of actions) names.add(name);
    return names;
  }

  #outcomes(member: Member, outcomes: readonly WireOutcome[]): void {
    for (const outcome of outcomes) {
      const action = member.inFlight.get(outcome.key);
      if (action === undefined) continue;
      member.inFlight.delete(outcome.key);
      this.#owners.delete(outcome.key);
      if (action !== null) this.#reports.push(reportOf(outcome, action));
    }
    this.#announce();
  }

  /** Someone else asked it to leave: its seat is filled while it finishes. */
  #bye(member: Member): void {
    if (member.state !== "ready" || this.#closing) return;
    this.#drain(member, Number.POSITIVE_INFINITY);
    if (member.seat.member === member) this.#vacate(member, 0);
    this.#announce();
  }

  /** Nothing is sent after this. Without a limit, the timeouts of what is in flight are one. */
  #drain(member: Member, graceMs: number): void {
    member.state = "leaving";
    member.link?.drain(graceMs);
    this.#event({ kind: "leaving", worker: member.id, pid: member.process?.pid ?? 0 });
  }

  #closed(member: Member, why: string): void {
    if (member.state === "leaving" && member.inFlight.size === 0) {
      void ended(member.gone, termMs).then((gone) => {
        if (!gone) member.process?.kill("SIGKILL");
      });
    } else if (member.state !== "gone") this.#end(member, why);
  }

  #end(member: Member, why: string): void {
    member.why ??= why;
    member.state = member.state === "starting" ? "starting" : "leaving";
    member.process?.kill("SIGKILL");
  }

  #gone(member: Member, gone: Gone): void {
    const orderly = member.state === "leaving" && member.inFlight.size === 0 && member.why === undefined;
    const was = member.state;
    member.state = "gone";
    member.left();
    this.#members.delete(member);
    this.#server.forget(member.id);
    const how = member.why === undefined ? gone.how : `${member.why}, and ${gone.how}`;
    const lost = this.#closing ? 0 : this.#lose(member, how);
    const pid = member.process?.pid ?? 0;
    this.#event({ kind: "gone", worker: member.id, pid, how, lost });
    if (was === "starting") this.#failedToStart(member, how, gone);
    else if (!orderly && !this.#closing) {
      this.#options.log.warn({ worker: member.id, pid, lost }, `worker ${member.id} ${how}; it is replaced`);
    }
    this.#actions = this.workers().length > 0 ? this.#known() : this.#actions;
    if (member.seat.member === member) this.#refill(member);
    this.#announce();
  }

  #lose(member: Member, how: string): number {
    let lost = 0;
    for (const [key, action] of member.inFlight) {
      this.#owners.delete(key);
      if (action === null) continue;
      lost++;
      this.#reports.push({ key, kind: "lost", reason: `worker ${member.id} (pid ${member.process?.pid}) ${how}` });
    }
    member.inFlight.clear();
    return lost;
  }

  #failedToStart(member: Member, how: string, gone: Gone): void {
    const said = gone.said === "" ? "" : `\n${gone.said}`;
    const failure = new WaymarkError("WM715", `A worker process ${how} before it was ready.${said}`, {
      hint: `It was started as: ${this.#command.join(" ")}`,
    });
    member.started(failure);
    if (member.seat.successor !== member) return;
    member.seat.successor = undefined;
    if (member.seat.member !== undefined) member.seat.member.taken = 0; // it goes on, and is recycled later
  }

  #refill(member: Member): void {
    const { seat } = member;
    const lived = member.readyAt === 0 ? 0 : performance.now() - member.readyAt;
    if (lived >= longLifeMs) seat.failures = 0;
    const delayMs = seat.failures === 0 && lived > 0 ? 0 : Math.min(backoffMaxMs, backoffMs * 2 ** seat.failures);
    seat.failures++;
    this.#vacate(member, delayMs);
  }

  /** Fill the seat of a member that is gone or leaves, by its successor if one is under way. */
  #vacate(member: Member, delayMs: number): void {
    const { seat } = member;
    seat.member = seat.successor;
    seat.successor = undefined;
    if (this.#closing || seat.member !== undefined) return;
    seat.timer = setTimeout(() => {
      void this.#fill(seat).then((failure) => this.#show(failure));
    }, delayMs);
  }

  /** A failure that comes again and again is shown once. */
  #show(failure: WaymarkError | undefined): void {
    if (failure === undefined || this.#closing) return;
    if (this.#shown.has(failure.message)) return;
    this.#shown.add(failure.message);
    this.#options.log.error({ code: failure.code }, failure.message);
  }

  /** The replacement is ready before the old one leaves: see #succeed. */
  #recycle(member: Member): void {
    const { seat, state } = member;
    if (state !== "ready" || seat.member !== member || seat.successor !== undefined) return;
    void this.#fill(seat).then((failure) => this.#show(failure));
  }

  #watch(): void {
    const now = performance.now();
    const stood = now - this.#beat > 2 * this.#pace.heartbeatMs; // this process, and with it everything it could hear
    this.#beat = now;
    for (const member of this.#members) {
      const { link } = member;
      if (link === undefined) continue;
      if (stood) link.forgive();
      link.heartbeat();
      const silent = now - link.heard();
      const sluggish = silent > 2.5 * this.#pace.heartbeatMs;
      if (sluggish !== member.sluggish) {
        member.sluggish = sluggish;
        this.#announce();
      }
      if (silent > this.#pace.silentMs && member.why === undefined) {
        this.#end(member, `was silent for ${Math.round(silent)} ms (an action blocks its event loop)`);
      }
    }
  }

  #event(event: WorkerEvent): void {
    this.#options.onEvent?.(event);
  }
}

function takes(member: Member): boolean {
  return member.state === "ready" && !member.sluggish;
}

const nothing = new Uint8Array(0);

function reportOf(outcome: WireOutcome, action: string): Report {
  const { key, done, failure } = outcome;
  if (done !== undefined) return { key, kind: "done", value: done };
  if (failure !== undefined) {
    const { error, retryable, retryAfterMs } = failure;
    const report = { key, kind: "failed" as const, error: error ?? nothing, retryable: retryable ?? false };
    return retryAfterMs === undefined ? report : { ...report, retryAfterMs };
  }
  if (outcome.timeout !== undefined) return { key, kind: "timeout" };
  if (outcome.missing !== undefined) return { key, kind: "missing", action };
  return { key, kind: "lost", reason: "the worker gave it up unasked" };
}

async function ended(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([work.then(() => true), limit]);
  } finally {
    clearTimeout(timer);
  }
}
