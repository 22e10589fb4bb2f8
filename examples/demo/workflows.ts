// The README's example, on generated users: fetch, filter, fan out, retry with backoff, sleep, count. The "mail server" is
// a table, so that the demo can show afterwards what really left, how often, and from which process.

import pg from "pg";
import { action, actionContext, dependency, sleep, workflow } from "waymark";

export interface User {
  id: string;
  email: string;
  active: boolean;
}

export interface Receipt {
  messageId: string;
}

/** One pool per worker process, closed when the worker drains. */
const mailServer = dependency({ scope: "worker" }, async function* () {
  const pool = new pg.Pool({ connectionString: process.env.WAYMARK_DATABASE_URL, max: 4 });
  yield pool;
  await pool.end();
});

export const fetchUsers = action("fetchUsers", async (ids: string[]): Promise<User[]> => {
  return ids.map((id, index) => ({ id, email: `${id}@example.com`, active: index % 10 !== 9 }));
});

export const sendEmail = action(
  "sendEmail",
  {
    deps: { db: mailServer },
    retry: { attempts: 6 },
    backoff: { kind: "exponential", baseDelay: "250ms" },
    timeout: "30s",
  },
  async (to: string, subject: string, { db }): Promise<Receipt> => {
    const { attempt, idempotencyKey } = actionContext();
    await db.query("insert into demo.attempt (address, attempt, pid) values ($1, $2, $3)", [to, attempt, process.pid]);
    await new Promise((resolve) => setTimeout(resolve, 150 + Math.random() * 150)); // a mail server takes its time
    if (to === "user-013@example.com" && attempt <= 3) throw new Error(`450 ${to}: mailbox busy, try again later`);
    // The key is the same for every attempt of this call: a repeated attempt after a crash sends nothing twice.
    await db.query("insert into demo.mail (key, address, subject) values ($1, $2, $3) on conflict (key) do nothing", [
      idempotencyKey,
      to,
      subject,
    ]);
    return { messageId: idempotencyKey };
  },
);

export const welcomeEmails = workflow("welcomeEmails", async (ids: string[]) => {
  const users = await fetchUsers(ids);
  const active = users.filter((user) => user.active);
  const results = await Promise.allSettled(active.map((user) => sendEmail(user.email, "Welcome")));
  await sleep("1s");
  return {
    sent: results.filter((r) => r.status === "fulfilled").length,
    failed: results.filter((r) => r.status === "rejected").length,
  };
});
