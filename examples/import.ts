// A long import: pages are fetched one after the other, each page's rows are written in parallel with at most a few in
// flight, and what failed is reported at the end. Retries come from the policy, not from the code.
import { action, sleep, workflow } from "waymark";

interface Page {
  rows: string[];
  next: number | null;
}

export const fetchPage = action(
  "fetchPage",
  { retry: { attempts: 8 }, backoff: { baseDelay: "500ms", maxDelay: "1m" } },
  async (page: number): Promise<Page> => ({
    rows: [1, 2, 3, 4, 5].map((row) => `row ${page}.${row}`),
    next: page < 3 ? page + 1 : null,
  }),
);

export const writeRow = action(
  "writeRow",
  { retry: { attempts: 2 }, backoff: { kind: "constant", baseDelay: "1s" } },
  async (row: string): Promise<number> => {
    if (row === "row 2.3") throw new Error(`${row} has no key`);
    return row.length;
  },
);

async function inParallel<T>(items: T[], limit: number, work: (item: T) => Promise<unknown>): Promise<void> {
  const waiting = items.values();
  const lanes = Array.from({ length: limit }, async () => {
    for (const item of waiting) await work(item);
  });
  await Promise.all(lanes);
}

export const importAll = workflow("importAll", async (pause: string) => {
  const failed: string[] = [];
  let written = 0;
  let page: number | null = 1;
  while (page !== null) {
    const { rows, next }: Page = await fetchPage(page);
    await inParallel(rows, 2, async (row) => {
      try {
        await writeRow(row);
        written++;
      } catch (error) {
        failed.push((error as Error).message);
      }
    });
    page = next;
    if (page !== null) await sleep(pause);
  }
  return { written, failed };
});
