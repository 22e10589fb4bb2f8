print(2n ** 64n, 7n / 2n, -7n % 3n, 5n > 4, 5n == 5, 1n + 2n, 0xffn & 15n, 1n << 70n); try { 1n + 1; } catch (e) { print(e.name); }
