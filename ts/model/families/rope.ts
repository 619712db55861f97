/** Rotary tables: frequencies and scaling kinds, computed in float64 and rounded once to float32. */

export type RopeScaling =
  | { readonly kind: "none" }
  | { readonly kind: "linear"; readonly factor: number }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequency: number;
      readonly highFrequency: number;
      readonly original: number;
    }
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly original: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly attention: number | undefined;
    };

export interface RopeTables {
  /** [context, headDim / 2] */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** Angle per position of each pair of a head. */
export function ropeFrequencies(headDim: number, theta: number, scaling: RopeScaling): Float64Array {
  const base = Float64Array.from({ length: headDim / 2 }, (_, i) => theta ** ((-2 * i) / headDim));
  switch (scaling.kind) {
    case "none":
      return base;
    case "linear":
      return base.map((frequency) => frequency / scaling.factor);
    case "llama3": {
      // Long waves are stretched, short ones kept, those between blended (Llama 3.1's rule).
      const { factor, lowFrequency, highFrequency, original } = scaling;
      return base.map((frequency) => {
        const turns = (original * frequency) / (2 * Math.PI);
        if (turns < lowFrequency) return frequency / factor;
        if (turns > highFrequency) return frequency;
        const smooth = (turns - lowFrequency) / (highFrequency - lowFrequency);
        return ((1 - smooth) * frequency) / factor + smooth * frequency;
      });
    }
    case "yarn": {
      // arXiv 2309.00071: a ramp over the pairs, between those that turn betaFast and betaSlow times in the original context.
      const { factor, original, betaFast, betaSlow } = scaling;
      const pairOf = (turns: number) => (headDim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
      const low = Math.max(Math.floor(pairOf(betaFast)), 0);
      const high = Math.min(Math.ceil(pairOf(betaSlow)), headDim - 1);
      return base.map((frequency, i) => {
        const ramp = Math.min(Math.max((i - low) / Math.max(high - low, 0.001), 0), 1);
        return (frequency / factor) * ramp + frequency * (1 - ramp);
      });
    }
  }
}

export function ropeTables(context: number, headDim: number, theta: number, scaling: RopeScaling): RopeTables {
  const frequencies = ropeFrequencies(headDim, theta, scaling);
  const magnitude =
    scaling.kind === "yarn" ? (scaling.attention ?? 0.1 * Math.log(Math.max(scaling.factor, 1)) + 1) : 1;
  const half = frequencies.length;
  const cos = new Float32Array(context * half);
  const sin = new Float32Array(context * half);
  for (let position = 0; position < context; position++)
    for (let i = 0; i < half; i++) {
      const angle = position * frequencies[i]!;
      cos[position * half + i] = Math.cos(angle) * magnitude;
      sin[position * half + i] = Math.sin(angle) * magnitude;
    }
  return { cos, sin };
}
