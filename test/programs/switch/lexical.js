switch (2) { case 1: let a = 1; case 2: try { a; } catch (e) { print(e.name); } print("end"); }
