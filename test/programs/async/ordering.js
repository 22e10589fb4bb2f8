const log = []; const f = async (n) => { log.push(`start ${n}`); await act(n); log.push(`end ${n}`); return n; }; const a = f(1); const b = f(2); log.push("both"); print(await b, await a, log);
