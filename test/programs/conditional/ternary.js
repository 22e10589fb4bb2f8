const f = (a, b) => a ? b ? 1 : 2 : b ? 3 : 4; print(f(1, 1), f(1, 0), f(0, 1), f(0, 0));
