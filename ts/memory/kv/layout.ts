/** What a page of the KV cache holds, by groups of layers that hold the same. Pure. */
import { type DType, OPS } from "../../../protocol/ops.ts";
import type { Program } from "../../program/program.ts";
import { allocatedBytes } from "../../program/tensor-bytes.ts";

export interface KvGroup {
  readonly layers: number;
  /** Of K and V; their steps are float32. */
  readonly dtype: DType;
  /** Of one page, in all layers of the group. */
  readonly bytesPerPage: number;
  /** Keys that a query sees, itself included; 0 is all. With a window, pages before it are not read again. */
  readonly window: number;
}

/**
 * A sequence has one list of pages for all groups today, so that a page costs the sum of them; lists by group are what would make a
 * window save memory.
 */
export type KvLayout = readonly KvGroup[];

/** From the states that a program's attention reads, whose first dimension is pages. */
export function kvLayout(program: Program): KvLayout {
  const groups = new Map<string, KvGroup>();
  const kept = [...program.parameters].filter(([, { source }]) => source.type === "state" && source.kind === "kv");
  const left = new Map(kept);
  for (const { op, inputs, attributes } of program.ops) {
    if (!("window" in OPS[op].attributes)) continue;
    const states = Object.values(inputs).flatMap((id) => {
      const { place } = program.values[id]!;
      return (place.type === "parameter" && left.get(place.name)) || [];
    });
    if (states.length === 0) continue; // Those of another layer.
    const { dtype } = states[0]!;
    const window = Number(attributes.window ?? 0);
    const { layers, bytesPerPage } = groups.get(`${dtype} ${window}`) ?? { layers: 0, bytesPerPage: 0 };
    const bytes = states.reduce(
      (sum, { dtype, layout, shape }) => sum + allocatedBytes(dtype, layout, [1, ...shape.slice(1)]),
      bytesPerPage,
    );
    groups.set(`${dtype} ${window}`, { layers: layers + 1, dtype, bytesPerPage: bytes, window });
    for (const { name } of states) left.delete(name);
  }
  if (left.size > 0) throw new RangeError(`no attention reads the KV states ${[...left.keys()].join(", ")}`);
  return [...groups.values()];
}

/** Bytes of one page in all layers. */
export function pageBytes(layout: KvLayout): number {
  return layout.reduce((sum, { bytesPerPage }) => sum + bytesPerPage, 0);
}
