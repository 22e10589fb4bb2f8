// Run by postgres.test.ts: a program that starts one workflow, prints its result, and closes nothing.

import { createHash } from "node:crypto";
import { workflowBrand } from "../../src/author/definition.ts";
import { useRuntime } from "../../src/author/runtime.ts";
import { openClient } from "../../src/client/client.ts";
import { workflow } from "../../src/index.ts";
import { openPostgres } from "../../src/store/postgres/store.ts";

const store = await openPostgres({ url: process.argv[2]!, connections: 2 });
useRuntime(
  openClient({
    store,
    compile: ({ [workflowBrand]: { name } }) => ({
      row: {
        hash: createHash("sha256").update(name).digest(),
        workflow: name,
        format: 1,
        body: Buffer.from(name),
        debug: null,
      },
      children: [],
      errorClasses: () => new Map(),
    }),
  }),
);
const flow = workflow("script", async (): Promise<string> => "");
console.log(await flow.run());
