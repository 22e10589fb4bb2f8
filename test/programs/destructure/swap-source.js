let o = { a: 1, b: 2 }; let a; ({ a, b: o } = o); print(a, o); let xs = [1, [2, 3]]; [, xs] = xs; print(xs);
