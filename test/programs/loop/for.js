for (let i = 0, j = 10; i < j; i += 3, j--) print(i, j); for (;;) break; let k = 0; for (; k < 2; ) k++; print(k);
