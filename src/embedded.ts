// Door: a real Postgres on this machine, for development and tests, from the npm binaries.

export { type EmbeddedOptions, type EmbeddedPostgres, startPostgres } from "./store/embedded.ts";
