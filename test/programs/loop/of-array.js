for (const [i, x] of ["a", "b"].entries()) print(i, x); let y; for (y of [1, 2]); print(y); const o = {}; for (o.k of [7, 8]); print(o.k); for (const { a, ...r } of [{ a: 1, b: 2 }]) print(a, r);
