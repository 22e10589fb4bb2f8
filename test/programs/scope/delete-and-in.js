const cache = {}; cache["a"] = 1; cache.b = 2; delete cache.a; print("a" in cache, "b" in cache, Object.entries(cache)); const { b, ...others } = cache; print(b, others);
