/** The config of llama-like models (`config.json`, or the same keys from GGUF), checked and with defaults filled in. */
import { z } from "zod";
import { OctavoError } from "../../errors.ts";
import type { RopeScaling } from "./rope.ts";

const size = z.int().min(1).max(1e7);
const schema = z.object({
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  vocab_size: size,
  max_position_embeddings: size,
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: z.record(z.string(), z.unknown()).nullish(),
  rope_parameters: z.record(z.string(), z.unknown()).nullish(),
  hidden_act: z.string().default("silu"),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  sliding_window: z.int().min(0).nullish(),
  use_sliding_window: z.boolean().nullish(),
  eos_token_id: z.union([z.int(), z.array(z.int())]).nullish(),
  octavo_rope_pairing: z.enum(["half", "interleaved"]).default("half"),
});

export interface LlamaConfig {
  readonly architecture: string;
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabulary: number;
  readonly context: number;
  readonly eps: number;
  readonly theta: number;
  readonly scaling: RopeScaling;
  readonly pairing: "half" | "interleaved";
  readonly activation: "silu" | "gelu" | "gelu_tanh" | "relu";
  readonly tiedEmbeddings: boolean;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** Keys a query sees, itself included; 0 is all. */
  readonly window: number;
  readonly eosTokenIds: readonly number[];
}

const ACTIVATIONS: Readonly<Record<string, LlamaConfig["activation"]>> = {
  silu: "silu",
  gelu: "gelu",
  gelu_pytorch_tanh: "gelu_tanh",
  gelu_new: "gelu_tanh",
  relu: "relu",
};

/** Throws `OCTAVO_MODEL_FILE_INVALID` for a contradictory config, `OCTAVO_UNSUPPORTED_MODEL` for a feature not implemented. */
export function llamaConfig(architecture: string, config: Readonly<Record<string, unknown>>): LlamaConfig {
  const parsed = schema.safeParse(config);
  if (!parsed.success) throw new OctavoError("OCTAVO_MODEL_FILE_INVALID", `config: ${z.prettifyError(parsed.error)}`);
  const c = parsed.data;
  const heads = c.num_attention_heads;
  const kvHeads = c.num_key_value_heads ?? heads;
  const headDim = c.head_dim ?? c.hidden_size / heads;
  if (heads % kvHeads !== 0 || !Number.isInteger(headDim) || headDim % 2 !== 0)
    throw new OctavoError(
      "OCTAVO_MODEL_FILE_INVALID",
      `config: ${heads} heads, ${kvHeads} kv heads, hidden size ${c.hidden_size}, head size ${headDim} do not fit together`,
    );
  const activation = ACTIVATIONS[c.hidden_act];
  if (!activation)
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      `hidden_act ${c.hidden_act}; implemented: ${Object.keys(ACTIVATIONS).join(", ")}`,
    );
  const qwen = architecture === "Qwen2ForCausalLM";
  // Qwen2 writes a window into its config and does not use it unless use_sliding_window says so.
  const windowed = qwen ? c.use_sliding_window === true : architecture === "MistralForCausalLM";
  if (qwen && windowed)
    throw new OctavoError("OCTAVO_UNSUPPORTED_MODEL", "Qwen2 with use_sliding_window: windows in some layers only");
  return {
    architecture,
    layers: c.num_hidden_layers,
    hidden: c.hidden_size,
    intermediate: c.intermediate_size,
    heads,
    kvHeads,
    headDim,
    vocabulary: c.vocab_size,
    context: c.max_position_embeddings,
    eps: c.rms_norm_eps,
    theta: c.rope_theta ?? number(c.rope_parameters ?? {}, "rope_theta", 10000),
    scaling: ropeScaling(c.rope_scaling ?? c.rope_parameters ?? {}, c.max_position_embeddings),
    pairing: c.octavo_rope_pairing,
    activation,
    tiedEmbeddings: c.tie_word_embeddings,
    qkvBias: qwen || c.attention_bias,
    outputBias: !qwen && c.attention_bias,
    mlpBias: c.mlp_bias,
    window: windowed ? (c.sliding_window ?? 0) : 0,
    eosTokenIds: [c.eos_token_id ?? []].flat(),
  };
}

function ropeScaling(scaling: Readonly<Record<string, unknown>>, context: number): RopeScaling {
  const kind = scaling.rope_type ?? scaling.type ?? "default";
  const original = () => number(scaling, "original_max_position_embeddings", context);
  if (kind === "default") return { kind: "none" };
  if (kind === "linear") return { kind, factor: number(scaling, "factor") };
  if (kind === "llama3")
    return {
      kind,
      factor: number(scaling, "factor"),
      lowFrequency: number(scaling, "low_freq_factor"),
      highFrequency: number(scaling, "high_freq_factor"),
      original: original(),
    };
  if (kind === "yarn" && scaling.mscale === undefined && scaling.truncate !== false)
    return {
      kind,
      factor: number(scaling, "factor"),
      original: original(),
      betaFast: number(scaling, "beta_fast", 32),
      betaSlow: number(scaling, "beta_slow", 1),
      attention: scaling.attention_factor == null ? undefined : number(scaling, "attention_factor"),
    };
  throw new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `rope scaling ${JSON.stringify(scaling)}; implemented: default, linear, llama3, yarn (without mscale, truncated)`,
  );
}

function number(object: Readonly<Record<string, unknown>>, key: string, fallback?: number): number {
  const value = object[key] ?? fallback;
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  throw new OctavoError(
    "OCTAVO_MODEL_FILE_INVALID",
    `config: rope ${key} is ${JSON.stringify(value)}, not a positive number`,
  );
}
