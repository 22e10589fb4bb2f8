class A { constructor() { this.t = new.target.name; const f = () => new.target.name; this.a = f(); } } class B extends A {} print(new A(), new B(), Reflect.construct(A, [], B).t);
