/** What outliers a text makes in a model's linears: counts of columns, and which are systematic. Pure. */

/** What was counted of the input of some linears of one layer, over all tokens. */
export interface Observation {
  readonly layer: number;
  /** The linears that read it: "self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj". */
  readonly projection: string;
  /** Per dimension: tokens with an outlier there, and the largest magnitude. */
  readonly counts: Int32Array;
  readonly largest: Float32Array;
}

/** A dimension of the input of a projection, over all layers. */
export interface OutlierDimension {
  readonly dimension: number;
  /** Share of layers in which some token has an outlier there. */
  readonly layers: number;
  /** Share of tokens with an outlier there, the mean of all layers. */
  readonly tokens: number;
  readonly largest: number;
  /** By the paper's criterion. */
  readonly systematic: boolean;
}

export interface ProjectionLayer {
  readonly layer: number;
  /** Dimensions with an outlier. */
  readonly dimensions: number;
  /** Share of all elements. */
  readonly share: number;
  readonly largest: number;
}

export interface ProjectionOutliers {
  readonly projection: string;
  /** Of its input. */
  readonly width: number;
  /** Share of all elements that are outliers. */
  readonly share: number;
  readonly layers: readonly ProjectionLayer[];
  /** Those with an outlier, the most frequent first. */
  readonly dimensions: readonly OutlierDimension[];
}

/** Section 4 of the paper: an outlier feature is one in at least a quarter of the layers and 6 % of the positions. */
export const CRITERION = { layers: 0.25, tokens: 0.06 } as const;

/** By projection, in the order in which a layer runs them. */
export function summarize(observations: readonly Observation[], tokens: number): ProjectionOutliers[] {
  const projections = new Map<string, Observation[]>();
  for (const observation of observations) {
    const known = projections.get(observation.projection);
    if (known) known.push(observation);
    else projections.set(observation.projection, [observation]);
  }
  return [...projections].map(([projection, of]) => {
    const width = of[0]!.counts.length;
    const layers = of.map(({ layer, counts, largest }): ProjectionLayer => {
      const outliers = counts.reduce((sum, count) => sum + count, 0);
      const dimensions = counts.filter((count) => count > 0).length;
      return { layer, dimensions, share: outliers / (width * tokens), largest: Math.max(...largest) };
    });
    const dimensions = Array.from({ length: width }, (_, k) => dimensionOf(of, k, tokens))
      .filter(({ layers }) => layers > 0)
      .sort((a, b) => b.tokens - a.tokens || a.dimension - b.dimension);
    const share = layers.reduce((sum, layer) => sum + layer.share, 0) / layers.length;
    return { projection, width, share, layers, dimensions };
  });
}

function dimensionOf(of: readonly Observation[], dimension: number, tokens: number): OutlierDimension {
  const hit = of.filter(({ counts }) => counts[dimension]! > 0).length / of.length;
  const share = of.reduce((sum, { counts }) => sum + counts[dimension]!, 0) / (of.length * tokens);
  return {
    dimension,
    layers: hit,
    tokens: share,
    largest: Math.max(...of.map(({ largest }) => largest[dimension]!)),
    systematic: hit >= CRITERION.layers && share >= CRITERION.tokens,
  };
}
