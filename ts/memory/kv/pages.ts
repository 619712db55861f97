/**
 * The pages of one device's KV cache: who has which. Pure; free + used = total at all times.
 *
 * A sequence takes all the pages it can ever need when it is admitted (the guaranteed admission of
 * `research/serving.md` section 3), so a running sequence never waits for memory and none is ever preempted. The price
 * is pages that stay empty when a sequence stops early.
 */
import { PAGE_SIZE } from "../../../protocol/ops.ts";
import { OctavoError } from "../../errors.ts";

/** Pages that hold `tokens` positions. */
export function pagesFor(tokens: number): number {
  return Math.ceil(tokens / PAGE_SIZE);
}

export class PagePool {
  /** Pages 0 ... total - 1. */
  readonly total: number;
  /** The free pages are the first `#count`; the last one is given out next, so that recently used pages stay in caches. */
  readonly #free: Int32Array;
  #count: number;
  readonly #used: Uint8Array;

  /** @throws OCTAVO_BAD_ARGUMENT unless `total` is a whole number from 1 on. */
  constructor(total: number) {
    if (!Number.isSafeInteger(total) || total < 1)
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `a KV cache of ${total} pages; a whole number from 1 on is needed`);
    this.total = total;
    this.#count = total;
    this.#free = Int32Array.from({ length: total }, (_, index) => total - 1 - index);
    this.#used = new Uint8Array(total);
  }

  get free(): number {
    return this.#count;
  }

  get used(): number {
    return this.total - this.#count;
  }

  /** `count` pages in the order of their positions, or undefined (and no change) when fewer are free. */
  take(count: number): Int32Array | undefined {
    if (!Number.isSafeInteger(count) || count < 0)
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `${count} pages asked for; a whole number from 0 on is needed`);
    if (count > this.#count) return undefined;
    const pages = new Int32Array(count);
    for (let index = 0; index < count; index += 1) {
      const page = this.#free[this.#count - 1 - index]!;
      pages[index] = page;
      this.#used[page] = 1;
    }
    this.#count -= count;
    return pages;
  }

  /** Give pages back. A page that is not out is an error, and then none is taken back. */
  release(pages: Int32Array): void {
    for (const [index, page] of pages.entries()) {
      // Marking as it goes finds a page listed twice as well.
      if (this.#used[page] === 1) {
        this.#used[page] = 0;
        continue;
      }
      for (const seen of pages.subarray(0, index)) this.#used[seen] = 1;
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `page ${page} is given back but is not in use`);
    }
    for (let index = pages.length - 1; index >= 0; index -= 1) {
      this.#free[this.#count] = pages[index]!;
      this.#count += 1;
    }
  }
}
