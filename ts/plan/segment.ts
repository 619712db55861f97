/**
 * The memory in which the ranks of a group meet: 64 bytes with the abort word, 64 bytes for each rank, and from the next
 * multiple of 4,096 on two slots for each rank, and two for each stage but the last. Pure.
 */
import type { Sizes } from "../../protocol/messages.ts";
import type { Program } from "../program/program.ts";
import { shapeAt } from "../program/shapes.ts";
import { contentBytes, roundUp } from "../program/tensor-bytes.ts";

const LINE = 64;
const PAGE = 4096;
/** Bytes in whole multiples of which the workers' shared memory is given out. */
export const SHARED_GRAIN = 2 ** 20;
/** Of a slot. More is copied in turns: a slot that stays in the caches of two cores is the faster one. */
const MOST_SLOT = 2 ** 20;

/** Bytes of the segment for steps of these programs up to `limits`; 0 where nothing is gathered or sent. */
export function segmentBytes(programs: readonly Program[], limits: Sizes, stages = 1): number {
  let largest = 0;
  for (const { ops, values } of programs)
    for (const { op, inputs } of ops) {
      if (op !== "gather" && op !== "send") continue;
      const { dtype, shape } = values[inputs.x!]!;
      largest = Math.max(largest, contentBytes(dtype, shapeAt(shape, limits)));
    }
  if (largest === 0) return 0;
  const slot = Math.min(MOST_SLOT, roundUp(largest, LINE) + LINE); // A line says what is in it.
  const ranks = programs.length;
  return roundUp(roundUp(LINE * (1 + ranks), PAGE) + 2 * (ranks + stages - 1) * slot, SHARED_GRAIN);
}
