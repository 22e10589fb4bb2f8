let go; const p = new Promise((resolve) => { go = resolve; }); act(5).then((v) => go(v * 2)); print(await p);
