/** Which KV pages a step writes. */

import { PAGE_SIZE } from "../../protocol/ops.ts";
import type { TracedStep } from "../deploy/trace-file.ts";
import { inputArrays } from "../program/payload.ts";
import type { ProgramHandle } from "../tensor/program-handle.ts";

/** Ascending; none for a program without the input `slots`. */
export function touchedPages(program: ProgramHandle, { sizes, payload }: TracedStep): number[] {
  const target = inputArrays(program, sizes);
  target.payload.set(Buffer.from(payload, "base64"));
  const slots = target.arrays.slots ?? [];
  const pages = new Set(Array.from(slots as Int32Array, (slot) => Math.floor(slot / PAGE_SIZE)));
  return [...pages].filter((page) => page >= 0).sort((a, b) => a - b);
}
