/**
 * Which axes of a program's ops are cut, and where.
 *
 * Axes that share a value go together: all operands of `glu`, and the linears before it, have the same boundaries. Such a set is cut
 * unless something in it can only be whole: the result of an op that has no part of it, an input, a parameter that is not cut so.
 * Who needs all of a value that is cut does not change that: `gather` makes it whole.
 */
import { PACKED_ROWS } from "../../../protocol/ops.ts";
import type { Operation, Program, ValueId } from "../program.ts";
import { isMutated } from "../rewrite.ts";
import { type Axis, columnRule } from "./columns.ts";
import { canBeCut, hasOneForm } from "./parameters.ts";
import { type Cut, cutColumns, cutHeads } from "./units.ts";

/** The cut of an axis of an op; undefined: each rank has all of it. */
export type Cuts = (op: Operation, axis: Axis) => Cut | undefined;

/** What goes together, while it is being found out. */
interface AxisSet {
  whole: boolean;
  /** Pieces of its axes: each must have boundaries where all have them. */
  readonly pieces: Set<number>;
  /** Values of it that somebody needs whole. */
  readonly gathered: Set<ValueId>;
  /** Dimension in which a parameter of one form lies along it. */
  readonly dimensions: Map<string, number>;
}

/** Throws `OCTAVO_BAD_ARGUMENT` where there are more ranks than heads. */
export function findCuts(program: Program, shares: readonly number[]): Cuts {
  const sets = new AxisSets(writtenParameters(program));
  for (const [index, op] of program.ops.entries()) addOperation(program, sets, index, op);
  for (const [id, { place }] of program.values.entries()) {
    if (place.type === "input") sets.of(`value ${id}`).whole = true;
    if (place.type !== "columns") continue;
    sets.of(`value ${id}`).whole = true;
    needWhole(program, sets, place.of);
  }
  for (const { value } of program.outputs) needWhole(program, sets, value);
  const cuts = cutAll(program, sets, shares);
  const indices = new Map(program.ops.map((op, index) => [op, index]));
  return (op, axis) => cuts.get(sets.of(axisNode(indices.get(op)!, axis)));
}

const axisNode = (index: number, axis: Axis) => `op ${index} ${axis}`;

/** What stands for a value among the sets; undefined for a parameter of which there may be several parts. */
function nodeOf({ values, parameters }: Program, sets: AxisSets, id: ValueId): string | undefined {
  const { place } = values[id]!;
  if (place.type !== "parameter") return `value ${id}`;
  const parameter = parameters.get(place.name)!;
  if (!hasOneForm(parameter) && !sets.written.has(place.name)) return undefined;
  // Codes and their scales are one thing.
  return `parameter ${parameter.source.type === "scale" ? parameter.source.of : place.name}`;
}

/** Parameters that ops write. */
function writtenParameters({ ops, values }: Program): ReadonlySet<string> {
  const ids = ops.flatMap(({ op, inputs, outputs }) => [
    ...Object.values(outputs),
    ...Object.entries(inputs).flatMap(([name, id]) => (isMutated(op, name) ? [id] : [])),
  ]);
  return new Set(ids.flatMap((id) => ((place) => (place.type === "parameter" ? [place.name] : []))(values[id]!.place)));
}

function addOperation(program: Program, sets: AxisSets, index: number, op: Operation): void {
  const rule = columnRule(op.op, op.attributes);
  const operands = [
    ...Object.entries(op.inputs).map(([name, id]) => ({ name, id, output: false })),
    ...Object.entries(op.outputs).map(([name, id]) => ({ name, id, output: true })),
  ];
  for (const { name, id, output } of operands) {
    const place = rule[name];
    const { shape, place: lies } = program.values[id]!;
    if (place === undefined) {
      if (output || isMutated(op.op, name)) forceWhole(program, sets, id);
      else needWhole(program, sets, id);
      continue;
    }
    const axis = axisNode(index, place.axis);
    const pieces = Number(shape[place.dimension]) / (place.per === undefined ? 1 : Number(op.attributes[place.per]));
    const set = sets.of(axis);
    if (Number.isInteger(pieces)) set.pieces.add(pieces);
    else set.whole = true;
    if (lies.type !== "parameter") {
      sets.join(axis, `value ${id}`);
      continue;
    }
    const parameter = program.parameters.get(lies.name)!;
    if (output) {
      // Computed in parts, and gathered into the parameter, which is whole.
      forceWhole(program, sets, id);
      set.gathered.add(id);
      continue;
    }
    if (!canBeCut(parameter, place.dimension)) set.whole = true;
    if (isMutated(op.op, name) && parameter.source.type !== "state") set.whole = true;
    const node = nodeOf(program, sets, id);
    if (node === undefined) continue;
    const joined = sets.join(axis, node);
    if ((joined.dimensions.get(node) ?? place.dimension) !== place.dimension) joined.whole = true;
    joined.dimensions.set(node, place.dimension);
  }
}

