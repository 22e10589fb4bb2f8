const a = await act(3); const b = await act(a + 1); print(await act(`n${b}`));
