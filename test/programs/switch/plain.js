const f = (v) => { switch (v) { case 1: return "one"; case 2: case 3: return "few"; default: return "many"; } }; print([1, 2, 3, 4, "1"].map(f));
