/** What of a model a rank has, read off its program. Pure. */
import type { Program, Range, ValueId } from "../program/program.ts";

/** Of a layer, and of the output layer. Undefined where a model has none of it. */
export interface RankCut {
  /** From the first one to the first one behind them; all, but for stages. */
  readonly layers: Range;
  readonly heads: number | undefined;
  /** Of these ranks share some where there are fewer than ranks. */
  readonly kvHeads: number | undefined;
  /** Columns between the two halves of an MLP. */
  readonly mlp: number | undefined;
  /** Tokens of which it computes the logits. */
  readonly vocabulary: number | undefined;
}

/** Of a program before it is fused, whose stage is behind so many layers. */
export function cutOf(program: Program, before = 0): RankCut {
  const find = (...names: string[]) => program.ops.find(({ op }) => names.includes(op));
  const columns = (id: ValueId | undefined) => (id === undefined ? undefined : lastOf(program, id));
  const attention = find("attention")?.attributes;
  return {
    layers: [before, before + layersOf(program)],
    heads: attention && Number(attention.heads),
    kvHeads: attention && Number(attention.kvHeads),
    mlp: columns(find("glu", "activate")?.outputs.y),
    vocabulary: columns(ownLogits(program)),
  };
}

/** Each has one attention. */
export function layersOf({ ops }: Program): number {
  return ops.filter(({ op }) => op === "attention").length;
}

/** The logits that this rank computes; all of them where nothing is gathered. */
export function ownLogits({ ops }: Program): ValueId | undefined {
  const logits = ops.find(({ op }) => op === "sample")?.inputs.logits;
  return ops.find(({ op, outputs }) => op === "gather" && outputs.y === logits)?.inputs.x ?? logits;
}

function lastOf({ values }: Program, id: ValueId): number | undefined {
  const size = values[id]!.shape.at(-1);
  return typeof size === "number" ? size : undefined;
}
