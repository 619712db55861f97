/**
 * Static placement: every intermediate gets an offset in one arena, so that nothing is allocated while serving.
 *
 * Two values may share bytes only if no op needs both: a value lives from the op that writes it to the last op that
 * reads it (or a view of it), both included, so no op's result ever overlaps its operands.
 * Largest first, each into the smallest gap that holds it (best fit) among the values alive at the same time.
 */
import type { Sizes } from "../../protocol/messages.ts";
import type { Program, ValueId } from "./program.ts";
import { shapeAt } from "./shapes.ts";
import { allocatedBytes } from "./tensor-bytes.ts";

export interface Placement {
  readonly program: Program;
  /** Bytes of the arena. */
  readonly bytes: number;
  /** Bytes that all intermediates would take without sharing. */
  readonly sum: number;
}

/** When a value is needed, as indices of ops, both ends included. */
export interface Lifetime {
  readonly value: ValueId;
  readonly first: number;
  readonly last: number;
}

/** Lifetimes of all intermediates that an op writes. Program outputs live to the end. */
export function lifetimes(program: Program): Lifetime[] {
  const live = new Map<ValueId, { first: number; last: number }>();
  const root = (id: ValueId): ValueId => {
    const { place } = program.values[id]!;
    return place.type === "columns" ? root(place.of) : id;
  };
  const touch = (id: ValueId, op: number) => {
    const owner = root(id);
    if (program.values[owner]!.place.type !== "intermediate") return;
    const known = live.get(owner);
    if (known) known.last = op;
    else live.set(owner, { first: op, last: op });
  };
  for (const [index, op] of program.ops.entries()) {
    for (const id of Object.values(op.inputs)) touch(id, index);
    for (const id of Object.values(op.outputs)) touch(id, index);
  }
  for (const { value } of program.outputs) touch(value, program.ops.length);
  return [...live].map(([value, { first, last }]) => ({ value, first, last }));
}

/** Sets the offset of every intermediate for steps up to `limits`. */
export function arena(program: Program, limits: Sizes): Placement {
  const blocks = lifetimes(program).map((lifetime) => {
    const { dtype, layout, shape } = program.values[lifetime.value]!;
    return { ...lifetime, bytes: allocatedBytes(dtype, layout, shapeAt(shape, limits)) };
  });
  blocks.sort((a, b) => b.bytes - a.bytes || a.first - b.first || a.value - b.value);
  const placed: { first: number; last: number; offset: number; end: number }[] = [];
  const offsets = new Map<ValueId, number>();
  let bytes = 0;
  let sum = 0;
  for (const { value, first, last, bytes: size } of blocks) {
    const alive = placed.filter((other) => other.first <= last && first <= other.last);
    const offset = bestGap(alive, size);
    placed.push({ first, last, offset, end: offset + size });
    offsets.set(value, offset);
    bytes = Math.max(bytes, offset + size);
    sum += size;
  }
  const values = program.values.map((value, id) => {
    const offset = offsets.get(id as ValueId);
    return offset === undefined ? value : { ...value, place: { type: "intermediate", offset } as const };
  });
  return { program: { ...program, values }, bytes, sum };
}

/** Offset of the smallest gap between `taken` ranges that holds `size` bytes; the end of the last range otherwise. */
function bestGap(taken: { offset: number; end: number }[], size: number): number {
  taken.sort((a, b) => a.offset - b.offset);
  let best: { offset: number; room: number } | undefined;
  let cursor = 0;
  for (const { offset, end } of taken) {
    const room = offset - cursor;
    if (room >= size && (best === undefined || room < best.room)) best = { offset: cursor, room };
    cursor = Math.max(cursor, end);
  }
  return best?.offset ?? cursor;
}
