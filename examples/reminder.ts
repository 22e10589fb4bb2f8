// Three reminders, a day apart. While it sleeps an instance is a row in Postgres: no memory, no slot, no process.
import { action, now, sleep, workflow } from "waymark";

export const remind = action("remind", async (customer: string, times: number) => `${customer}: reminder ${times}`);

export const followUp = workflow("followUp", async (customer: string) => {
  const started = now();
  const reminders: string[] = [];
  for (let times = 1; times <= 3; times++) {
    await sleep("1d");
    reminders.push(await remind(customer, times));
  }
  return { reminders, days: Math.round((now() - started) / 86_400_000) };
});
