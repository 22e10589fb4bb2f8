for (const x of [1, 2, 3]) { switch (x) { case 2: continue; } print(x); }
