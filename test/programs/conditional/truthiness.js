for (const v of [0, -0, NaN, "", "0", null, undefined, [], {}, 0n, 1n, false]) print(!!v, v ? 1 : 0, !v, v && 1, v || 2, v ?? 3);
