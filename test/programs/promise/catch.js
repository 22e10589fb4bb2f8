print(await fail("e").catch((e) => `got ${e.message}`)); print(await Promise.reject(new Error("r")).then(() => 1, (e) => e.message));
