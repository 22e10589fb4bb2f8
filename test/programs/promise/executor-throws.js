try { await new Promise(() => { throw new TypeError("in executor"); }); } catch (e) { print(e.name, e.message); }
