/** A map of bounded size that forgets what was not used for longest. */
export class LruCache<K, V> {
  readonly #capacity: number;
  readonly #entries = new Map<K, V>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The value of `key`, made by `make` when it is not there. */
  get(key: K, make: () => V): V {
    let value = this.#entries.get(key);
    if (value === undefined) value = make();
    else this.#entries.delete(key); // To the end of the order.
    this.#entries.set(key, value);
    if (this.#entries.size > this.#capacity) this.#entries.delete(this.#entries.keys().next().value!);
    return value;
  }
}
