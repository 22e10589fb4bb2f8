function* g() { try { it.next(); } catch (e) { print(e.name); } yield 1; } const it = g(); it.next(); function* deep(n) { if (n) yield* deep(n - 1); else yield "bottom"; } print([...deep(20)]);
