const f = async (x = (() => { throw new Error("param"); })()) => x; const p = f(); print("made"); try { await p; } catch (e) { print(e.message); }
