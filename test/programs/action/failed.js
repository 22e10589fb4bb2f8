try { await fail("bad"); } catch (e) { print(e.name, e.message, e instanceof RangeError, e instanceof Error); }
