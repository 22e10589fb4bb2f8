const r = await act("v"); print(r);
