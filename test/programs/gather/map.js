const m = 3; print(await Promise.all([1, 2, 3].map((x) => act(x * m))));
