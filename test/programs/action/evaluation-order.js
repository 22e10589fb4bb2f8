let n = 0; const r = n + await act(++n) + n; print(r, [await act(1), await act(2)], { a: await act(3), b: await act(4) });
