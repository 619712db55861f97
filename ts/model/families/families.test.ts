import { describe, expect, it } from "vitest";
import { OPTIONS } from "../../../test/support/model-options.ts";
import { llamaConfig } from "./config.ts";
import type { ModelOptions } from "./index.ts";
import { buildModel, describeModel, modelOfConfig } from "./index.ts";

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 300,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
};

describe("a config that would run and be wrong is refused, with the key that is to blame", () => {
  it.each([
    [
      { architectures: ["MambaForCausalLM"] },
      "OCTAVO_UNKNOWN_ARCHITECTURE",
      /MambaForCausalLM; there are LlamaForCausalLM/,
    ],
    [{ hidden_act: "mish" }, "OCTAVO_UNSUPPORTED_MODEL", /hidden_act "mish"/],
    [{ rope_scaling: { rope_type: "longrope" } }, "OCTAVO_UNSUPPORTED_MODEL", /longrope/],
    [{ rope_scaling: { rope_type: "linear" } }, "OCTAVO_MODEL_FILE_INVALID", /rope factor/],
    [
      { architectures: ["Qwen2ForCausalLM"], use_sliding_window: true, sliding_window: 8 },
      "OCTAVO_UNSUPPORTED_MODEL",
      /use_sliding_window/,
    ],
    [{ num_key_value_heads: 3 }, "OCTAVO_MODEL_FILE_INVALID", /4 heads, 3 kv heads/],
    [{ hidden_size: 66 }, "OCTAVO_MODEL_FILE_INVALID", /head size 16.5/],
    [{ num_hidden_layers: undefined }, "OCTAVO_MODEL_FILE_INVALID", /num_hidden_layers/],
    [{ vocab_size: -1 }, "OCTAVO_MODEL_FILE_INVALID", /vocab_size/],
  ] as const)("%j", (change, code, message) => {
    const model = () => describeModel(modelOfConfig("config.json", { ...CONFIG, ...change }));
    expect(model).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});

describe("files that are not what the config says are refused before anything is allocated", () => {
  it("a tensor is missing", () => {
    const model = modelOfConfig("config.json", CONFIG);
    const tensors = new Map(model.tensors);
    tensors.delete("model.layers.1.mlp.up_proj.weight");
    expect(() => buildModel({ ...model, tensors }, OPTIONS)).toThrow(
      expect.objectContaining({
        code: "OCTAVO_MODEL_INCOMPLETE",
        message: expect.stringContaining("model.layers.1.mlp.up_proj.weight"),
      }),
    );
  });

  it("a tensor has another shape", () => {
    const model = modelOfConfig("config.json", CONFIG);
    const name = "model.layers.0.self_attn.k_proj.weight";
    const tensors = new Map(model.tensors).set(name, { ...model.tensors.get(name)!, shape: [64, 64] });
    expect(() => buildModel({ ...model, tensors }, OPTIONS)).toThrow(
      expect.objectContaining({
        code: "OCTAVO_MODEL_FILE_INVALID",
        message: expect.stringMatching(/k_proj.*\[64, 64\]; the config says \[32, 64\]/),
      }),
    );
  });
});

describe("what a config says without saying it", () => {
  it("Qwen2's window is not used unless use_sliding_window says so", () => {
    const config = { ...CONFIG, architectures: ["Qwen2ForCausalLM"], sliding_window: 8 };
    expect(llamaConfig("Qwen2ForCausalLM", config).window).toBe(0);
  });

  it("the head of tied embeddings is the embedding, once in memory unless it is to be int8", () => {
    const model = modelOfConfig("config.json", { ...CONFIG, tie_word_embeddings: true });
    const large = (options: ModelOptions) =>
      [...buildModel(model, options).parameters.values()].filter(({ shape }) => shape[0] === 300 && shape.length === 2);
    expect(large({ ...OPTIONS, head: "16bit" })).toHaveLength(1);
    expect(
      large({ ...OPTIONS, head: "int8" })
        .map(({ dtype }) => dtype)
        .sort(),
    ).toEqual(["bfloat16", "int8"]);
  });

  it("auto is an int8 head, and a 16-bit one where all weights are", () => {
    const model = modelOfConfig("config.json", { ...CONFIG, tie_word_embeddings: true });
    const scheme = { codes: "absmax", scope: "vector", threshold: 6 } as const;
    for (const weights of ["int8", "16bit"] as const) {
      const built = (head: ModelOptions["head"]) => buildModel(model, { ...OPTIONS, weights, head });
      expect(built("auto")).toEqual(built(weights));
      expect(built("auto")).not.toEqual(built(weights === "int8" ? "16bit" : "int8"));
    }
    const by = (head: ModelOptions["head"]) =>
      buildModel(model, { ...OPTIONS, weights: "16bit", head, scheme }).ops.find(({ label }) => label === "logits")!.op;
    expect([by("auto"), by("int8")]).toEqual(["linear_float", "linear_scheme"]);
  });

  it("an int8 head has its own threshold, whatever that of the other linears", () => {
    const model = modelOfConfig("config.json", CONFIG);
    const rules = (options: Partial<ModelOptions>) =>
      buildModel(model, { ...OPTIONS, head: "int8", ...options })
        .ops.filter(({ op }) => op === "row_inliers")
        .map(({ attributes }) => attributes);
    const [last, ...others] = rules({ threshold: 6, headThreshold: { absolute: 3, relative: 2 } }).reverse();
    expect(last).toMatchObject({ decompose: "adaptive", absolute: 3, relative: 2 });
    for (const rule of others) expect(rule).toMatchObject({ decompose: "threshold", absolute: 6 });
    expect(others).toHaveLength(2 * 4);
  });

  it("bfloat16 files stay bfloat16: float16 would overflow", () => {
    const model = modelOfConfig("config.json", { ...CONFIG, torch_dtype: "bfloat16" });
    const dtypes = [...buildModel(model, OPTIONS).parameters.values()]
      .filter(({ source, dtype }) => source.type === "tensors" && source.form === "float" && dtype !== "float32")
      .map(({ dtype }) => dtype);
    expect(new Set(dtypes)).toEqual(new Set(["bfloat16"]));
  });
});
