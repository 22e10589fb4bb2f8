print(await Promise.any([fail("a"), act("ok")])); try { await Promise.any([fail("a"), fail("b")]); } catch (e) { print(e.name, e.errors.map((x) => x.message)); }
