import path from "node:path";
import { defineConfig } from "vitest/config";

const src = path.join(import.meta.dirname, "src");

export default defineConfig({
  resolve: {
    alias: [
      { find: /^waymark$/, replacement: path.join(src, "index.ts") },
      { find: /^waymark\/(testing|engine|compiler|embedded)$/, replacement: path.join(src, "$1.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/setup/postgres.ts"],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
