let e = "outer"; try { throw "inner"; } catch (e) { var v = e; let f = () => e; print(f()); } print(e, v);
