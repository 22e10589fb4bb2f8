// The demo's shape with quick actions: fan-out with retries, a chain, a sleep. Every attempt and every effect is written
// to a ledger, from which the checker reads what really happened.
import pg from "pg";
import { action, actionContext, dependency, sleep, workflow } from "waymark";

const ledger = dependency({ scope: "worker" }, async function* () {
  const pool = new pg.Pool({ connectionString: process.env.WAYMARK_DATABASE_URL, max: 2 });
  pool.on("error", () => {}); // the server may be restarted under us; the next query says so
  yield pool;
  await pool.end();
});

export const send = action(
  "siegeSend",
  { deps: { ledger }, retry: { attempts: 5 }, backoff: { kind: "constant", baseDelay: "50ms" }, timeout: "20s" },
  async (address, { ledger }) => {
    const { attempt, idempotencyKey } = actionContext();
    await ledger.query("insert into siege.attempt (key, address, attempt, pid) values ($1, $2, $3, $4)", [
      idempotencyKey,
      address,
      attempt,
      process.pid,
    ]);
    await new Promise((resolve) => setTimeout(resolve, 5 + Math.random() * 25));
    if (address.includes("busy") && attempt === 1) throw new Error(`busy: ${address}`);
    await ledger.query("insert into siege.sent (key, address) values ($1, $2) on conflict do nothing", [
      idempotencyKey,
      address,
    ]);
    return idempotencyKey;
  },
);

export const batch = workflow("siegeBatch", async (name, width) => {
  const addresses = [];
  for (let index = 0; index < width; index++) addresses.push(`${index % 7 === 3 ? "busy" : "plain"}-${name}-${index}`);
  const keys = await Promise.all(addresses.map((address) => send(address)));
  await sleep("100ms");
  let last = "";
  for (let step = 0; step < 3; step++) last = await send(`chain-${name}-${step}`);
  return { sent: keys.length, distinct: new Set([...keys, last]).size };
});
