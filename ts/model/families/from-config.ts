/** A manifest made of a config alone: the tensors that it promises, without a file. For planning before a download. */
import type { SourceType } from "../../../protocol/source-types.ts";
import { sourceBytes } from "../source/element-types.ts";
import type { Manifest, TensorEntry } from "../source/manifest.ts";
import type { LlamaConfig } from "./config.ts";

/** How transformers names element types in a config. */
const TYPES: Readonly<Record<string, SourceType>> = { float32: "F32", float16: "F16", bfloat16: "BF16" };

/** `tensors` are names and shapes, as a family gives them. Element type: the config's `torch_dtype` or `dtype`, else bfloat16. */
export function manifestOfConfig(
  path: string,
  config: Readonly<Record<string, unknown>>,
  tensors: Iterable<readonly [string, readonly number[]]>,
): Manifest {
  const type = TYPES[String(config.torch_dtype ?? config.dtype)] ?? "BF16";
  const entries = new Map<string, TensorEntry>();
  for (const [name, shape] of tensors)
    entries.set(name, { name, file: path, offset: 0, bytes: sourceBytes(type, shape) ?? 0, type, shape });
  return { path, format: "safetensors", tensors: entries, config, tokenizer: undefined };
}

/** Names and shapes of all tensors of a llama-like model, as transformers writes them. */
export function* llamaTensors(c: LlamaConfig): Generator<readonly [string, readonly number[]]> {
  const query = c.heads * c.headDim;
  const key = c.kvHeads * c.headDim;
  yield ["model.embed_tokens.weight", [c.vocabulary, c.hidden]];
  for (let i = 0; i < c.layers; i++) {
    const layer = `model.layers.${i}`;
    yield [`${layer}.input_layernorm.weight`, [c.hidden]];
    yield* linear(`${layer}.self_attn.q_proj`, query, c.hidden, c.qkvBias);
    yield* linear(`${layer}.self_attn.k_proj`, key, c.hidden, c.qkvBias);
    yield* linear(`${layer}.self_attn.v_proj`, key, c.hidden, c.qkvBias);
    yield* linear(`${layer}.self_attn.o_proj`, c.hidden, query, c.outputBias);
    yield [`${layer}.post_attention_layernorm.weight`, [c.hidden]];
    yield* linear(`${layer}.mlp.gate_proj`, c.intermediate, c.hidden, c.mlpBias);
    yield* linear(`${layer}.mlp.up_proj`, c.intermediate, c.hidden, c.mlpBias);
    yield* linear(`${layer}.mlp.down_proj`, c.hidden, c.intermediate, c.mlpBias);
  }
  yield ["model.norm.weight", [c.hidden]];
  if (!c.tiedEmbeddings) yield ["lm_head.weight", [c.vocabulary, c.hidden]];
}

function* linear(
  path: string,
  rows: number,
  columns: number,
  bias: boolean,
): Generator<readonly [string, readonly number[]]> {
  yield [`${path}.weight`, [rows, columns]];
  if (bias) yield [`${path}.bias`, [rows]];
}
