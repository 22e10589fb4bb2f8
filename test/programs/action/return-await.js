const f = async () => await act(4); const g = async () => act(5); print(await f(), await g());