/** Somebody takes all of it. Of a parameter of one form, or in a type that `gather` does not have, there is then no part. */
function needWhole(program: Program, sets: AxisSets, id: ValueId): void {
  const { dtype, shape, place } = program.values[id]!;
  if (place.type === "parameter" || dtype !== "float32" || shape.length !== 2) forceWhole(program, sets, id);
  else sets.of(`value ${id}`).gathered.add(id);
}

function forceWhole(program: Program, sets: AxisSets, id: ValueId): void {
  const node = nodeOf(program, sets, id);
  if (node !== undefined) sets.of(node).whole = true;
}

function cutAll(program: Program, sets: AxisSets, shares: readonly number[]): Map<AxisSet, Cut> {
  const attentions = program.ops.flatMap((op, index) => {
    if (op.op !== "attention") return [];
    const { heads, kvHeads } = op.attributes as { readonly heads: number; readonly kvHeads: number };
    const [ofHeads, ofKv] = [sets.of(axisNode(index, "heads")), sets.of(axisNode(index, "kvHeads"))];
    return [{ heads, kvHeads, ofHeads, ofKv, label: op.label }];
  });
  const cuts = new Map<AxisSet, Cut>();
  // Each round finds at least one more that is whole, or is the last.
  for (let settled = false; !settled; ) {
    settled = true;
    cuts.clear();
    for (const { heads, kvHeads, ofHeads, ofKv, label } of attentions) {
      if (ofHeads.whole && ofKv.whole) continue;
      const found = ofHeads.whole || ofKv.whole ? undefined : cutHeads(heads, kvHeads, shares, label);
      if (found !== undefined && put(cuts, ofHeads, found[0]) && put(cuts, ofKv, found[1])) continue;
      ofHeads.whole = true;
      ofKv.whole = true;
      settled = false;
    }
  }
  for (const set of sets.all()) {
    if (set.whole || cuts.has(set) || set.pieces.size === 0) continue;
    const [pieces, ...others] = [...set.pieces];
    // Blocks of a packed weight's rows; where an axis counts heads, whole ones.
    const cut =
      others.length === 0
        ? cutColumns(pieces!, PACKED_ROWS, shares)
        : cutColumns([...set.pieces].reduce(greatestCommonDivisor), 1, shares);
    if (cut !== undefined) cuts.set(set, cut);
  }
  return cuts;
}

/** False where a cut of heads is none of something that goes together with them. */
function put(cuts: Map<AxisSet, Cut>, set: AxisSet, cut: Cut): boolean {
  const known = cuts.get(set);
  if (known !== undefined && JSON.stringify(known) !== JSON.stringify(cut)) return false;
  const ends = cut.ranges.map(([, to]) => to);
  for (const pieces of set.pieces) if (ends.some((end) => (end * pieces) % cut.pieces !== 0)) return false;
  // What several ranks have cannot be put side by side.
  const shared = cut.ranges.some(([from], rank) => rank > 0 && from !== ends[rank - 1]);
  if (shared && set.gathered.size > 0) return false;
  cuts.set(set, cut);
  return true;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** Disjoint sets of nodes: axes of ops, values, and parameters of one form. */
class AxisSets {
  /** Parameters that ops write: there is one form of each. */
  readonly written: ReadonlySet<string>;
  readonly #parents = new Map<string, string>();
  readonly #sets = new Map<string, AxisSet>();

  constructor(written: ReadonlySet<string>) {
    this.written = written;
  }

  of(node: string): AxisSet {
    const root = this.#root(node);
    let set = this.#sets.get(root);
    if (set === undefined) {
      set = { whole: false, pieces: new Set(), gathered: new Set(), dimensions: new Map() };
      this.#sets.set(root, set);
    }
    return set;
  }

  join(a: string, b: string): AxisSet {
    const kept = this.of(a);
    const other = this.of(b);
    if (kept === other) return kept;
    kept.whole ||= other.whole;
    for (const pieces of other.pieces) kept.pieces.add(pieces);
    for (const id of other.gathered) kept.gathered.add(id);
    for (const [node, dimension] of other.dimensions) {
      if ((kept.dimensions.get(node) ?? dimension) !== dimension) kept.whole = true;
      kept.dimensions.set(node, dimension);
    }
    this.#sets.delete(this.#root(b));
    this.#parents.set(this.#root(b), this.#root(a));
    return kept;
  }

  all(): Iterable<AxisSet> {
    return this.#sets.values();
  }

  #root(node: string): string {
    const parent = this.#parents.get(node);
    if (parent === undefined) return node;
    const root = this.#root(parent);
    this.#parents.set(node, root);
    return root;
  }
}
