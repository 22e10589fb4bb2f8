let n = 5; while (n-- > 0) { if (n === 3) continue; if (n === 1) break; print(n); } do { n++; } while (n < 5); print(n);
