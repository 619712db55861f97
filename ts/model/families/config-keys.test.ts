/** If these fail, a model loads, runs fast, and computes something else than its config says. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { REAL_CONFIGS } from "../../../test/support/real-configs.ts";
import { tinyConfig } from "../../../test/support/tiny-model.ts";
import { type LlamaConfig, llamaConfig } from "./config.ts";
import { modelOfConfig } from "./index.ts";

function describeConfig(config: Readonly<Record<string, unknown>>): LlamaConfig {
  modelOfConfig("config.json", config);
  return llamaConfig((config.architectures as string[])[0]!, config);
}

function refused(config: Readonly<Record<string, unknown>>, message: RegExp, code = "OCTAVO_UNSUPPORTED_MODEL") {
  expect(() => describeConfig(config)).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) }),
  );
}

describe("the configs of published models", () => {
  it.each(Object.entries(REAL_CONFIGS))("%s is understood", (_, config) => {
    expect(describeConfig(config)).toMatchObject({
      layers: config.num_hidden_layers,
      hidden: config.hidden_size,
      context: config.max_position_embeddings,
      tiedEmbeddings: config.tie_word_embeddings,
    });
  });

  it("say their windows, positions and biases", () => {
    const facts = Object.fromEntries(
      Object.entries(REAL_CONFIGS).map(([name, config]) => {
        const { window, theta, scaling, qkvBias, kvHeads } = describeConfig(config);
        return [name, [window, theta, scaling.kind, qkvBias, kvHeads]];
      }),
    );
    expect(facts).toEqual({
      "Llama 1 7B": [0, 10000, "none", false, 32],
      "Llama 2 7B": [0, 10000, "none", false, 32],
      "Llama 3 8B": [0, 500000, "none", false, 8],
      "Llama 3.1 8B": [0, 500000, "llama3", false, 8],
      "Llama 3.2 1B": [0, 500000, "llama3", false, 8],
      "Mistral 7B v0.1": [4096, 10000, "none", false, 8],
      "Mistral 7B v0.2": [0, 1000000, "none", false, 8],
      "Mistral 7B v0.3": [0, 1000000, "none", false, 8],
      "Mistral Small 24B, saved by transformers 5": [0, 1000000000, "none", false, 8],
      "Qwen 1.5 0.5B": [0, 1000000, "none", true, 16],
      "Qwen 2 7B": [0, 1000000, "none", true, 4],
      "Qwen 2.5 0.5B": [0, 1000000, "none", true, 2],
      "Qwen 2.5 with yarn, as its card says": [0, 1000000, "yarn", true, 4],
      "Qwen 2.5, saved by transformers 4.56": [0, 1000000, "none", true, 4],
      "SmolLM2 135M": [0, 100000, "none", false, 3],
      "TinyLlama 1.1B": [0, 10000, "none", false, 4],
      "DeepSeek Coder 6.7B": [0, 100000, "linear", false, 32],
    });
  });
});

describe("a key that changes the computation is refused by its name", () => {
  it.each([
    ["granite's multipliers", { attention_multiplier: 0.0078125 }, /attention_multiplier is 0\.0078125/],
    ["granite's residuals", { residual_multiplier: 0.22 }, /residual_multiplier/],
    ["granite's embedding", { embedding_multiplier: 12 }, /embedding_multiplier/],
    ["granite's logits", { logits_scaling: 8 }, /logits_scaling is 8/],
    ["gemma's soft caps", { attn_logit_softcapping: 50 }, /attn_logit_softcapping/],
    ["gemma's soft cap of logits", { final_logit_softcapping: 30 }, /final_logit_softcapping/],
    ["gemma's spelling of the activation", { hidden_activation: "gelu_pytorch_tanh" }, /hidden_activation/],
    ["norms of queries and keys", { use_qk_norm: true }, /use_qk_norm is true/],
    ["layers without rope", { no_rope_layers: [1, 1, 1, 0] }, /no_rope_layers/],
    ["rope over a part of a head", { partial_rotary_factor: 0.5 }, /partial_rotary_factor is 0\.5/],
    ["clamped queries", { clip_qkv: 8 }, /clip_qkv/],
    ["a parallel residual", { parallel_residual: true }, /parallel_residual/],
    ["experts", { num_local_experts: 8 }, /num_local_experts is 8/],
    ["no causality", { is_causal: false }, /is_causal is false/],
    ["GPT-2's spelling of a size", { n_embd: 64 }, /n_embd/],
    ["the original checkpoint's spelling", { ffn_dim_multiplier: 1.3, multiple_of: 256 }, /ffn_dim_multiplier/],
    ["a window where there is none", { sliding_window: 24 }, /sliding_window is 24, which LlamaForCausalLM does not/],
    ["bitsandbytes", { quantization_config: { quant_method: "bitsandbytes" } }, /\("bitsandbytes"\).*16-bit/],
    ["MLX", { quantization: { group_size: 64, bits: 4 } }, /quantization:.*16-bit/],
    ["interleaved rope", { rope_interleaved: true }, /rope_interleaved/],
    ["layers that differ", { layer_types: ["full_attention", "chunked_attention"] }, /chunked_attention/],
  ])("%s", (_, change, message) => refused(tinyConfig({ config: change }), message));

  it("unless it asks for nothing", () => {
    const nothing = {
      attn_logit_softcapping: null,
      use_qk_norm: false,
      partial_rotary_factor: 1.0,
      logits_scaling: 1,
      num_local_experts: 0,
      pruned_heads: {},
      quantization_config: null,
      tie_word_embeddings: null,
      sliding_window: null,
    };
    expect(describeConfig(tinyConfig({ config: nothing }))).toEqual(describeConfig(tinyConfig()));
  });

  it("whatever the key and its value", () => {
    const value = fc.oneof(fc.integer({ min: 1 }), fc.constant(true), fc.string({ minLength: 1 }), fc.constant([0.5]));
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), value, (name, given) => {
        const key = `x${name}`;
        expect(() => describeConfig({ ...tinyConfig(), [key]: given })).toThrow(
          expect.objectContaining({
            code: "OCTAVO_UNSUPPORTED_MODEL",
            message: expect.stringContaining(key.slice(0, 80)),
          }),
        );
      }),
    );
  });
});

describe("a config that contradicts itself is refused", () => {
  const code = "OCTAVO_MODEL_FILE_INVALID";
  it.each([
    ["a model type of another architecture", { model_type: "granite" }, /model_type is "granite".*"llama"/],
    ["a number as a string", { num_hidden_layers: "2" }, /num_hidden_layers/],
    ["a flag as a string", { tie_word_embeddings: "false" }, /tie_word_embeddings/],
    ["an epsilon that float32 has not", { rms_norm_eps: 1e-60 }, /rms_norm_eps/],
    ["a base that float32 has not", { rope_theta: 1e-60 }, /rope_theta is 1e-60/],
    ["a factor that float32 has not", { rope_scaling: { type: "linear", factor: 1e-300 } }, /rope factor is 1e-300/],
    ["two bases", { rope_theta: 10000, rope_parameters: { rope_theta: 500000 } }, /rope_theta.*differ/],
    [
      "two scalings",
      { rope_scaling: { type: "linear", factor: 2 }, rope_parameters: { rope_type: "linear", factor: 4 } },
      /rope_scaling and rope_parameters differ/,
    ],
    ["two types", { rope_scaling: { type: "linear", rope_type: "llama3", factor: 2 } }, /rope_type and type differ/],
    [
      "two original lengths",
      {
        original_max_position_embeddings: 64,
        rope_scaling: { type: "yarn", factor: 2, original_max_position_embeddings: 32 },
      },
      /original_max_position_embeddings.*differ/,
    ],
    [
      "bands of no width",
      { rope_scaling: { rope_type: "llama3", factor: 8, low_freq_factor: 4, high_freq_factor: 4 } },
      /low_freq_factor 4 is not below/,
    ],
  ])("%s", (_, change, message) => refused(tinyConfig({ config: change }), message, code));

  it("Mistral's window is that of its class where the config leaves it out", () => {
    const { sliding_window, ...config } = tinyConfig({ family: "mistral" });
    expect(describeConfig(config).window).toBe(4096);
  });

  it("Mistral with a window and without one", () => {
    refused(tinyConfig({ family: "mistral", config: { use_sliding_window: false } }), /use_sliding_window/, code);
  });
});

describe("a dictionary of rope", () => {
  const scaled = (rope_scaling: Readonly<Record<string, unknown>>) => tinyConfig({ config: { rope_scaling } });

  it.each([
    ["Qwen2-VL's sections", { type: "default", mrope_section: [2, 3, 3] }, /mrope_section/],
    ["a type that is not implemented", { rope_type: "dynamic", factor: 2 }, /"dynamic"/],
    ["DeepSeek's yarn", { rope_type: "yarn", factor: 4, mscale: 0.9, mscale_all_dim: 0.8 }, /mscale/],
    ["yarn that is not truncated", { rope_type: "yarn", factor: 4, truncate: false }, /truncate/],
    ["a factor that nobody reads", { rope_type: "linear", factor: 2, attention_factor: 1.5 }, /attention_factor/],
    ["a part of a head", { rope_type: "default", partial_rotary_factor: 0.25 }, /partial_rotary_factor/],
    [
      "one for each type of layer",
      { full_attention: { rope_type: "default" }, sliding_attention: { rope_type: "default" } },
      /full_attention/,
    ],
  ])("with %s is refused by its key", (_, rope, message) => refused(scaled(rope), message));

  it("means the same in all its spellings", () => {
    const linear = describeConfig(scaled({ type: "linear", factor: 2 }));
    expect(linear.scaling).toEqual({ kind: "linear", factor: 2 });
    const parameters = { rope_type: "linear", factor: 2, rope_theta: 10000, partial_rotary_factor: 1 };
    const five = tinyConfig({ config: { rope_theta: undefined, rope_parameters: parameters } });
    expect(describeConfig(five)).toEqual(linear);
    const top = { original_max_position_embeddings: 64, rope_scaling: { type: "yarn", factor: 2 } };
    expect(describeConfig(tinyConfig({ config: top }))).toEqual(
      describeConfig(scaled({ rope_type: "yarn", factor: 2, original_max_position_embeddings: 64 })),
    );
  });
});
