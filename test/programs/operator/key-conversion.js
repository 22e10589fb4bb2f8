const log = []; const key = { toString() { log.push("key"); return "k"; } }; const o = { k: 1 };
o[key] = 2; print(o[key], log); o[key] ??= 5; print({ [key]: 1 }, key in o, delete o[key], o, log.length);
