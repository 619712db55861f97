import type { ModelOptions } from "../../ts/model/families/index.ts";
import { MODEL_DEFAULTS } from "../../ts/plan/settings.ts";

/** What a program of a tiny model is built with where a test does not care. */
export const OPTIONS: ModelOptions = { ...MODEL_DEFAULTS, context: 128, pages: 8, rows: 4 };

/** `config.json` of the demo model (SmolLM2-135M), for tests that do without its files. */
export const DEMO_CONFIG = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  vocab_size: 49152,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
};
