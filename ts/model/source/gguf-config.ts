/** GGUF metadata -> the keys of `config.json` that families read. */
import { OctavoError } from "../../errors.ts";
import type { Metadata, MetadataValue } from "./gguf-header.ts";
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
  /** No head of its own: it is the embedding. */
  readonly tied: boolean;
  readonly embedding: readonly number[] | undefined;
  readonly ropeScaling: RopeFactors | undefined;
}

/** Throws `OCTAVO_MODEL_FILE_INVALID` for missing or wrong keys, `OCTAVO_UNKNOWN_ARCHITECTURE`, `OCTAVO_UNSUPPORTED_MODEL`. */
export function configFromGguf(path: string, metadata: Metadata, facts: GgufTensorFacts): Record<string, unknown> {
  const name = metadata.get("general.architecture");
  const architecture = typeof name === "string" && Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined;
  if (!architecture) {
    throw new OctavoError(
      "OCTAVO_UNKNOWN_ARCHITECTURE",
      `${path}: architecture ${JSON.stringify(name)} in a GGUF file; known are ${Object.keys(ARCHITECTURES).join(", ")}`,
    );
  }
  const keys = new Keys(path, metadata, `${name}.`);
  const heads = keys.required("attention.head_count");
  const hidden = keys.required("embedding_length");
  const theta = keys.optional("rope.freq_base") ?? 10000;
  const headDim = keys.optional("attention.key_length") ?? keys.optional("rope.dimension_count") ?? hidden / heads;
  if ((keys.optional("rope.dimension_count") ?? headDim) !== headDim) {
    throw new OctavoError("OCTAVO_UNSUPPORTED_MODEL", `${path}: rope over a part of a head`);
  }
  const window = keys.optional("attention.sliding_window");
  // Mistral is "llama" to llama.cpp; its window is what tells them apart.
  const mistral = name === "llama" && window !== undefined;
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
    rope_scaling: facts.ropeScaling ? ropeScalingOf(facts.ropeScaling, theta) : ropeScaling(keys),
    max_position_embeddings: keys.required("context_length"),
    vocab_size: facts.embedding?.[0] ?? keys.required("vocab_size"),
    hidden_act: "silu",
    tie_word_embeddings: facts.tied,
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

function ropeScaling(keys: Keys): Record<string, unknown> | null {
  const type = keys.text("rope.scaling.type") ?? "none";
  if (type === "none") return null;
  const original = keys.optional("rope.scaling.original_context_length");
  return {
    rope_type: type,
    factor: keys.required("rope.scaling.factor"),
    ...(original === undefined ? {} : { original_max_position_embeddings: original }),
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
    const value = this.#get(key);
    if (value === undefined || (typeof value === "number" && Number.isFinite(value) && value >= 0)) return value;
    // One number per layer: models whose layers differ.
    if (Array.isArray(value))
      throw new OctavoError("OCTAVO_UNSUPPORTED_MODEL", `${this.#path}: ${key} differs by layer`);
    throw invalid(this.#path, `metadata ${this.#prefix}${key} is ${String(value).slice(0, 80)}`);
  }

  text(key: string): string | undefined {
    const value = this.#get(key);
    return typeof value === "string" ? value : undefined;
  }

  #get(key: string): MetadataValue | undefined {
    return this.#metadata.get(this.#prefix + key);
  }
}
