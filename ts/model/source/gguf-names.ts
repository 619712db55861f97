/** Tensor names of GGUF files -> those of transformers, so that families know one naming. */

const WHOLE: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  output: "lm_head",
};

const LAYER: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

/** `blk.0.attn_q.weight` -> `model.layers.0.self_attn.q_proj.weight`. A name that no family knows stays as it is. */
export function huggingFaceName(name: string): string {
  const [, layer, part = "", kind] = /^(?:blk\.(\d+)\.)?([a-z_]+)\.(weight|bias)$/.exec(name) ?? [];
  const table = layer === undefined ? WHOLE : LAYER;
  if (!Object.hasOwn(table, part)) return name;
  return layer === undefined ? `${table[part]}.${kind}` : `model.layers.${layer}.${table[part]}.${kind}`;
}
