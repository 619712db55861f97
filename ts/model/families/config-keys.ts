/**
 * The keys of `config.json`: each is used by a family, known to change nothing, or refused by its name. transformers ignores
 * keys it does not know, so an old program runs a new model, and answers wrongly without a word.
 */
import { OctavoError } from "../../errors.ts";
import { cut, quoted } from "../../quoted.ts";

/** Of transformers' configs: names and versions, training, how its own code runs, generation, tokenizer, classification. */
const HARMLESS = new Set(
  `
  _name_or_path name_or_path _model_name_or_path _commit_hash transformers_version transformers.js_config auto_map license
  unsloth_version unsloth_fixed is_llama_config torch_dtype dtype
  initializer_range attention_dropout hidden_dropout residual_dropout resid_pdrop embd_pdrop attn_pdrop hidden_dropout_prob
  attention_probs_dropout_prob classifier_dropout gradient_checkpointing neftune_noise_alpha
  use_cache pretraining_tp chunk_size_feed_forward torchscript use_bfloat16 tf_legacy_loss return_dict output_attentions
  output_hidden_states output_scores return_dict_in_generate is_decoder max_sequence_length
  attn_implementation _attn_implementation _attn_implementation_autoset _attn_implementation_internal
  _experts_implementation _flash_attn_2_enabled use_flash_attn use_flash_attention use_flash_attention_2
  bos_token_id pad_token_id unk_token_id sep_token_id mask_token_id decoder_start_token_id tokenizer_class prefix
  max_length min_length max_new_tokens do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k
  top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
  num_return_sequences forced_bos_token_id forced_eos_token_id suppress_tokens begin_suppress_tokens remove_invalid_values
  exponential_decay_length_penalty
  id2label label2id num_labels problem_type finetuning_task task_specific_params
  `
    .trim()
    .split(/\s+/),
);

/** Keys that ask for nothing with these values, and with others for what is not implemented. */
const OFF: Readonly<Record<string, readonly unknown[]>> = {
  partial_rotary_factor: [1],
  rotary_pct: [1],
  is_causal: [true],
  causal: [true],
  use_rope: [true],
  scale_attn_weights: [true],
  residual_multiplier: [1],
  embedding_multiplier: [1],
  logits_scaling: [1],
  logit_scale: [1],
  num_experts: [0],
  num_local_experts: [0],
};

/** Codes of a quantiser instead of weights. */
const QUANTIZED = new Set(["quantization_config", "quantization", "compression_config"]);

/** Throws `OCTAVO_UNSUPPORTED_MODEL` for a key that is neither in `used` nor known, unless its value asks for nothing. */
export function checkConfigKeys(
  architecture: string,
  config: Readonly<Record<string, unknown>>,
  used: ReadonlySet<string>,
): void {
  for (const [key, value] of Object.entries(config)) {
    if (used.has(key) || HARMLESS.has(key) || isNothing(key, value)) continue;
    if (QUANTIZED.has(key)) throw quantized(key, value);
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      `config: ${cut(key, 80)} is ${quoted(value)}, which ${architecture} does not use here and which may change what the model computes; ` +
        `if it has no effect on this model, remove it from config.json`,
    );
  }
}

/** A key that is not set, or a feature that is not asked for. */
function isNothing(key: string, value: unknown): boolean {
  if (value === null || value === undefined) return true;
  if (Object.hasOwn(OFF, key)) return OFF[key]?.includes(value) ?? false;
  return value === false || (typeof value === "object" && Object.keys(value).length === 0);
}

function quantized(key: string, value: unknown): OctavoError {
  const method = typeof value === "object" && value !== null ? Reflect.get(value, "quant_method") : undefined;
  return new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `config: ${key}${method === undefined ? "" : ` (${quoted(method)})`}: the files hold a quantiser's codes, not weights, and loading them is not implemented; ` +
      `use the model's 16-bit files, which Octavo quantises itself, or a GGUF file of it`,
  );
}
