class A { v = 5; f = () => this.v; g = async () => { await act(1); return this.v; }; h = function () { return this === undefined; }; } const { f, g, h } = new A(); print(f(), await g(), h());
