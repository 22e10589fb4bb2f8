switch (await act(2)) { case await act(1): print("no"); break; case await act(2): print("yes"); }
