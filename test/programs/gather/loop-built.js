const ts = []; for (const i of [1, 2, 3]) ts.push(act(i)); print(await Promise.all(ts));
