const worker = async (name, n) => { const r = []; for (let i = 0; i < n; i++) r.push(await act(`${name}${i}`)); return r; }; print(await Promise.all([worker("a", 2), worker("b", 3)]));
