const xs = []; const alias = xs; alias.push(await act(1)); print(xs);
