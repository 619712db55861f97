/** The rules of the op table: what an op asks of its operands beyond their dtypes and shapes. As `validate/rules.py`. */
import type { DType, Rule } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";
import type { AttributeValue } from "./program.ts";
import type { ShapeScope } from "./shapes.ts";

/** Throws with the rule's code. Shapes already agree with the op table; of a result `dtypeOf` knows nothing. */
export function checkRules(
  rules: readonly Rule[],
  where: string,
  scope: ShapeScope,
  attributes: Readonly<Record<string, AttributeValue>>,
  dtypeOf: (operand: string) => DType | undefined,
): void {
  for (const { relation, left, right, code, text } of rules) {
    const read = (expression: string) =>
      relation === "dtype" ? (dtypeOf(expression) ?? attributes[expression]) : (scope.size(expression) ?? expression);
    if (holds(relation, read(left), read(right))) continue;
    throw new OctavoError(code, `${where}: ${text.replaceAll(/\{(.+?)\}/g, (_, said: string) => String(read(said)))}`);
  }
}

function holds(relation: Rule["relation"], left: unknown, right: unknown): boolean {
  // A result has the dtype that an attribute says, because it is made so.
  if (relation === "dtype") return left === right || left === undefined || right === undefined;
  if (typeof left !== "number" || typeof right !== "number") return false;
  return relation === "multiple" ? left % right === 0 : left <= right;
}
