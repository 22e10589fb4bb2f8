print(f(), typeof v, v); var v = 1; function f() { return "hoisted"; } { function inner() { return 1; } print(inner()); } print(typeof inner); { print(g()); function g() { return "early"; } } 
