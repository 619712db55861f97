/** Byte-pair merging of one word: O(n log n) in its symbols, and able to stop in between. */

/** Pairs of token ids that merge: their rank (lower goes first) and what they become. A hash table in typed arrays. */
export class MergeTable {
  /** Of each rank, the token that the pair becomes. */
  readonly joined: Int32Array;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #rank: Int32Array;
  readonly #mask: number;

  constructor(size: number) {
    const slots = 2 ** Math.ceil(Math.log2(2 * size + 2));
    this.joined = new Int32Array(size);
    this.#left = new Int32Array(slots);
    this.#right = new Int32Array(slots);
    this.#rank = new Int32Array(slots).fill(-1);
    this.#mask = slots - 1;
  }

  /** A pair that is set twice has the later rank, as in the Rust library. */
  set(left: number, right: number, rank: number, joined: number): void {
    const slot = this.#slot(left, right);
    this.#left[slot] = left;
    this.#right[slot] = right;
    this.#rank[slot] = rank;
    this.joined[rank] = joined;
  }

  /** -1 for a pair that does not merge. */
  rankOf(left: number, right: number): number {
    return this.#rank[this.#slot(left, right)] as number;
  }

  *pairs(): Generator<readonly [left: number, right: number]> {
    for (let slot = 0; slot < this.#rank.length; slot++)
      if (this.#rank[slot] !== -1) yield [this.#left[slot] as number, this.#right[slot] as number];
  }

  #slot(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) & this.#mask;
    while (this.#rank[slot] !== -1 && (this.#left[slot] !== left || this.#right[slot] !== right))
      slot = (slot + 1) & this.#mask;
    return slot;
  }
}

/** A waiting merge is one number: rank times this, plus the position. A string has fewer than 2^29 characters. */
const POSITIONS = 2 ** 29;

/**
 * The best merge first, of equal ones the leftmost, until none is left. What is waiting is not taken back when its symbols
 * change but left out when its turn comes, and counts as valid while the pair there becomes the same token: as in the Rust
 * library, on which ids depend.
 */
export class Merging {
  readonly #table: MergeTable;
  #ids = new Int32Array(64);
  #previous = new Int32Array(64);
  #next = new Int32Array(64);
  #heap = new Float64Array(64);
  #waiting = 0;
  #count = 0;

  constructor(table: MergeTable) {
    this.#table = table;
  }

  /** Takes the symbols `ids[from .. to)`. */
  start(ids: Int32Array, from: number, to: number): void {
    const count = to - from;
    this.#count = count;
    this.#waiting = 0;
    if (count > this.#ids.length) this.#grow(count);
    for (let i = 0; i < count; i++) {
      this.#ids[i] = ids[from + i] as number;
      this.#previous[i] = i - 1;
      this.#next[i] = i + 1 < count ? i + 1 : -1;
    }
    for (let i = 0; i + 1 < count; i++) this.#offer(i, i + 1);
  }

  /** Up to `steps` merges. Returns whether none is left. */
  run(steps: number): boolean {
    const [ids, previous, next, { joined }] = [this.#ids, this.#previous, this.#next, this.#table];
    for (let step = 0; step < steps; step++) {
      if (this.#waiting === 0) return true;
      const best = this.#pop();
      const rank = Math.floor(best / POSITIONS);
      const left = best - rank * POSITIONS;
      const right = next[left] as number;
      // A symbol that went into its left neighbour has no id any more; the last one has nothing to its right.
      if (ids[left] === -1 || right === -1) continue;
      const now = this.#table.rankOf(ids[left] as number, ids[right] as number);
      if (now === -1 || joined[now] !== joined[rank]) continue;
      ids[left] = joined[rank] as number;
      ids[right] = -1;
      const after = next[right] as number;
      next[left] = after;
      if (after !== -1) previous[after] = left;
      const before = previous[left] as number;
      if (before !== -1) this.#offer(before, left);
      if (after !== -1) this.#offer(left, after);
    }
    return this.#waiting === 0;
  }

  /** Appends the tokens that are left. */
  collect(out: number[]): void {
    for (let i = this.#count === 0 ? -1 : 0; i !== -1; i = this.#next[i] as number) out.push(this.#ids[i] as number);
  }

  #offer(left: number, right: number): void {
    const rank = this.#table.rankOf(this.#ids[left] as number, this.#ids[right] as number);
    if (rank !== -1) this.#push(rank * POSITIONS + left);
  }

  #push(entry: number): void {
    if (this.#waiting === this.#heap.length) {
      const larger = new Float64Array(2 * this.#waiting);
      larger.set(this.#heap);
      this.#heap = larger;
    }
    const heap = this.#heap;
    let at = this.#waiting++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as number;
      if (above <= entry) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): number {
    const heap = this.#heap;
    const best = heap[0] as number;
    const last = heap[--this.#waiting] as number;
    let at = 0;
    while (true) {
      let child = 2 * at + 1;
      if (child >= this.#waiting) break;
      if (child + 1 < this.#waiting && (heap[child + 1] as number) < (heap[child] as number)) child++;
      if ((heap[child] as number) >= last) break;
      heap[at] = heap[child] as number;
      at = child;
    }
    heap[at] = last;
    return best;
  }

  #grow(count: number): void {
    const size = 2 ** Math.ceil(Math.log2(count));
    this.#ids = new Int32Array(size);
    this.#previous = new Int32Array(size);
    this.#next = new Int32Array(size);
    this.#heap = new Float64Array(size);
  }
}
