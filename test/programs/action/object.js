const r = await act({ a: [1, 2, { b: null }], c: "x" }); print(r.a[2].b, r);
