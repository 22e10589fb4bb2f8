const xs = [1, 2, 3]; for (const x of xs) { if (x < 3 && xs.length < 6) xs.push(x * 10); print(x); }
