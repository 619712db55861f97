/** What a decoding step must read. If this fails, the GB/s of the bench history mean nothing. */
import { expect, test } from "vitest";
import { buildModel, modelOfConfig } from "../model/families/index.ts";
import { fuse } from "../program/fuse.ts";
import { weightBytes } from "./costs.ts";

const config = (tied: boolean) => ({
  architectures: ["LlamaForCausalLM"],
  ...{ hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2 },
  ...{ vocab_size: 320, max_position_embeddings: 512, tie_word_embeddings: tied },
});

test.each([true, false])("weights count once, an embedding table only where it is the head too (tied: %s)", (tied) => {
  const plain = { context: 512, pages: 9, rows: 1, kv: "int16", output: { type: "sample" } } as const;
  const options = { weights: "int8", head: "16bit", threshold: "adaptive", headThreshold: "all", ...plain } as const;
  const program = buildModel(modelOfConfig("config.json", config(tied)), options);
  // Of each layer: q 64, k and v 32 each, o 64, gate and up 128 rows of 64, down 64 rows of 128; scales; two norms in float32.
  const layer = (128 + 64 + 256) * 64 + 64 * 128 + 4 * (128 + 64 + 256 + 64) + 2 * 64 * 4;
  for (const one of [program, fuse(program)]) expect(weightBytes(one)).toBe(2 * layer + 64 * 4 + 320 * 64 * 2);
});
