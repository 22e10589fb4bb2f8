const r = await act(1).then((x) => x + 1).then((x) => act(x * 10)).finally(() => print("fin")); print(r);
