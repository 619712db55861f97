/** What a step of a program has to compute, counted before it runs. Pure. */
import type { Sizes, WireDimension } from "../../protocol/messages.ts";
import { PAGE_SIZE } from "../../protocol/ops.ts";
import type { LoweredProgram } from "./lower.ts";

/** What an element that is not multiplied by a matrix costs, in multiply-adds: exponentials, sorting, rounding. */
const ELEMENT = 20;

/** Multiply-adds of a step, by what they grow with. */
export interface ProgramCost {
  /** Of every step, per token and per drawn row. */
  readonly fixed: number;
  readonly perToken: number;
  readonly perSample: number;
  /** Attention: per token and page of the longest sequence. */
  readonly perTokenPage: number;
}

/** Only what is large is counted: products with matrices, attention, and the elements of every result. */
export function costOf({ values, ops }: Pick<LoweredProgram["message"], "values" | "ops">): ProgramCost {
  const cost = { fixed: 0, perToken: 0, perSample: 0, perTokenPage: 0 };
  const add = (rows: WireDimension | undefined, work: number) => {
    if (rows === undefined) cost.fixed += work;
    else if (rows.type === "fixed") cost.fixed += rows.size * work;
    else if (rows.symbol.startsWith("S")) cost.perSample += work;
    else cost.perToken += work; // No other symbol has more rows than tokens.
  };
  for (const { op, inputs, outputs, attributes } of ops) {
    for (const output of outputs) {
      const [rows, ...others] = values[output.value]!.shape;
      add(rows, ELEMENT * elements(others));
    }
    const weight = inputs.find(({ name }) => name === "weight");
    if ((op.startsWith("linear") || op === "multiply_int8") && weight !== undefined)
      add(values[outputs[0]!.value]!.shape[0], elements(values[weight.value]!.shape));
    if (op === "attention") {
      const [heads, size] = ["heads", "headDim"].map((wanted) => {
        const found = attributes.find(({ name }) => name === wanted);
        return found?.type === "integer" ? found.integer : 1;
      });
      cost.perTokenPage += 2 * heads! * size! * PAGE_SIZE;
    }
  }
  return cost;
}

export function multiplyAdds({ fixed, perToken, perSample, perTokenPage }: ProgramCost, sizes: Sizes): number {
  return fixed + sizes.T * perToken + (sizes.S + 1) * perSample + sizes.T * sizes.J * perTokenPage;
}

/** Dimensions that a step brings are 1: they are columns of small tables. */
function elements(shape: readonly WireDimension[]): number {
  return shape.reduce((product, dimension) => product * (dimension.type === "fixed" ? dimension.size : 1), 1);
}
