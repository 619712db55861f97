/** If these fail, a GGUF file loads, runs fast, and computes something else than llama.cpp does with it. */
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type GgufTensor, type GgufValue, writeGguf } from "../../../test/support/gguf-writer.ts";
import { scratchFolder } from "../../../test/support/model-files.ts";
import { OPTIONS } from "../../../test/support/model-options.ts";
import { llamaConfig } from "../families/config.ts";
import { buildModel, describeModel } from "../families/index.ts";
import { configFromGguf } from "./gguf-config.ts";
import type { MetadataValue } from "./gguf-header.ts";
import { openModel } from "./index.ts";
import type { Manifest } from "./manifest.ts";

const folder = scratchFolder();
const [HIDDEN, INNER, HEAD, VOCABULARY] = [32, 64, 16, 10];

/** What llama.cpp's converter writes for every llama model. */
const METADATA: Readonly<Record<string, GgufValue>> = {
  "general.architecture": "llama",
  "general.type": "model",
  "general.name": "tiny",
  "general.file_type": 0,
  "general.quantization_version": 2,
  "llama.block_count": 1,
  "llama.context_length": 128,
  "llama.embedding_length": HIDDEN,
  "llama.feed_forward_length": INNER,
  "llama.attention.head_count": HIDDEN / HEAD,
  "llama.attention.head_count_kv": 1,
  "llama.attention.layer_norm_rms_epsilon": 1e-5,
  "llama.attention.key_length": HEAD,
  "llama.attention.value_length": HEAD,
  "llama.rope.freq_base": 10000,
  "llama.rope.dimension_count": HEAD,
  "llama.vocab_size": VOCABULARY,
};
const KV_HEADS = "llama.attention.head_count_kv";
const LINEARS: Readonly<Record<string, readonly [number, number]>> = {
  attn_q: [HIDDEN, HIDDEN],
  attn_k: [HEAD, HIDDEN],
  attn_v: [HEAD, HIDDEN],
  attn_output: [HIDDEN, HIDDEN],
  ffn_gate: [INNER, HIDDEN],
  ffn_up: [INNER, HIDDEN],
  ffn_down: [HIDDEN, INNER],
};
const TENSORS: readonly GgufTensor[] = [
  { name: "token_embd.weight", shape: [VOCABULARY, HIDDEN] },
  { name: "output_norm.weight", shape: [HIDDEN] },
  { name: "output.weight", shape: [VOCABULARY, HIDDEN] },
  { name: "blk.0.attn_norm.weight", shape: [HIDDEN] },
  { name: "blk.0.ffn_norm.weight", shape: [HIDDEN] },
  ...Object.entries(LINEARS).map(([name, shape]) => ({ name: `blk.0.${name}.weight`, shape })),
];

interface Change {
  readonly metadata?: Readonly<Record<string, GgufValue | undefined>>;
  readonly tensors?: readonly GgufTensor[];
}

function open({ metadata, tensors = [] }: Change = {}): Promise<Manifest> {
  const file = join(folder, "model.gguf");
  const all = Object.entries({ ...METADATA, ...metadata });
  writeGguf(file, Object.fromEntries(all.filter((entry): entry is [string, GgufValue] => entry[1] !== undefined)), [
    ...TENSORS,
    ...tensors,
  ]);
  return openModel(file);
}

/** Opened, read and made a program of, as every load and plan does. */
async function built(change: Change = {}): Promise<{ manifest: Manifest; sources: Set<string> }> {
  const manifest = await open(change);
  describeModel(manifest);
  const { parameters } = buildModel(manifest, OPTIONS);
  const sources = [...parameters.values()].flatMap(({ source }) =>
    source.type === "tensors" ? source.parts.map(({ tensor }) => tensor) : [],
  );
  return { manifest, sources: new Set(sources) };
}

async function refused(change: Change, message: RegExp): Promise<void> {
  const error = { code: "OCTAVO_UNSUPPORTED_MODEL", message: expect.stringMatching(message) };
  await expect(built(change)).rejects.toMatchObject(error);
}

const bias = (name: string): GgufTensor => ({ name: `blk.0.${name}.bias`, shape: [LINEARS[name]?.[0] ?? 0] });

