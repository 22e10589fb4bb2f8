try { throw { code: 5, list: [1, 2] }; } catch ({ code, list: [, b], missing = "d" }) { print(code, b, missing); }
