const f = (v) => { if (v < 0) return "neg"; else if (v === 0) return "zero"; else if (v < 10) return "small"; return "big"; }; print([-1, 0, 5, 50].map(f));
