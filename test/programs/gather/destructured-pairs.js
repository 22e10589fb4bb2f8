print(await Promise.all([["a", 1], ["b", 2]].map(([name, score]) => act(`${name}${score}`))));
