/** The int8 schemes of the LLM.int8() paper's Table 1: what `linear_scheme` computes. */
import { badArgument } from "../errors.ts";

export interface Scheme {
  readonly codes: "absmax" | "zeropoint";
  /** What shares a scale. `row`: a row of activations, the whole weight; `vector`: a row of activations, an output of the weight. */
  readonly scope: "tensor" | "row" | "vector";
  /** Outlier columns (any |x| >= it in the step) are multiplied in 16-bit floats. 0: no decomposition. */
  readonly threshold: number;
}

/** The paper's. */
const DECOMPOSED_AT = 6;

/** All twelve by name, in the order of the paper's table: without decomposition first. */
export const SCHEMES: ReadonlyMap<string, Scheme> = new Map(
  [0, DECOMPOSED_AT].flatMap((threshold) =>
    (["tensor", "row", "vector"] as const).flatMap((scope) =>
      (["absmax", "zeropoint"] as const).map((codes) => {
        const scheme: Scheme = { codes, scope, threshold };
        return [formatScheme(scheme), scheme] as const;
      }),
    ),
  ),
);

/** "absmax-vector", "zeropoint-row-decomposed". */
export function formatScheme({ codes, scope, threshold }: Scheme): string {
  return `${codes}-${scope}${threshold > 0 ? "-decomposed" : ""}`;
}

/** From a command line: names with commas between them, or `all`. Throws `OCTAVO_BAD_ARGUMENT` for another name. */
export function parseSchemes(text: string): Scheme[] {
  if (text.trim() === "all") return [...SCHEMES.values()];
  return text.split(",").map((name) => {
    const scheme = SCHEMES.get(name.trim());
    if (scheme) return scheme;
    throw badArgument(`no scheme ${JSON.stringify(name.trim())}; there are all, ${[...SCHEMES.keys()].join(", ")}`);
  });
}
