print([1, , 3], [, ], [...[1, 2], ...new Set([3]), ..."ab"], [[]].length); const xs = [1, , 3]; print(1 in xs, xs.length, [...xs]);
