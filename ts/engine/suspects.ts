/**
 * Which request may be why workers are lost. Pure.
 *
 * A step is lost with all its requests, and mostly none of them is to blame: somebody has killed the process. So they go on together. Those
 * that are in a lost step twice, with no token of theirs in between, are suspects and go on alone, one after the other. One
 * that two workers in a row were lost with while it was alone ends: the next worker is for the others.
 */

interface Record {
  /** Lost steps that it was in, since its last token. */
  readonly losses: number;
  /** Of those, steps with no other request. */
  readonly alone: number;
}

const NOTHING: Record = { losses: 0, alone: 0 };
/** Lost steps after which a request runs alone, and lost steps of its own after which it ends. */
const SUSPICIOUS = 2;
const GUILTY = 2;

export class Suspects<R extends object> {
  readonly #records = new WeakMap<R, Record>();

  /** A worker was lost while it computed a step of these requests. Returns the one that ends with it, if there is one. */
  lost(requests: readonly R[]): R | undefined {
    const alone = requests.length === 1 ? 1 : 0;
    for (const request of requests) {
      const before = this.#recordOf(request);
      this.#records.set(request, { losses: before.losses + 1, alone: before.alone + alone });
    }
    return requests.find((request) => this.#recordOf(request).alone >= GUILTY);
  }

  /** A worker has lived through a step that drew for it. */
  clear(request: R): void {
    this.#records.delete(request);
  }

  runsAlone(request: R): boolean {
    return this.#recordOf(request).losses >= SUSPICIOUS;
  }

  /** The order in which requests go on: who was alone when a worker was lost, other suspects, the rest as they were. */
  inOrder(requests: readonly R[]): R[] {
    const rank = (request: R) => this.#recordOf(request).alone * 2 + (this.runsAlone(request) ? 1 : 0);
    return requests.toSorted((a, b) => rank(b) - rank(a));
  }

  #recordOf(request: R): Record {
    return this.#records.get(request) ?? NOTHING;
  }
}
