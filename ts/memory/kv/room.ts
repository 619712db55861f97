/**
 * The KV cache as those see it who plan steps: room for tokens, asked for by sequence. Pure.
 *
 * A sequence reserves at admission what it can ever need, so a running one never waits for memory and none is pre-empted. A
 * reservation is a count: pages are taken one by one as positions reach them, and free pages are never fewer than those
 * promised. What is kept of sequences that are over (a prefix cache) may be held beyond that; an `Eviction` gives it back.
 */
import { PAGE_SIZE } from "../../../protocol/ops.ts";
import { type PageId, PagePool, pagesFor } from "./pages.ts";
import { SequencePages } from "./sequence-pages.ts";

/** Who gives pages back when too few are free. */
export interface Eviction {
  /** Releases what `count` more pages need, or as much of it as there is; the room looks itself what is free then. */
  evict(count: number): void;
}

/** Nothing is held but by running sequences. */
const NOBODY: Eviction = { evict() {} };

export class KvRoom {
  readonly #pool: PagePool;
  readonly #eviction: Eviction;
  #promised = 0;

  /** @throws OCTAVO_BAD_ARGUMENT unless `pages` is a whole number from 1 on. */
  constructor(pages: number, eviction = NOBODY) {
    this.#pool = new PagePool(pages);
    this.#eviction = eviction;
  }

  get total(): number {
    return this.#pool.total;
  }

  /** Pages that are neither held nor promised: what can be reserved without an eviction. */
  get available(): number {
    return this.#pool.free - this.#promised;
  }

  /** Whether `tokens` positions can ever be held at once. */
  fits(tokens: number): boolean {
    return pagesFor(tokens) <= this.total;
  }

  /** Room for `tokens` positions of a new sequence; undefined (and no change but evictions) when there is too little. */
  reserve(tokens: number): SequencePages | undefined {
    return this.#promise(new SequencePages(), pagesFor(tokens));
  }

  /**
   * Room for `tokens` positions of a sequence that begins as another one: the pages that `shared` positions fill are held by both,
   * and neither writes there again. Positions beyond the last full page are the new sequence's own to compute.
   */
  fork(from: SequencePages, shared: number, tokens: number): SequencePages | undefined {
    const pages = new SequencePages();
    // Held before room is made, which may evict them.
    for (const page of from.ids.slice(0, Math.floor(shared / PAGE_SIZE))) {
      this.#pool.share(page);
      pages.ids.push(page);
    }
    const made = this.#promise(pages, Math.max(0, pagesFor(tokens) - pages.ids.length));
    if (made === undefined) this.release(pages);
    return made;
  }

  /**
   * Pages for the first `tokens` positions; first those promised to it. Returns false when there are not enough: it keeps what
   * it has, and somebody has to give way.
   */
  grow(pages: SequencePages, tokens: number): boolean {
    for (let missing = pagesFor(tokens) - pages.ids.length; missing > 0; missing -= 1) {
      if (pages.promised === 0 && this.#promise(pages, 1) === undefined) return false;
      pages.promised -= 1;
      this.#promised -= 1;
      pages.ids.push(this.#pool.take()!);
    }
    return true;
  }

  /** The sequence is over: its references and what was promised to it. Twice is as once. */
  release(pages: SequencePages): void {
    this.#promised -= pages.promised;
    pages.promised = 0;
    for (const page of pages.ids.splice(0).reverse()) this.#pool.release(page);
  }

  /** What is wrong with the books if `holders` are all who hold pages; empty when nothing is. */
  audit(holders: Iterable<SequencePages>): string[] {
    const { total, free, used } = this.#pool;
    const references = new Map<PageId, number>();
    let promised = 0;
    for (const holder of holders) {
      promised += holder.promised;
      for (const page of holder.ids) references.set(page, (references.get(page) ?? 0) + 1);
    }
    const wrong: string[] = [];
    const compare = (what: string, is: number, expected: number) => {
      if (is !== expected) wrong.push(`${what}: ${is} instead of ${expected}`);
    };
    compare("free and used KV pages", free + used, total);
    compare("used KV pages", used, references.size);
    compare("promised KV pages", this.#promised, promised);
    for (const [page, count] of references)
      compare(`references to KV page ${page}`, this.#pool.references(page), count);
    return wrong;
  }

  #promise(pages: SequencePages, count: number): SequencePages | undefined {
    if (count > this.available) this.#eviction.evict(count - this.available);
    if (count > this.available) return undefined;
    pages.promised += count;
    this.#promised += count;
    return pages;
  }
}
