// The physical floor: the rows a workload must make durable, written by hand in batches of 500 with the same driver, on the
// same server, in the same run. No leases, no fencing, no queue: what nobody can beat while keeping the data.
import pg from "pg";

const batch = 500;
const payload = Buffer.alloc(61, 7); // what a small outcome takes

export async function floor(url) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`drop schema if exists floor cascade; create schema floor;
    create table floor.instance (no bigint primary key, id text not null unique, input bytea);
    create table floor.journal (instance bigint not null, at timestamptz not null, seq int not null, effect int not null, kind smallint not null, payload bytea, primary key (instance, seq));
    create table floor.result (instance bigint primary key, finished_at timestamptz not null default clock_timestamp(), status smallint not null, outcome bytea)`);
  let next = 1;

  async function rows(count, write) {
    for (let from = 0; from < count; from += batch) await write(from, Math.min(batch, count - from));
  }
  const range = (from, n) => Array.from({ length: n }, (_, index) => from + index);

  /** `instances` with `steps` journal rows each; the milliseconds it took, starts apart. */
  async function run(instances, steps) {
    const first = next;
    next += instances;
    const started = performance.now();
    await rows(instances, async (from, n) => {
      const nos = range(first + from, n);
      await client.query({
        name: "i",
        text: "insert into floor.instance select u.no, u.no::text, u.input from unnest($1::bigint[], $2::bytea[]) u(no, input)",
        values: [nos, nos.map(() => payload)],
      });
    });
    const startMs = performance.now() - started;
    const worked = performance.now();
    const total = instances * steps;
    await rows(total, async (from, n) => {
      const ks = range(from, n);
      await client.query({
        name: "j",
        text: "insert into floor.journal select u.no, clock_timestamp(), u.seq, u.seq, 2, u.payload from unnest($1::bigint[], $2::int[], $3::bytea[]) u(no, seq, payload)",
        values: [
          ks.map((k) => first + (k % instances)),
          ks.map((k) => 1 + Math.floor(k / instances)),
          ks.map(() => payload),
        ],
      });
    });
    await rows(instances, async (from, n) => {
      await client.query({
        name: "r",
        text: "insert into floor.result (instance, status, outcome) select u.no, 1, u.outcome from unnest($1::bigint[], $2::bytea[]) u(no, outcome)",
        values: [range(first + from, n), range(first + from, n).map(() => payload)],
      });
    });
    return { startMs, workMs: performance.now() - worked };
  }

  /** Milliseconds of one-row commits, one after the other. */
  async function commits(count) {
    const first = next;
    next += count;
    const times = [];
    for (let index = 0; index < count; index++) {
      const began = performance.now();
      await client.query({
        name: "c",
        text: "insert into floor.result (instance, status, outcome) values ($1, 1, $2)",
        values: [first + index, payload],
      });
      times.push(performance.now() - began);
    }
    return times;
  }

  return { run, commits, close: () => client.end() };
}
