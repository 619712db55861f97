/** What the dimension expressions of the op table cannot say: relations between attributes and shapes. */
import type { OpName } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";
import type { AttributeValue, Dimension } from "./program.ts";

type ShapeOf = (operand: string) => readonly Dimension[] | undefined;

/** Throws `OCTAVO_SHAPE_MISMATCH` or `OCTAVO_BAD_ARGUMENT`. Shapes already agree with the op table. */
export function checkOperation(
  op: OpName,
  where: string,
  attributes: Readonly<Record<string, AttributeValue>>,
  shapeOf: ShapeOf,
): void {
  if (op === "rope") checkRope(where, "x", attributes, shapeOf);
  if (op === "rope_append") {
    checkRope(where, "q", attributes, shapeOf);
    checkRope(where, "k", attributes, shapeOf);
  }
  if (op === "attention") {
    const { heads, kvHeads } = attributes as { heads: number; kvHeads: number };
    if (heads % kvHeads !== 0)
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `${where}: ${heads} heads are no multiple of ${kvHeads} kvHeads`);
  }
}

function checkRope(
  where: string,
  operand: string,
  attributes: Readonly<Record<string, AttributeValue>>,
  shapeOf: ShapeOf,
): void {
  const headDim = attributes.headDim as number;
  const width = shapeOf(operand)?.[1];
  const half = shapeOf("cos")?.[1];
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
