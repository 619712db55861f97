/** Where one sequence's keys and values lie. Changed by the room alone; others read page tables and slots from it. */
import { PAGE_SIZE } from "../../../protocol/ops.ts";
import { type PageId, pagesFor } from "./pages.ts";

export class SequencePages {
  /** Page of positions 16j ... 16j + 15 at j. */
  readonly ids: PageId[] = [];
  /** Pages that the room keeps for it and its positions have not reached. */
  promised = 0;

  /** The pages of the first `tokens` positions, into `table` from `at` on. */
  writeTable(table: Int32Array, at: number, tokens: number): void {
    const count = pagesFor(tokens);
    for (let index = 0; index < count; index += 1) table[at + index] = this.ids[index]!;
  }

  /** Where `append` puts a position: page * PAGE_SIZE + its place in the page. */
  slot(position: number): number {
    return this.ids[Math.floor(position / PAGE_SIZE)]! * PAGE_SIZE + (position % PAGE_SIZE);
  }
}
