import { openPostgres } from "../../src/store/postgres/store.ts";
import type { Store } from "../../src/store/store.ts";
import { freshDatabase } from "../setup/database.ts";
import { storeContract } from "./contract.ts";

storeContract("Postgres store", async () => {
  const database = await freshDatabase();
  const opened: Store[] = [];
  return {
    open: async () => {
      const store = await openPostgres({ url: database.url, lockGraceMs: 0 });
      opened.push(store);
      return store;
    },
    close: async () => {
      await Promise.all(opened.map((store) => store.close()));
      await database.drop();
    },
  };
});
