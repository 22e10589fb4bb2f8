// Attempts that may start but have no slot yet. Lower ranks go first; within a rank the instances take turns, so that
// one fan-out of ten thousand does not keep a hundred small instances waiting.

interface Line<T> {
  values: T[];
  next: number;
}

export class Ready<Owner, T> {
  readonly #ranks = new Map<number, Map<Owner, Line<T>>>(); // per rank: owners in the order of their turns
  #order: number[] = []; // ranks, ascending
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(rank: number, owner: Owner, value: T): void {
    let turns = this.#ranks.get(rank);
    if (turns === undefined) {
      turns = new Map();
      this.#ranks.set(rank, turns);
      this.#order = [...this.#ranks.keys()].sort((a, b) => a - b);
    }
    const line = turns.get(owner);
    if (line === undefined) turns.set(owner, { values: [value], next: 0 });
    else line.values.push(value);
    this.#size++;
  }

  take(): T | undefined {
    const rank = this.#order[0];
    const turns = rank === undefined ? undefined : this.#ranks.get(rank);
    if (rank === undefined || turns === undefined) return undefined;
    const [owner, line] = turns.entries().next().value!;
    const value = line.values[line.next++]!;
    turns.delete(owner);
    if (line.next < line.values.length) turns.set(owner, line);
    else if (turns.size === 0) this.#drop(rank);
    this.#size--;
    return value;
  }

  remove(rank: number, owner: Owner): void {
    const turns = this.#ranks.get(rank);
    const line = turns?.get(owner);
    if (turns === undefined || line === undefined) return;
    this.#size -= line.values.length - line.next;
    turns.delete(owner);
    if (turns.size === 0) this.#drop(rank);
  }

  clear(): void {
    this.#ranks.clear();
    this.#order = [];
    this.#size = 0;
  }

  #drop(rank: number): void {
    this.#ranks.delete(rank);
    this.#order = this.#order.filter((each) => each !== rank);
  }
}