describe("a file as llama.cpp's converter writes it", () => {
  it("of Qwen 2.5 is understood: biases on q, k and v, the embedding as head", async () => {
    const file = join(folder, "qwen2.gguf");
    const metadata = Object.entries(METADATA)
      .filter(
        ([key]) => !/vocab_size|dimension_count|_length$/.test(key) || /(context|embedding|forward)_length$/.test(key),
      )
      .map(([key, value]) => [key.replace(/^llama\./, "qwen2."), value === "llama" ? "qwen2" : value]);
    const biases = ["attn_q", "attn_k", "attn_v"].map(bias);
    writeGguf(file, Object.fromEntries(metadata), [
      ...TENSORS.filter(({ name }) => name !== "output.weight"),
      ...biases,
    ]);
    const manifest = await openModel(file);
    expect(llamaConfig("Qwen2ForCausalLM", manifest.config)).toMatchObject({
      qkvBias: true,
      tiedEmbeddings: true,
      pairing: "half",
      headDim: HEAD,
    });
    expect(() => buildModel(manifest, OPTIONS)).not.toThrow();
  });

  it("or saves it, with everything that is not there, is the same model", async () => {
    const { manifest } = await built({
      metadata: {
        "llama.pooling_type": 4294967295,
        "llama.decoder_start_token_id": 4294967295,
        "llama.use_parallel_residual": false,
        "llama.attention.clamp_kqv": 0,
        "llama.attention.max_alibi_bias": 0,
        "llama.attention.scale": 0,
        "llama.rope.scaling.type": "linear",
        "llama.rope.scaling.factor": 0,
        "llama.rope.scaling.attn_factor": 1,
      },
    });
    expect(manifest.config).toEqual((await open()).config);
  });
});

describe("a number for each layer", () => {
  const configOf = (heads: readonly number[]) =>
    configFromGguf("model.gguf", new Map<string, MetadataValue>([...Object.entries(METADATA), [KV_HEADS, heads]]), {
      names: new Set(),
      embedding: [VOCABULARY, HIDDEN],
      ropeScaling: undefined,
    });

  it("is one number where the layers are alike, and refused where they differ", () => {
    expect(configOf([1, 1])).toEqual(configOf([1]));
    expect(() => configOf([1, 2])).toThrow(/head_count_kv differs by layer/);
  });
});

describe("the biases of a llama file", () => {
  it("are all used", async () => {
    const { manifest, sources } = await built({ tensors: Object.keys(LINEARS).map(bias) });
    expect(llamaConfig("LlamaForCausalLM", manifest.config)).toMatchObject({
      qkvBias: true,
      outputBias: true,
      mlpBias: true,
    });
    expect([...sources].filter((name) => name.endsWith(".bias"))).toHaveLength(7);
  });

  it("are used where only q, k and v have them", async () => {
    const { manifest } = await built({ tensors: ["attn_q", "attn_k", "attn_v"].map(bias) });
    expect(llamaConfig("LlamaForCausalLM", manifest.config)).toMatchObject({
      qkvBias: true,
      outputBias: false,
      mlpBias: false,
    });
  });

  it("where only some are there are refused, with the tensor's name", async () => {
    await expect(built({ tensors: [bias("attn_q")] })).rejects.toMatchObject({ code: "OCTAVO_MODEL_INCOMPLETE" });
    await refused({ tensors: [bias("ffn_gate")] }, /mlp\.gate_proj\.bias/);
  });
});

