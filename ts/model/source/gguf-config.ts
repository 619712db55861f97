/** GGUF metadata -> the keys of `config.json` that families read. */
import { OctavoError } from "../../errors.ts";
import { quoted } from "../../quoted.ts";
import type { Metadata, MetadataValue } from "./gguf-header.ts";
import { checkGgufKeys } from "./gguf-keys.ts";
import { type RopeFactors, ropeScalingOf } from "./gguf-rope.ts";
import { invalid } from "./ranges.ts";

interface Architecture {
  readonly model_type: string;
  readonly architectures: readonly string[];
  /** llama.cpp permutes the rows of q and k of these when it converts, so that rope turns neighbours. */
  readonly pairing: "interleaved" | "half";
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: { model_type: "llama", architectures: ["LlamaForCausalLM"], pairing: "interleaved" },
  qwen2: { model_type: "qwen2", architectures: ["Qwen2ForCausalLM"], pairing: "half" },
};

/** What the tensors say beyond the metadata. */
export interface GgufTensorFacts {
  /** Names as families know them. */
  readonly names: { has(name: string): boolean };
  readonly embedding: readonly number[] | undefined;
  readonly ropeScaling: RopeFactors | undefined;
}

/** Throws `OCTAVO_MODEL_FILE_INVALID` for missing or wrong keys, `OCTAVO_UNKNOWN_ARCHITECTURE`, `OCTAVO_UNSUPPORTED_MODEL`. */
export function configFromGguf(path: string, metadata: Metadata, facts: GgufTensorFacts): Record<string, unknown> {
  const name = metadata.get("general.architecture");
  const architecture = typeof name === "string" && Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined;
  if (typeof name !== "string" || !architecture) {
    throw new OctavoError(
      "OCTAVO_UNKNOWN_ARCHITECTURE",
      `${path}: architecture ${quoted(name)} in a GGUF file; known are ${Object.keys(ARCHITECTURES).join(", ")}`,
    );
  }
  checkGgufKeys(path, metadata, name);
  const keys = new Keys(path, metadata, `${name}.`);
  const heads = keys.required("attention.head_count");
  const hidden = keys.required("embedding_length");
  const theta = keys.optional("rope.freq_base") ?? 10000;
  const headDim = keys.optional("attention.key_length") ?? hidden / heads;
  for (const key of ["rope.dimension_count", "attention.value_length"] as const) {
    const other = keys.optional(key) ?? headDim;
    if (other === headDim) continue;
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      `${path}: metadata ${name}.${key} is ${other}, a head has ${headDim} elements: rope over a part of a head, or values of another size than keys, are not implemented`,
    );
  }
  const window = keys.optional("attention.sliding_window") || undefined;
  // Mistral is "llama" to llama.cpp; its window is what tells them apart.
  const mistral = name === "llama" && window !== undefined;
  const bias = (tensor: string) => facts.names.has(`model.layers.0.${tensor}.bias`);
  return {
    model_type: mistral ? "mistral" : architecture.model_type,
    architectures: mistral ? ["MistralForCausalLM"] : architecture.architectures,
    hidden_size: hidden,
    intermediate_size: keys.required("feed_forward_length"),
    num_hidden_layers: keys.required("block_count"),
    num_attention_heads: heads,
    num_key_value_heads: keys.optional("attention.head_count_kv") ?? heads,
    head_dim: headDim,
    rms_norm_eps: tidy(keys.required("attention.layer_norm_rms_epsilon")),
    rope_theta: theta,
    rope_scaling: ropeScaling(keys, theta, facts.ropeScaling),
    max_position_embeddings: keys.required("context_length"),
    vocab_size: facts.embedding?.[0] ?? keys.required("vocab_size"),
    hidden_act: "silu",
    tie_word_embeddings: !facts.names.has("lm_head.weight"),
    // llama.cpp adds a bias wherever there is one; the header does not speak of them.
    attention_bias: bias("self_attn.q_proj"),
    octavo_output_bias: bias("self_attn.o_proj"),
    mlp_bias: bias("mlp.down_proj"),
    sliding_window: window ?? null,
    bos_token_id: idOf(metadata, "bos") ?? null,
    eos_token_id: endIds(metadata),
    octavo_rope_pairing: architecture.pairing,
  };
}

