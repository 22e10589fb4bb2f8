let i = 0; while (await act(i < 3)) i++; print(i);
