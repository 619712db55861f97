/**
 * One program per stage: pipeline parallel by layers. A pass before `shard` and `fuse`; it knows ops and no family.
 *
 * A program is cut where everything that later ops need is one float32 value [T, K], beside what every stage has anyway: inputs
 * and parameters. One side sends it and the other receives it; no number is computed anew, so bits do not change. Attention is
 * what layers have one of, so of the cuts between two attentions the last one is between their layers.
 */
import type { DType } from "../../protocol/ops.ts";
import { badArgument } from "../errors.ts";
import type { Operation, Program, ValueId } from "./program.ts";
import { compact, isMutated } from "./rewrite.ts";
import { checkShares } from "./shard/units.ts";
import { allocatedBytes } from "./tensor-bytes.ts";

/** How much the output layer counts: when decoding each step needs it, in a prompt hardly any. Half is least wrong for both. */
const OF_DRAWN = 0.5;

/** Where a program can be cut: before this op, with this value to send. */
interface Place {
  readonly at: number;
  readonly value: ValueId;
}

/**
 * The programs of as many stages as there are shares, the first one first. A share is how many bytes of parameters a step of the
 * stage reads, beside the others'; KV counts as one page, the output layer half. All stages have the same inputs; the last one alone has outputs.
 * A parameter that two of them read is on both. One share: the program as it is.
 * Throws `OCTAVO_BAD_ARGUMENT` for shares that are no positive numbers, and for more stages than there are layers.
 */
export function cutStages(program: Program, shares: readonly number[]): readonly Program[] {
  checkShares(shares);
  if (shares.length === 1) return [program];
  const like = program.inputs.find((id) => isRowOf(program, id));
  const places = like === undefined ? [] : betweenLayers(program, findPlaces(program));
  if (places.length + 1 < shares.length) {
    const most = places.length + 1;
    const text = `${shares.length} stages, but the model can be cut into ${most} at most`;
    throw badArgument(`${text}: a stage has one layer at least`);
  }
  const cuts = balance(program, places, shares);
  return shares.map((_, stage) => stageOf(program, cuts[stage - 1], cuts[stage], like!));
}

/** An integer for each token: `receive` takes T from it. */
function isRowOf({ values }: Program, id: ValueId): boolean {
  const { dtype, shape } = values[id]!;
  return dtype === "int32" && shape.length === 1 && shape[0] === "T";
}

function findPlaces(program: Program): Place[] {
  const { ops, outputs } = program;
  const last = new Map<ValueId, number>();
  for (const [index, op] of ops.entries())
    for (const id of Object.values(op.inputs)) last.set(rootOf(program, id), index);
  for (const { value } of outputs) last.set(rootOf(program, value), ops.length);
  const apart = statesApart(program);
  const places: Place[] = [];
  const alive = new Set<ValueId>();
  for (const [index, op] of ops.entries()) {
    // What is read for the last time at `index` is still alive before it.
    for (const id of alive) if (last.get(id)! < index) alive.delete(id);
    const [value] = alive;
    if (alive.size === 1 && isSendable(program, value!) && apart(index)) places.push({ at: index, value: value! });
    for (const id of Object.values(op.outputs))
      if (program.values[id]!.place.type === "intermediate" && (last.get(id) ?? -1) > index) alive.add(id);
  }
  return places;
}

function rootOf({ values }: Program, id: ValueId): ValueId {
  const { place } = values[id]!;
  return place.type === "columns" ? place.of : id;
}

function isSendable({ values }: Program, id: ValueId): boolean {
  const { dtype, layout, shape } = values[id]!;
  const sent: DType = "float32";
  return dtype === sent && layout === "plain" && shape.length === 2 && shape[0] === "T" && typeof shape[1] === "number";
}

/**
 * Whether a cut before an op leaves every parameter that ops write with one stage. What a step has written, another process does
 * not see; an operand that may be left out is left out there (`stageOf`).
 */
function statesApart(program: Program): (at: number) => boolean {
  const ranges = new Map<string, [first: number, last: number]>();
  const written = writtenBy(program);
  for (const [index, op] of program.ops.entries())
    for (const [name, id] of [...Object.entries(op.inputs), ...Object.entries(op.outputs)]) {
      const { place } = program.values[rootOf(program, id)]!;
      if (place.type !== "parameter" || !written.has(place.name) || isLeftOut(op, name)) continue;
      const range = ranges.get(place.name);
      if (range === undefined) ranges.set(place.name, [index, index]);
      else range[1] = index;
    }
  return (at) => [...ranges.values()].every(([first, last]) => at <= first || at > last);
}

/** Ids that the step before has drawn: only where they are drawn. Negative ids are refused without. */
function isLeftOut({ op }: Operation, operand: string): boolean {
  return op === "embed" && operand === "sampled";
}

