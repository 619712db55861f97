import { describe, expect, it } from "vitest";
import type { Manifest, TensorEntry } from "../model/source/manifest.ts";
import { planManifest } from "./plan.ts";

/** The demo model's shapes (SmolLM2-135M). */
function smollm2(): Manifest {
  const tensors = new Map<string, TensorEntry>();
  const add = (name: string, ...shape: number[]) =>
    tensors.set(name, { name, file: "f", offset: 0, bytes: 0, type: "F16", shape });
  add("model.embed_tokens.weight", 49152, 576);
  add("model.norm.weight", 576);
  for (let i = 0; i < 30; i++) {
    const layer = `model.layers.${i}`;
    for (const name of ["input", "post_attention"]) add(`${layer}.${name}_layernorm.weight`, 576);
    for (const name of ["q", "o"]) add(`${layer}.self_attn.${name}_proj.weight`, 576, 576);
    for (const name of ["k", "v"]) add(`${layer}.self_attn.${name}_proj.weight`, 192, 576);
    for (const name of ["gate", "up"]) add(`${layer}.mlp.${name}_proj.weight`, 1536, 576);
    add(`${layer}.mlp.down_proj.weight`, 576, 1536);
  }
  const config = {
    architectures: ["LlamaForCausalLM"],
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    vocab_size: 49152,
    max_position_embeddings: 8192,
    tie_word_embeddings: true,
  };
  return { path: "test", format: "safetensors", tensors, config, tokenizer: undefined };
}

describe("planManifest", () => {
  it("gives the demo model's bytes as computed by hand", () => {
    const plan = planManifest(smollm2(), { device: { name: "device:0", total: 2 ** 30 }, context: 2048, sequences: 1 });
    expect(plan.fits).toBe(true);
    // Per layer: q 576, k and v 192 each, o 576 rows of 576; gate and up 1536 rows of 576; down 576 rows of 1536.
    expect(plan.totals.int8).toBe(30 * (1536 * 576 + 3072 * 576 + 576 * 1536));
    expect(plan.totals.scales).toBe(30 * 4 * (960 + 576 + 3072 + 576));
    // K and V, 30 layers, 3 heads of 64, two bytes: 23,040 bytes a token.
    expect(plan.devices[0]!.kv).toBe(2048 * 23_040);
  });

  it("refuses with the missing bytes, and fits when given exactly these", () => {
    const options = { device: { name: "device:0", total: 256 * 2 ** 20 }, context: 8192, sequences: 1 };
    const plan = planManifest(smollm2(), options);
    expect(plan.fits).toBe(false);
    const missing = Number(/\((\d+) bytes\) more/.exec(plan.refusal!)![1]);
    // The margin is a share of the total, so a little more than the missing bytes is needed.
    const total = options.device.total + Math.ceil(missing / 0.97);
    expect(planManifest(smollm2(), { ...options, device: { name: "device:0", total } }).fits).toBe(true);
  });
});
