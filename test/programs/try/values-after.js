const r = { attempted: false, recovered: false, message: "" }; try { r.attempted = true; await fail("m"); } catch (e) { r.recovered = true; r.message = e.message; } print(r);
