const p = act(1); const q = act(2); print(await q, await p);
