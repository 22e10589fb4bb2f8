print(await Promise.all([1, 2, 3, 4].filter((x) => x % 2 === 0).map(async (x) => (await act(x)) + 1)));
