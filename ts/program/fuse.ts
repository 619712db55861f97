/**
 * Neighbouring ops become one op of the same arithmetic: fewer passes over memory, the same bits.
 * Effects (KV pages, sampled ids, results in parameters) keep their order: only pure ops move.
 */
import { OPS, type OpName } from "../../protocol/ops.ts";
import { mergeLinears } from "./merge.ts";
import type { Operation, Program, ValueId } from "./program.ts";
import { Uses } from "./rewrite.ts";

/**
 * What one rank runs. Passes that cut a program into ranks come before it: they put collectives between the plain ops, and
 * only what they have left together is fused, and merged, here.
 */
export function fuse(program: Program): Program {
  return mergeLinears(fuseRope(fuseQuantize(fuseInt8(program))));
}

/** Statistics, inliers and digits -> quantize; products and dequantisation -> linear_int8; where nothing stands between. */
function fuseInt8(program: Program): Program {
  const uses = new Uses(program);
  const result = new Map<number, Operation | undefined>();
  for (const [index, last] of program.ops.entries()) {
    const before = program.ops[index - 1];
    const first = program.ops[index - 2];
    if (last.op === "dequantize" && before?.op === "multiply_int8" && onlyRead(uses, before.outputs.sums!)) {
      if (last.inputs.sums !== before.outputs.sums) continue;
      result.set(index - 1, undefined);
      const inputs = ordered("linear_int8", { ...before.inputs, ...last.inputs });
      result.set(index, { ...last, op: "linear_int8", inputs });
    }
    if (last.op !== "quantize_digits" || before?.op !== "row_inliers" || first?.op !== "row_statistics") continue;
    const { x, statistics, inliers } = last.inputs;
    const together = statistics === first.outputs.statistics && inliers === before.outputs.inliers;
    const { columns, ...attributes } = before.attributes;
    if (!together || statistics !== before.inputs.statistics || columns !== program.values[x!]!.shape[1]) continue;
    if (x !== first.inputs.x || x !== before.inputs.x || !onlyRead(uses, statistics!, 2) || !onlyRead(uses, inliers!))
      continue;
    result.set(index - 2, undefined);
    result.set(index - 1, undefined);
    result.set(index, { ...last, op: "quantize", inputs: { x: x! }, attributes });
  }
  return replace(program, result);
}

/** norm + quantize, add + norm + quantize, glu + quantize; the result between them must have no other reader. */
function fuseQuantize(program: Program): Program {
  const uses = new Uses(program);
  const producer = producers(program);
  const result = new Map<number, Operation | undefined>();
  for (const [index, quantize] of program.ops.entries()) {
    if (quantize.op !== "quantize" || !fresh(program, quantize)) continue;
    const x = quantize.inputs.x!;
    const at = producer.get(x);
    if (at === undefined || !onlyRead(uses, x)) continue;
    const before = program.ops[at]!;
    if (before.op !== "glu" && before.op !== "norm") continue;
    const attributes = { ...before.attributes, ...quantize.attributes };
    result.set(index, undefined);
    const addAt = before.op === "norm" ? producer.get(before.inputs.x!) : undefined;
    const add = addAt === undefined ? undefined : program.ops[addAt]!;
    if (addAt !== undefined && add?.op === "add" && !result.has(addAt) && parametersOnly(program, before)) {
      const { x: _, ...norm } = before.inputs;
      const inputs = ordered("add_norm_quantize", { ...add.inputs, ...norm });
      const outputs = { ...add.outputs, ...quantize.outputs };
      result.set(at, undefined);
      result.set(addAt, { op: "add_norm_quantize", inputs, outputs, attributes, label: before.label });
    } else {
      const op = before.op === "glu" ? "glu_quantize" : "norm_quantize";
      result.set(at, { ...quantize, op, inputs: ordered(op, before.inputs), attributes, label: before.label });
    }
  }
  return replace(program, result);
}

/** rope(q), rope(k), append(k, v) -> rope_append, at the place of `append`. */
function fuseRope(program: Program): Program {
  const uses = new Uses(program);
  const producer = producers(program);
  const result = new Map<number, Operation | undefined>();
  const ropes = new Set(program.ops.flatMap((op, index) => (op.op === "rope" ? [index] : [])));
  for (const [index, append] of program.ops.entries()) {
    if (append.op !== "append") continue;
    const kAt = producer.get(append.inputs.k!);
    const k = kAt === undefined ? undefined : program.ops[kAt]!;
    if (kAt === undefined || k?.op !== "rope" || !onlyRead(uses, append.inputs.k!) || !fresh(program, k)) continue;
    const qAt = find(ropes, (i) => {
      const q = program.ops[i]!;
      if (i === kAt || i > index || !fresh(program, q)) return false;
      const same = ["positions", "cos", "sin"].every((name) => q.inputs[name] === k.inputs[name]);
      const sameAttributes =
        q.attributes.headDim === k.attributes.headDim && q.attributes.pairing === k.attributes.pairing;
      // Rotated only here: nobody may read the result before `append`.
      return same && sameAttributes && uses.of(q.outputs.y!).every((use) => use > index);
    });
    if (qAt === undefined || k.attributes.headDim !== append.attributes.headDim) continue;
    const q = program.ops[qAt]!;
    result.set(qAt, undefined);
    result.set(kAt, undefined);
    // Found again for no other one: those left are few, however many layers there are.
    ropes.delete(qAt);
    ropes.delete(kAt);
    result.set(index, {
      op: "rope_append",
      inputs: ordered("rope_append", { ...append.inputs, ...k.inputs, q: q.inputs.x!, k: k.inputs.x! }),
      outputs: { y: q.outputs.y! },
      attributes: { ...k.attributes, kvHeads: append.attributes.kvHeads! },
      label: append.label,
    });
  }
  return replace(program, result);
}

function producers(program: Program): Map<ValueId, number> {
  return new Map(program.ops.flatMap((op, index) => Object.values(op.outputs).map((id) => [id, index] as const)));
}

function find<T>(values: Iterable<T>, is: (value: T) => boolean): T | undefined {
  for (const value of values) if (is(value)) return value;
  return undefined;
}

/** All results are intermediates: an op that writes a parameter has an effect and stays where it is. */
function fresh(program: Program, op: Operation): boolean {
  return Object.values(op.outputs).every((id) => program.values[id]!.place.type === "intermediate");
}

/** Whether so many operands, and nothing else, read a value. */
function onlyRead(uses: Uses, id: ValueId, readers = 1): boolean {
  return uses.inside(id) && uses.of(id).length === readers;
}

/** Whether weight and bias exist before any op, so that the norm may move up to the add. */
function parametersOnly(program: Program, norm: Operation): boolean {
  return Object.entries(norm.inputs).every(
    ([name, id]) => name === "x" || program.values[id]!.place.type === "parameter",
  );
}

/** Operands of the op in the table's order, others dropped. */
function ordered(op: OpName, inputs: Operation["inputs"]): Operation["inputs"] {
  const names = Object.keys(OPS[op].inputs).filter((name) => inputs[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, inputs[name]!]));
}

/** With what nothing uses any more still in it: the last stage drops it. */
function replace(program: Program, result: ReadonlyMap<number, Operation | undefined>): Program {
  const ops = program.ops.flatMap((op, index) => (result.has(index) ? (result.get(index) ?? []) : op));
  return { ...program, ops };
}
