/** The pages of one device's KV cache, with a count of references each. Pure; free + used = total at all times. */
import { PAGE_SIZE } from "../../../protocol/ops.ts";
import { badArgument } from "../../errors.ts";

declare const pageBrand: unique symbol;
/** A page. Not a number to calculate with: what it means, only page tables and kernels know. */
export type PageId = number & { readonly [pageBrand]: true };

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
  /** Of each page; 0 is free. */
  readonly #references: Uint32Array;

  /** @throws OCTAVO_BAD_ARGUMENT unless `total` is a whole number from 1 on. */
  constructor(total: number) {
    if (!Number.isSafeInteger(total) || total < 1)
      throw badArgument(`a KV cache of ${total} pages; a whole number from 1 on is needed`);
    this.total = total;
    this.#count = total;
    this.#free = Int32Array.from({ length: total }, (_, index) => total - 1 - index);
    this.#references = new Uint32Array(total);
  }

  get free(): number {
    return this.#count;
  }

  get used(): number {
    return this.total - this.#count;
  }

  references(page: PageId): number {
    return this.#references[page] ?? 0;
  }

  /** A free page, with one reference; undefined when there is none. */
  take(): PageId | undefined {
    if (this.#count === 0) return undefined;
    this.#count -= 1;
    const page = this.#free[this.#count] as PageId;
    this.#references[page] = 1;
    return page;
  }

  /** One more reference to a page in use. */
  share(page: PageId): void {
    this.#references[page] = this.#inUse(page) + 1;
  }

  /** One reference less; with the last one the page is free. A page that is not in use is an error, and nothing changes. */
  release(page: PageId): void {
    const left = this.#inUse(page) - 1;
    this.#references[page] = left;
    if (left > 0) return;
    this.#free[this.#count] = page;
    this.#count += 1;
  }

  #inUse(page: PageId): number {
    const references = this.references(page);
    if (references === 0) throw badArgument(`page ${page} is not in use`);
    return references;
  }
}