describe("a key of the architecture's", () => {
  it.each([
    ["a part of a head", { "llama.rope.dimension_count": 8 }, /rope\.dimension_count is 8, a head has 16/],
    ["values of another size", { "llama.attention.value_length": 8 }, /value_length is 8/],
    ["a scale of its own", { "llama.attention.scale": 0.25 }, /attention\.scale/],
    ["a soft cap", { "llama.attn_logit_softcapping": 50.5 }, /attn_logit_softcapping/],
    ["a scale of logits", { "llama.logit_scale": 0.5 }, /logit_scale/],
    ["a scale of embeddings", { "llama.embedding_scale": 12 }, /embedding_scale/],
    ["experts", { "llama.expert_count": 8 }, /expert_count is 8/],
    ["no causality", { "llama.attention.causal": false }, /attention\.causal is false/],
    ["pooling", { "llama.pooling_type": 1 }, /pooling_type/],
    ["longrope", { "llama.rope.scaling.type": "longrope", "llama.rope.scaling.factor": 2 }, /longrope/],
    [
      "yarn with a factor of attention",
      {
        "llama.rope.scaling.type": "yarn",
        "llama.rope.scaling.factor": 2,
        "llama.rope.scaling.attn_factor": 0.5,
      },
      /attn_factor is 0\.5/,
    ],
    ["an adapter", { "general.type": "adapter" }, /general\.type is "adapter"/],
  ])("that asks for %s is refused by its name", (_, metadata, message) => refused({ metadata }, message));

  it("that nobody knows is refused by its name, whatever it says", async () => {
    const value = fc.oneof(fc.integer({ min: 1, max: 1e9 }), fc.constant(true), fc.constantFrom("some", "thing"));
    const key = fc.stringMatching(/^[a-z_.]{1,20}$/).map((name) => `llama.x${name}`);
    await fc.assert(
      fc.asyncProperty(key, value, (name, given) => refused({ metadata: { [name]: given } }, new RegExp(name))),
      { numRuns: 30 },
    );
  });

  it("that turns a feature off, says where a model comes from, or is somebody else's, changes nothing", async () => {
    const { manifest } = await built({
      metadata: {
        "llama.expert_count": 0,
        "llama.expert_used_count": 0,
        "llama.attention.causal": true,
        "llama.attention.sliding_window": 0,
        "llama.tensor_data_layout": "Meta AI original pth",
        "llama.logit_scale": 1,
        "general.sampling.temp": 0.5,
        "mradermacher.quantized_by": "mradermacher",
        "quantize.imatrix.entries_count": 7,
      },
    });
    expect(manifest.config).toEqual((await open()).config);
  });
});

describe("rope's scaling", () => {
  const scalingOf = async (metadata: Required<Change>["metadata"]) =>
    llamaConfig("LlamaForCausalLM", (await built({ metadata })).manifest.config).scaling;

  it("is linear when a factor comes without a type, under its old name as well", async () => {
    const linear = { kind: "linear", factor: 4 };
    expect(await scalingOf({ "llama.rope.scaling.factor": 4 })).toEqual(linear);
    expect(await scalingOf({ "llama.rope.scale_linear": 4 })).toEqual(linear);
    expect(await scalingOf({ "llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4 })).toEqual(linear);
  });

  it("is none when the type says so or the factor is 1", async () => {
    const none = { kind: "none" };
    expect(await scalingOf({ "llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4 })).toEqual(none);
    expect(await scalingOf({ "llama.rope.scale_linear": 1 })).toEqual(none);
  });

  it("is yarn's, with its own betas", async () => {
    const metadata = {
      "llama.rope.scaling.type": "yarn",
      "llama.rope.scaling.factor": 2,
      "llama.rope.scaling.original_context_length": 64,
      "llama.rope.scaling.yarn_beta_fast": 16,
    };
    expect(await scalingOf(metadata)).toMatchObject({
      kind: "yarn",
      factor: 2,
      original: 64,
      betaFast: 16,
      betaSlow: 1,
    });
  });
});

describe("a tensor of a GGUF file", () => {
  it("that no program knows is refused by its name", async () => {
    await refused({ tensors: [{ name: "rope_factors_long.weight", shape: [8] }] }, /rope_factors_long\.weight/);
    await refused({ tensors: [{ name: "blk.0.attn_q_norm.weight", shape: [16] }] }, /self_attn\.q_norm\.weight/);
    await refused({ tensors: [{ name: "blk.1.attn_norm.weight", shape: [32] }] }, /layers\.1\.input_layernorm/);
    const name = fc.stringMatching(/^[a-z_.0-9]{1,30}$/).map((text) => `x${text}`);
    await fc.assert(
      fc.asyncProperty(name, (other) => refused({ tensors: [{ name: other, shape: [3] }] }, new RegExp(other))),
      { numRuns: 30 },
    );
  });

  it("that old converters left beside the weights is left out", async () => {
    const { sources } = await built({ tensors: [{ name: "blk.0.attn_rot_embd.weight", shape: [8] }] });
    expect(sources).toEqual((await built()).sources);
  });

  it("with Llama 3's factors of rope is honoured, with others refused", async () => {
    const factors = (value: number) => [
      { name: "rope_freqs.weight", shape: [8], data: new Float32Array(8).fill(value) },
    ];
    const { manifest } = await built({ tensors: factors(1) });
    expect(llamaConfig("LlamaForCausalLM", manifest.config).scaling).toMatchObject({ kind: "llama3", factor: 1 });
    await refused({ tensors: factors(3) }, /rope_freqs\.weight/);
  });
});