/** Parameters that ops write, and at which ops. */
function writtenBy({ ops, values }: Program): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, number[]>();
  for (const [index, { op, inputs, outputs }] of ops.entries()) {
    const mutated = Object.entries(inputs).flatMap(([name, id]) => (isMutated(op, name) ? [id] : []));
    for (const id of [...mutated, ...Object.values(outputs)]) {
      const { place } = values[id]!;
      if (place.type === "parameter") found.set(place.name, [...(found.get(place.name) ?? []), index]);
    }
  }
  return found;
}

/** Of the places between two attentions the last one; all of a program without attention. */
function betweenLayers({ ops }: Program, places: readonly Place[]): readonly Place[] {
  const attentions = ops.flatMap(({ op }, index) => (op === "attention" ? [index] : []));
  if (attentions.length === 0) return places;
  return attentions.slice(1).flatMap((next, before) => {
    const place = places.findLast(({ at }) => at > attentions[before]! && at <= next);
    return place ?? [];
  });
}

/** The places that make the largest stage, for its share, smallest; the first such ones. There are enough of them. */
function balance(program: Program, places: readonly Place[], shares: readonly number[]): readonly Place[] {
  const ends = [0, ...places.map(({ at }) => at), program.ops.length];
  const bytes = ends.slice(0, -1).map((_, from) => bytesFrom(program, ends, from));
  interface Best {
    readonly worst: number;
    readonly ends: readonly number[];
  }
  // Of the first stages up to each end; stage by stage.
  let best = ends.map((_, end): Best => ({ worst: end === 0 ? 0 : Infinity, ends: [] }));
  for (const share of shares)
    best = ends.map((_, end) => {
      let found: Best = { worst: Infinity, ends: [] };
      for (let from = 0; from < end; from++) {
        const worst = Math.max(best[from]!.worst, bytes[from]![end]! / share);
        if (worst < found.worst) found = { worst, ends: [...best[from]!.ends, end] };
      }
      return found;
    });
  return best
    .at(-1)!
    .ends.slice(0, -1)
    .map((end) => places[end - 1]!);
}

/** Bytes of parameters that the ops from `ends[from]` up to each later end read. */
function bytesFrom(program: Program, ends: readonly number[], from: number): number[] {
  const known = new Set<string>();
  let bytes = 0;
  const found = new Array<number>(from + 1).fill(0);
  for (let end = from + 1; end < ends.length; end++) {
    for (const op of program.ops.slice(ends[end - 1], ends[end]))
      for (const [name, id] of Object.entries(op.inputs)) {
        const { place } = program.values[rootOf(program, id)]!;
        // Of an embedding a step reads a row for each token.
        if (place.type !== "parameter" || known.has(place.name) || (op.op === "embed" && name === "table")) continue;
        known.add(place.name);
        const { dtype, layout, shape, source } = program.parameters.get(place.name)!;
        // However many pages a plan finds room for: it is made of these programs.
        const one = source.type === "state" && source.kind === "kv" ? shape.with(0, 1) : shape;
        bytes += allocatedBytes(dtype, layout, one) * (isOfDrawn(program, op) ? OF_DRAWN : 1);
      }
    found.push(Math.max(1, bytes)); // One that reads nothing is a stage as well.
  }
  return found;
}

/** Whether an op has only the rows that tokens are drawn of. */
function isOfDrawn({ values }: Program, { outputs }: Operation): boolean {
  return Object.values(outputs).some((id) => values[id]!.shape[0] === "S");
}

/** What lies between two places; from the beginning without a first one, to the end without a second. */
function stageOf(program: Program, from: Place | undefined, to: Place | undefined, like: ValueId): Program {
  const { values, parameters, outputs } = program;
  const [begin, end] = [from?.at ?? 0, to?.at ?? program.ops.length];
  const written = writtenBy(program);
  const isElsewhere = (id: ValueId) => {
    const { place } = values[id]!;
    return (
      place.type === "parameter" && written.get(place.name)?.some((index) => index < begin || index >= end) === true
    );
  };
  const ops: Operation[] = program.ops.slice(begin, end).map((op) => {
    const inputs = Object.entries(op.inputs).filter(([name, id]) => !(isLeftOut(op, name) && isElsewhere(id)));
    return { ...op, inputs: Object.fromEntries(inputs) };
  });
  if (from !== undefined) {
    const { label, shape } = values[from.value]!;
    const attributes = { columns: shape[1] as number };
    ops.unshift({ op: "receive", inputs: { like }, outputs: { y: from.value }, attributes, label: `${label}.receive` });
  }
  if (to !== undefined) {
    const label = `${values[to.value]!.label}.send`;
    ops.push({ op: "send", inputs: { x: to.value }, outputs: {}, attributes: {}, label });
  }
  return compact({ values, ops, inputs: program.inputs, outputs: to === undefined ? outputs : [], parameters });
}
