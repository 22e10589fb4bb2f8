const t = { then(resolve) { print("then called"); resolve("thenable"); } }; print(await t); print(await Promise.resolve(t)); print(await (async () => t)());
