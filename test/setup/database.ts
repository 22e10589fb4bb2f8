// A database of its own for a test: a clone of the migrated template, dropped after.

import { connect } from "node:net";
import { inject } from "vitest";
import { databaseUrl, query, type TestDatabases } from "./postgres.ts";

export interface TestDatabase extends AsyncDisposable {
  url: string;
  name: string;
  drop(): Promise<void>;
}

let asked: Promise<TestDatabases> | undefined;

/** Admin URL, template and prefix of this run; starts the server if nobody has. */
export function testDatabases(): Promise<TestDatabases> {
  asked ??= new Promise((resolve, reject) => {
    const socket = connect(inject("waymarkDatabases"), "127.0.0.1");
    let text = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk) => (text += chunk));
    socket.on("error", reject);
    socket.on("end", () => {
      const answer = JSON.parse(text) as TestDatabases | { error: string };
      if ("error" in answer) reject(new Error(`the test database did not start: ${answer.error}`));
      else resolve(answer);
    });
  });
  return asked;
}

let made = 0;

/** `empty: true` for one without the schema. `await using database = await freshDatabase()`, or call `drop()`. */
export async function freshDatabase(options: { empty?: boolean } = {}): Promise<TestDatabase> {
  const { admin, template, prefix } = await testDatabases();
  const name = `${prefix}${process.pid}_${++made}`;
  await query(admin, `create database ${name} template ${options.empty ? "template0" : template}`);
  const drop = async () => {
    await query(admin, `drop database if exists ${name} with (force)`);
  };
  return { url: databaseUrl(admin, name), name, drop, [Symbol.asyncDispose]: drop };
}
