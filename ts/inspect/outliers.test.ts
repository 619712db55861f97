import { expect, it } from "vitest";
import { heatMap } from "./heat-map.ts";
import { type Observation, summarize } from "./outliers.ts";

/** Four layers of two projections; dimension 2 of the first one is an outlier feature, dimension 0 only in one layer. */
const observations: Observation[] = [0, 1, 2, 3].flatMap((layer) => [
  {
    layer,
    projection: "self_attn.qkv_proj",
    counts: Int32Array.of(layer === 1 ? 100 : 0, 0, layer < 2 ? 30 : 0),
    largest: Float32Array.of(layer === 1 ? 9 : 1, 2, layer < 2 ? 40 + layer : 3),
  },
  {
    layer,
    projection: "mlp.down_proj",
    counts: Int32Array.of(0, layer === 3 ? 1 : 0),
    largest: Float32Array.of(1, 8),
  },
]);

it("counts layers, tokens and magnitudes of each dimension, and says which the paper's criterion takes", () => {
  const [attention, down] = summarize(observations, 200);
  expect(attention).toEqual({
    projection: "self_attn.qkv_proj",
    width: 3,
    share: 160 / (4 * 3 * 200),
    layers: [
      { layer: 0, dimensions: 1, share: 30 / 600, largest: 40 },
      { layer: 1, dimensions: 2, share: 130 / 600, largest: 41 },
      { layer: 2, dimensions: 0, share: 0, largest: 3 },
      { layer: 3, dimensions: 0, share: 0, largest: 3 },
    ],
    dimensions: [
      // A quarter of the layers and 12.5 % of the tokens; half of the layers and 7.5 %.
      { dimension: 0, layers: 0.25, tokens: 0.125, largest: 9, systematic: true },
      { dimension: 2, layers: 0.5, tokens: 0.075, largest: 41, systematic: true },
    ],
  });
  expect(down!.dimensions).toEqual([{ dimension: 1, layers: 0.25, tokens: 1 / 800, largest: 8, systematic: false }]);
});

it("draws each layer and dimension with an outlier, and nothing else", () => {
  const svg = heatMap("a < b & c", observations, 200);
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" .*<\/svg>\n$/s);
  expect(svg).toContain("a &lt; b &amp; c");
  expect(svg.match(/M\d+ \d+h/g)).toHaveLength(4);
  const wide = { ...observations[0]!, counts: new Int32Array(5000).fill(1), largest: new Float32Array(5000).fill(7) };
  // Columns of several dimensions, all alike: one stretch.
  expect(heatMap("wide", [wide], 200)).toMatch(/5000 dimensions, 5 to a column.*M48 \d+h1000v/s);
});