/** The token that ends a text, and the one that ends a turn of a chat when it is another. */
function endIds(metadata: Metadata): number[] {
  const ids = [idOf(metadata, "eos"), idOf(metadata, "eot"), idOf(metadata, "eom")];
  return [...new Set(ids.filter((id) => id !== undefined))];
}

function idOf(metadata: Metadata, token: string): number | undefined {
  const id = metadata.get(`tokenizer.ggml.${token}_token_id`);
  return typeof id === "number" && id >= 0 ? id : undefined;
}

/** As llama.cpp reads them: a factor without a type is a linear one, and has an older name. */
function ropeScaling(keys: Keys, theta: number, factors: RopeFactors | undefined): Record<string, unknown> | null {
  const factor = keys.optional("rope.scaling.factor") ?? keys.optional("rope.scale_linear");
  const type = keys.text("rope.scaling.type") ?? (factor ? "linear" : "none");
  const scaled = type !== "none" && !(type === "linear" && (!factor || factor === 1));
  if (!scaled) return factors ? ropeScalingOf(factors, theta) : null;
  if (factors) throw keys.unsupported("rope.scaling.type", type, "beside the factors of rope_freqs.weight");
  const attention = keys.optional("rope.scaling.attn_factor") ?? 1;
  // transformers' attention_factor takes the place of 0.1 ln(factor) + 1; this one is a factor beside it.
  if (attention !== 1) throw keys.unsupported("rope.scaling.attn_factor", attention, "other than 1");
  return {
    rope_type: type,
    factor: factor ?? keys.required("rope.scaling.factor"),
    original_max_position_embeddings: keys.optional("rope.scaling.original_context_length") ?? null,
    beta_fast: keys.optional("rope.scaling.yarn_beta_fast") ?? null,
    beta_slow: keys.optional("rope.scaling.yarn_beta_slow") ?? null,
  };
}

/** A float32 as the decimal it was written from: 0.000009999999747378752 -> 0.00001. The kernels take its float32 again. */
function tidy(value: number): number {
  return Number(value.toPrecision(7));
}

class Keys {
  readonly #path: string;
  readonly #metadata: Metadata;
  readonly #prefix: string;

  constructor(path: string, metadata: Metadata, prefix: string) {
    this.#path = path;
    this.#metadata = metadata;
    this.#prefix = prefix;
  }

  required(key: string): number {
    const value = this.optional(key);
    if (value === undefined) throw invalid(this.#path, `metadata ${this.#prefix}${key} is missing`);
    return value;
  }

  optional(key: string): number | undefined {
    const given = this.#get(key);
    const value = Array.isArray(given) && given.length > 0 && given.every((n) => n === given[0]) ? given[0] : given;
    if (value === undefined || (typeof value === "number" && Number.isFinite(value) && value >= 0)) return value;
    // One number per layer: models whose layers differ.
    if (Array.isArray(value))
      throw new OctavoError("OCTAVO_UNSUPPORTED_MODEL", `${this.#path}: ${key} differs by layer`);
    throw invalid(this.#path, `metadata ${this.#prefix}${key} is ${quoted(value)}, not a number`);
  }

  text(key: string): string | undefined {
    const value = this.#get(key);
    if (value === undefined || typeof value === "string") return value;
    throw invalid(this.#path, `metadata ${this.#prefix}${key} is ${quoted(value)}, not a text`);
  }

  unsupported(key: string, value: MetadataValue, what: string): OctavoError {
    const text = `${this.#path}: metadata ${this.#prefix}${key} is ${quoted(value)}: ${what} is not implemented`;
    return new OctavoError("OCTAVO_UNSUPPORTED_MODEL", text);
  }

  #get(key: string): MetadataValue | undefined {
    return this.#metadata.get(this.#prefix + key);
  }
}
