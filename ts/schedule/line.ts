/**
 * Those who wait, in the order of arrival; whoever gives up leaves from the middle, and who has to wait again comes first. Everything takes constant time: a server
 * that goes down aborts tens of thousands, and neither an array nor a Set (which walks over those that left) is quick then.
 */
interface Place<T> {
  readonly item: T;
  before: Place<T> | undefined;
  after: Place<T> | undefined;
}

export class Line<T> {
  readonly #places = new Map<T, Place<T>>();
  #first: Place<T> | undefined;
  #last: Place<T> | undefined;

  get size(): number {
    return this.#places.size;
  }

  /** Who has waited longest. */
  get first(): T | undefined {
    return this.#first?.item;
  }

  /** `item` must not be in it. */
  join(item: T): void {
    const place: Place<T> = { item, before: this.#last, after: undefined };
    if (this.#last === undefined) this.#first = place;
    else this.#last.after = place;
    this.#last = place;
    this.#places.set(item, place);
  }

  /** Before all who wait; `item` must not be in it. */
  joinFirst(item: T): void {
    const place: Place<T> = { item, before: undefined, after: this.#first };
    if (this.#first === undefined) this.#last = place;
    else this.#first.before = place;
    this.#first = place;
    this.#places.set(item, place);
  }

  /** Does nothing when it is not in it. */
  leave(item: T): void {
    const place = this.#places.get(item);
    if (place === undefined) return;
    this.#places.delete(item);
    const { before, after } = place;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
  }
}
