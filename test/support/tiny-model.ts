/**
 * A tiny random model in a temporary folder, as transformers writes it. Small enough for the reference backend to run in
 * milliseconds, large enough for several KV pages, padding (sizes that are no multiples of 16 or 64) and outliers.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { modelOfConfig } from "../../ts/model/families/index.ts";
import { normal } from "./random.ts";
import { type FloatTensor, type FloatType, writeSafetensors } from "./safetensors-writer.ts";
import { TINY_EOS, TINY_TOKENS, tinyTokenizer, tinyTokenizerConfig } from "./tiny-tokenizer.ts";

export interface TinyOptions {
  /** `qwen2` has biases on q, k and v; `mistral` a window (`window`, default 24). */
  readonly family?: "llama" | "qwen2" | "mistral";
  readonly tied?: boolean;
  readonly window?: number;
  readonly type?: FloatType;
  readonly seed?: number;
  readonly layers?: number;
  /**
   * Outlier features: these channels of every norm before linears are `gain` times as large, the columns of the linears
   * after it so much smaller. With a power of two no bit of the 16-bit model changes.
   */
  readonly planted?: { readonly gain: number; readonly channels: readonly number[] };
  /** Changes the elements of tensors, by their names. */
  readonly change?: (name: string, data: Float32Array) => void;
  /** More keys of config.json, or others; undefined leaves one out. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Keys that config.json says and the tensors do not follow. */
  readonly said?: Readonly<Record<string, unknown>>;
}

export interface TinyModel {
  readonly path: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly vocabulary: number;
  [Symbol.asyncDispose](): Promise<void>;
}

const ARCHITECTURES = { llama: "LlamaForCausalLM", qwen2: "Qwen2ForCausalLM", mistral: "MistralForCausalLM" } as const;
/** Padded beyond the tokenizer's tokens, as real models are; no multiple of 16. */
const VOCABULARY = 300;

export function tinyConfig(options: TinyOptions = {}): Readonly<Record<string, unknown>> {
  const { family = "llama", tied = false, window = 24, type = "F16", layers = 2 } = options;
  const config = {
    architectures: [ARCHITECTURES[family]],
    model_type: family,
    torch_dtype: { F32: "float32", F16: "float16", BF16: "bfloat16" }[type],
    hidden_size: 64,
    intermediate_size: 112,
    num_hidden_layers: layers,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    vocab_size: VOCABULARY,
    max_position_embeddings: 1024,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: "silu",
    tie_word_embeddings: tied,
    bos_token_id: TINY_EOS,
    eos_token_id: TINY_EOS,
    ...(family === "mistral" ? { sliding_window: window } : {}),
    ...options.config,
  };
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
}

/** Writes the model; `await using` removes it. The same options give the same bytes. */
export async function writeTinyModel(options: TinyOptions = {}): Promise<TinyModel> {
  if (TINY_TOKENS.length > VOCABULARY) throw new Error("the tiny tokenizer has outgrown the tiny model");
  const config = tinyConfig(options);
  const path = await mkdtemp(join(tmpdir(), "octavo-tiny-"));
  const draw = normal(options.seed ?? 1);
  const tensors: FloatTensor[] = [];
  for (const { name, shape } of modelOfConfig(path, config).tensors.values()) {
    const data = plant(name, shape, values(name, shape, draw), options);
    options.change?.(name, data);
    tensors.push({ name, shape, data });
  }
  const json = (name: string, value: unknown) => writeFile(join(path, name), JSON.stringify(value));
  await Promise.all([
    writeSafetensors(join(path, "model.safetensors"), options.type ?? "F16", tensors),
    json("config.json", { ...config, ...options.said }),
    json("tokenizer.json", tinyTokenizer),
    json("tokenizer_config.json", tinyTokenizerConfig),
  ]);
  return {
    path,
    config,
    vocabulary: VOCABULARY,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** Weights that keep the size of their inputs, norms near 1 with one channel far above: a systematic outlier. */
function values(name: string, shape: readonly number[], draw: () => number): Float32Array {
  const count = shape.reduce((product, size) => product * size, 1);
  if (name.includes("norm")) return Float32Array.from({ length: count }, (_, i) => (i === 5 ? 9 : 1 + 0.1 * draw()));
  if (name.endsWith(".bias")) return Float32Array.from({ length: count }, () => 0.5 * draw());
  // Embeddings of deviation 1; linear weights of 1.5 / sqrt(columns): attention and logits are then far from uniform.
  const deviation = name.includes("embed") ? 1 : 1.5 / Math.sqrt(shape.at(-1)!);
  return Float32Array.from({ length: count }, () => deviation * draw());
}

function plant(name: string, shape: readonly number[], data: Float32Array, { planted }: TinyOptions): Float32Array {
  if (planted === undefined) return data;
  const { gain, channels } = planted;
  const norm = /(input|post_attention)_layernorm\.weight$/.test(name);
  if (!norm && !/(q|k|v|gate|up)_proj\.weight$/.test(name)) return data;
  const columns = shape.at(-1)!;
  return data.map((value, i) => (channels.includes(i % columns) ? (norm ? value * gain : value / gain) : value));
}
