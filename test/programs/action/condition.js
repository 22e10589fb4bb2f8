if (await act(false)) print("yes"); else if (await act(1)) print("one"); const x = (await act(null)) ?? (await act("d")); print(x, (await act(0)) && (await act(9)));
