const [a, b] = await Promise.all([act(1), act(2)]); print(a, b);
