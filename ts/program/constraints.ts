/** What the dimension expressions of the op table cannot say: relations between attributes, shapes and dtypes. As `rules.py`. */
import type { DType, OpName } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";
import type { AttributeValue, Dimension } from "./program.ts";
import { formatShape } from "./shapes.ts";

interface Typed {
  readonly dtype: DType;
  readonly shape: readonly Dimension[];
}

/** Products of codes are at most 127 * 128 (as in `rules.py`). */
const MOST_DEPTH = Math.floor((2 ** 31 - 1) / (127 * 128));

type OperandOf = (operand: string) => Typed | undefined;

/** Throws `OCTAVO_SHAPE_MISMATCH` unless rows of `x` [T, K] are as wide as those of `weight` [N, K]: both by their own shapes. */
export function checkProduct(where: string, x: readonly Dimension[], weight: readonly Dimension[]): void {
  if (x.length === 2 && weight.length === 2 && x[1] === weight[1]) return;
  throw new OctavoError(
    "OCTAVO_SHAPE_MISMATCH",
    `${where}: x ${formatShape(x)} and w ${formatShape(weight)} do not fit; x is [T, K], w is [N, K], with the same K`,
  );
}

/** Throws `OCTAVO_SHAPE_MISMATCH`, `OCTAVO_DTYPE_MISMATCH` or `OCTAVO_BAD_ARGUMENT`. Shapes already agree with the op table. */
export function checkOperation(
  op: OpName,
  where: string,
  attributes: Readonly<Record<string, AttributeValue>>,
  operandOf: OperandOf,
): void {
  if (op === "rope") checkRope(where, "x", attributes, operandOf);
  if (op === "rope_append") {
    checkRope(where, "q", attributes, operandOf);
    checkRope(where, "k", attributes, operandOf);
  }
  if (op === "attention") {
    const { heads, kvHeads } = attributes as { heads: number; kvHeads: number };
    if (heads % kvHeads !== 0)
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `${where}: ${heads} heads are no multiple of ${kvHeads} kvHeads`);
  }
  const [keys, values] = [operandOf("keys"), operandOf("values")];
  if (keys?.dtype !== values?.dtype)
    throw new OctavoError(
      "OCTAVO_DTYPE_MISMATCH",
      `${where}: keys are ${keys?.dtype}, values ${values?.dtype}; they must be alike`,
    );
  const depth = op === "linear_published" || op === "linear_scheme" ? operandOf("x")?.shape[1] : 0;
  if (typeof depth === "number" && depth > MOST_DEPTH)
    throw new OctavoError(
      "OCTAVO_SHAPE_MISMATCH",
      `${where}: rows of ${depth}; int32 sums of products of codes hold ${MOST_DEPTH}`,
    );
  if (op === "sample" || op === "score" || op === "embed") checkVocabulary(op, where, attributes, operandOf);
}

function checkVocabulary(
  op: "sample" | "score" | "embed",
  where: string,
  attributes: Readonly<Record<string, AttributeValue>>,
  operandOf: OperandOf,
): void {
  const vocabulary = op === "embed" ? operandOf("table")?.shape[0] : operandOf("logits")?.shape[1];
  if (typeof vocabulary !== "number" || vocabulary < 1 || vocabulary >= 2 ** 31)
    throw new OctavoError(
      "OCTAVO_SHAPE_MISMATCH",
      `${where}: a vocabulary of ${vocabulary}; it must be fixed, at least 1 and below 2^31: ids are int32`,
    );
  const words = attributes.maskWords as number;
  if (op === "sample" && words * 32 < vocabulary)
    throw new OctavoError("OCTAVO_SHAPE_MISMATCH", `${where}: masks of ${words} words cannot hold ${vocabulary} ids`);
}

function checkRope(
  where: string,
  operand: string,
  attributes: Readonly<Record<string, AttributeValue>>,
  operandOf: OperandOf,
): void {
  const headDim = attributes.headDim as number;
  const width = operandOf(operand)?.shape[1];
  const half = operandOf("cos")?.shape[1];
  if (typeof width !== "number" || width % headDim !== 0)
    throw new OctavoError(
      "OCTAVO_SHAPE_MISMATCH",
      `${where}: ${operand} has ${width} columns, no multiple of headDim ${headDim}`,
    );
  if (typeof half !== "number" || 2 * half > headDim)
    throw new OctavoError(
      "OCTAVO_SHAPE_MISMATCH",
      `${where}: the tables turn 2 * ${half} elements of a head, but headDim is ${headDim}`,
    );
}
