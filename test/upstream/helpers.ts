// Helpers in another file, as real projects have them: a class to inherit from, an error class of one's own.

export class ValueError extends Error {
  override name = "ValueError";
  readonly value: number;
  constructor(message: string, value: number) {
    super(message);
    this.value = value;
  }
}

const label = (name: string, value: number): string => `${name}: ${value}`;

export class Accumulator {
  protected total = 0;

  async take(value: number, work: (value: number) => Promise<number>): Promise<void> {
    this.total += await work(value);
  }

  summary(name: string): string {
    return label(name, this.total);
  }
}
