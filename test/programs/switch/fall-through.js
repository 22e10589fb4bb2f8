for (const v of [0, 1, 2, 3]) { const log = []; switch (v) { case 1: log.push("a"); default: log.push("d"); case 2: log.push("b"); break; case 3: log.push("c"); } print(v, log); }
