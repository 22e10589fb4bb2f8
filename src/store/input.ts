// The hash by which a second start under the same id is told from a repeated one.

import { createHash } from "node:crypto";

/** First eight bytes of SHA-256, as a signed 64-bit number. Stored with the instance: never change it. */
export function inputHash(input: Uint8Array): bigint {
  return createHash("sha256").update(input).digest().readBigInt64BE(0);
}
