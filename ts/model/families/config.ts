/** The config of llama-like models (`config.json`, or the same keys from GGUF), checked and with defaults filled in. */
import { z } from "zod";
import { OPS } from "../../../protocol/ops.ts";
import { OctavoError } from "../../errors.ts";
import { cut, quoted } from "../../quoted.ts";
import { checkConfigKeys } from "./config-keys.ts";
import type { RopeScaling } from "./rope.ts";
import { ropeOf } from "./rope-config.ts";

/** What float32 holds: as 0 or infinity it would make NaN of a row. */
const float32 = z.number().refine((value) => Math.fround(value) > 0 && Number.isFinite(Math.fround(value)), {
  error: "not a positive number of float32",
});
const size = z.int().min(1).max(1e7);
/**
 * What a config alone makes us do takes time and memory in proportion to these, before any tensor has been looked for. The
 * deepest published models have 126 layers.
 */
const layers = z.int().min(1).max(512);
const headSize = z.int().min(2).max(1024);
const flag = z.boolean().nullish();
const rope = z.record(z.string(), z.unknown()).nullish();
const schema = z.object({
  architectures: z.unknown(),
  model_type: z.string().nullish(),
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: layers,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: headSize.nullish(),
  vocab_size: size,
  max_position_embeddings: size,
  rms_norm_eps: float32.default(1e-6),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: rope,
  rope_parameters: rope,
  original_max_position_embeddings: size.nullish(),
  hidden_act: z.string().default("silu"),
  tie_word_embeddings: flag,
  attention_bias: flag,
  mlp_bias: flag,
  eos_token_id: z.union([z.int(), z.array(z.int()).max(1000)]).nullish(),
  octavo_rope_pairing: z.enum(["half", "interleaved"]).default("half"),
  /** A bias after attention, where it is not as `attention_bias` says. */
  octavo_output_bias: flag,
  /** `full_attention` or `sliding_attention`, for each layer. */
  layer_types: z.array(z.string()).nullish(),
  sliding_window: size.nullish(),
  use_sliding_window: flag,
  max_window_layers: z.int().nullish(),
});
const WINDOW_KEYS = ["sliding_window", "use_sliding_window", "max_window_layers"] as const;
const COMMON_KEYS = Object.keys(schema.shape).filter((key) => !WINDOW_KEYS.some((other) => other === key));

interface Architecture {
  readonly modelType: string;
  /** Keys beyond those of all. */
  readonly keys: readonly (typeof WINDOW_KEYS)[number][];
  /** What transformers takes for keys that are not there, where it is not what the schema says. */
  readonly defaults: Readonly<Record<string, unknown>>;
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  LlamaForCausalLM: { modelType: "llama", keys: [], defaults: {} },
  MistralForCausalLM: {
    modelType: "mistral",
    keys: ["sliding_window", "use_sliding_window"],
    defaults: { num_key_value_heads: 8, sliding_window: 4096 },
  },
  Qwen2ForCausalLM: { modelType: "qwen2", keys: WINDOW_KEYS, defaults: { num_key_value_heads: 32 } },
};

export interface LlamaConfig {
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

/**
 * Throws `OCTAVO_MODEL_FILE_INVALID` for a contradictory config, `OCTAVO_UNSUPPORTED_MODEL` for a feature not implemented and for
 * a key that nobody knows.
 */
export function llamaConfig(architecture: string, config: Readonly<Record<string, unknown>>): LlamaConfig {
  const { modelType, keys, defaults } = ARCHITECTURES[architecture]!; // The registry has found it.
  checkConfigKeys(architecture, config, new Set([...COMMON_KEYS, ...keys]));
  const parsed = schema.safeParse({ ...defaults, ...config });
  if (!parsed.success) throw invalid(cut(z.prettifyError(parsed.error), 1000));
  const c = parsed.data;
  if (c.model_type != null && c.model_type !== modelType)
    throw invalid(`model_type is ${quoted(c.model_type)}, that of ${architecture} is "${modelType}"`);
  const heads = c.num_attention_heads;
  const kvHeads = c.num_key_value_heads ?? heads;
  const headDim = c.head_dim ?? c.hidden_size / heads;
  if (heads % kvHeads !== 0 || !headSize.safeParse(headDim).success || headDim % 2 !== 0)
    throw invalid(
      `${heads} heads, ${kvHeads} kv heads, hidden size ${c.hidden_size}, head size ${headDim} do not fit together`,
    );
  const largest = OPS.attention.attributes.headDim.max;
  if (headDim > largest) throw unsupported(`heads of ${headDim} elements; attention takes up to ${largest}`);
  const activation = Object.hasOwn(ACTIVATIONS, c.hidden_act) ? ACTIVATIONS[c.hidden_act] : undefined;
  if (!activation)
    throw unsupported(`hidden_act ${quoted(c.hidden_act)}; implemented: ${Object.keys(ACTIVATIONS).join(", ")}`);
  const qwen = architecture === "Qwen2ForCausalLM";
  return {
    layers: c.num_hidden_layers,
    hidden: c.hidden_size,
    intermediate: c.intermediate_size,
    heads,
    kvHeads,
    headDim,
    vocabulary: c.vocab_size,
    context: c.max_position_embeddings,
    eps: c.rms_norm_eps,
    ...ropeOf(c),
    pairing: c.octavo_rope_pairing,
    activation,
    tiedEmbeddings: c.tie_word_embeddings ?? false,
    qkvBias: qwen || (c.attention_bias ?? false),
    outputBias: c.octavo_output_bias ?? (!qwen && (c.attention_bias ?? false)),
    mlpBias: c.mlp_bias ?? false,
    window: windowOf(architecture, c),
    eosTokenIds: [c.eos_token_id ?? []].flat(),
  };
}

/** Keys a query sees in every layer, 0 for all. */
function windowOf(architecture: string, c: z.infer<typeof schema>): number {
  const mistral = architecture === "MistralForCausalLM";
  // Qwen2 writes a window into its config and does not use it unless use_sliding_window says so.
  if (!mistral && c.use_sliding_window)
    throw unsupported("use_sliding_window: windows in some layers only are not implemented");
  const window = mistral ? (c.sliding_window ?? 0) : 0;
  if (mistral && c.use_sliding_window === false && window > 0)
    throw invalid(`use_sliding_window is false and sliding_window ${window}; remove the one that does not hold`);
  const kind = window > 0 ? "sliding_attention" : "full_attention";
  const other = c.layer_types?.find((type) => type !== kind);
  if (other !== undefined)
    throw unsupported(`layer_types has ${quoted(other)}; implemented here is ${kind} in every layer`);
  return window;
}

function invalid(text: string): OctavoError {
  return new OctavoError("OCTAVO_MODEL_FILE_INVALID", `config: ${text}`);
}

function unsupported(text: string): OctavoError {
  return new OctavoError("OCTAVO_UNSUPPORTED_MODEL", `config: ${text}`);
}
