/** If these fail, an evaluation says nothing and looks like one that says something. */
import { describe, expect, it } from "vitest";
import { Tally } from "./tally.ts";

const counters = { quantized: 4, carries: 1, nonfinite: 0, nanoseconds: 1 };
const judged = (nll: number[]) => {
  const tally = new Tally();
  const zeros = nll.map(() => 0);
  const outputs = { nll: Float32Array.from(nll), kl: Float32Array.from(zeros), top1: Int32Array.from(zeros) };
  tally.add(outputs, nll.length, counters);
  return tally;
};

describe("a tally", () => {
  it("has the perplexity of the mean surprise", () => {
    expect(judged([1, 2, 3]).perplexity).toBe(Math.exp(2));
  });

  it("has no perplexity that is not a number", () => {
    const refused = expect.objectContaining({ code: "OCTAVO_NONFINITE" });
    expect(() => judged([800, 900]).perplexity).toThrow(refused);
    expect(() => judged([1, Number.NaN]).perplexity).toThrow(refused);
  });
});
