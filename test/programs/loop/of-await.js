for (const x of [1, 2, 3]) { const y = await act(x); if (y === 2) continue; print(y); } const it = [1, 2, 3, 4].values(); for (const x of it) { if ((await act(x)) === 2) break; } print([...it]);
