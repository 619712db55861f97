/**
 * The keys of a GGUF header that say how a model computes: each is used, known to change nothing, or refused by its name.
 * llama.cpp reads them by `gguf-py/gguf/constants.py`; keys outside of the architecture's own are names, licences, sampling
 * defaults and whatever a converter liked to leave behind, and no program reads them as a part of the computation.
 */
import { OctavoError } from "../../errors.ts";
import { cut, quoted } from "../../quoted.ts";
import type { Metadata, MetadataValue } from "./gguf-header.ts";

/** Read by `configFromGguf`. */
const USED = new Set([
  "context_length",
  "embedding_length",
  "feed_forward_length",
  "block_count",
  "vocab_size",
  "attention.head_count",
  "attention.head_count_kv",
  "attention.key_length",
  "attention.value_length",
  "attention.layer_norm_rms_epsilon",
  "rope.dimension_count",
  "rope.freq_base",
  "rope.scale_linear",
  "rope.scaling.type",
  "rope.scaling.factor",
  "rope.scaling.original_context_length",
  "rope.scaling.attn_factor",
  "rope.scaling.yarn_beta_fast",
  "rope.scaling.yarn_beta_slow",
]);

/** Read for some architectures only. */
const USED_BY: Readonly<Record<string, ReadonlySet<string>>> = { llama: new Set(["attention.sliding_window"]) };

/** Where the model comes from, and what encoders begin with. */
const HARMLESS = new Set(["rope.scaling.finetuned", "tensor_data_layout", "decoder_start_token_id"]);

/** Features that a value turns off: other values change the computation. */
const OFF: Readonly<Record<string, readonly MetadataValue[]>> = {
  "attention.causal": [true],
  "attention.sliding_window": [0],
  use_parallel_residual: [false],
  logit_scale: [0, 1],
  residual_scale: [0, 1],
  embedding_scale: [0, 1],
  // None, and what llama.cpp writes for "unspecified", with a sign and without.
  pooling_type: [0, -1, 4294967295],
  "rope.scaling.yarn_ext_factor": [1],
  "rope.scaling.yarn_attn_factor": [1],
};

/** Throws `OCTAVO_UNSUPPORTED_MODEL` for a key of the architecture's that is none of these and asks for something. */
export function checkGgufKeys(path: string, metadata: Metadata, architecture: string): void {
  const type = metadata.get("general.type");
  if (type !== undefined && type !== "model") {
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      `${path}: general.type is ${quoted(type)}: a GGUF file that is no whole model; merge it into its model, or open that`,
    );
  }
  const prefix = `${architecture}.`;
  for (const [name, value] of metadata) {
    if (!name.startsWith(prefix)) continue;
    const key = name.slice(prefix.length);
    if (USED.has(key) || USED_BY[architecture]?.has(key) || HARMLESS.has(key)) continue;
    if (Object.hasOwn(OFF, key) ? OFF[key]?.includes(value) : isNothing(value)) continue;
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      `${path}: metadata ${cut(name)} is ${quoted(value)}, which would change what the model computes and is not implemented; ` +
        `if it has no effect on this model, remove it: gguf-new-metadata --remove-metadata ${cut(name)} IN.gguf OUT.gguf`,
    );
  }
}

/** Counts of experts, scales and caps that are not there. */
function isNothing(value: MetadataValue): boolean {
  return value === 0 || value === false || value === "" || (Array.isArray(value) && value.every(isNothing));
}
