const log = []; const tick = async (n) => { log.push(`${n}a`); await null; log.push(`${n}b`); await null; log.push(`${n}c`); };
Promise.resolve().then(() => log.push("t1")).then(() => log.push("t2")).then(() => log.push("t3"));
await Promise.all([tick(1), tick(2)]); (async () => Promise.resolve(1))().then(() => log.push("async-promise")); (async () => 1)().then(() => log.push("async-value"));
await null; await null; await null; await null; print(log);
