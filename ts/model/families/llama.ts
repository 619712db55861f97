/** Llama, Mistral, Qwen2, SmolLM: one family, told apart by attributes (bias, window, tied embeddings, rope). */
import type { Program } from "../../program/program.ts";
import { attention, gatedMlp, ModelWriter, ropeAngles, stepValues } from "./blocks.ts";
import type { LlamaConfig } from "./config.ts";
import { embedding, finish } from "./ends.ts";
import type { ModelOptions } from "./options.ts";
import type { ModelTensors } from "./tensors.ts";

/** The forward pass. Throws what `ModelTensors.take` throws. */
export function buildLlama(config: LlamaConfig, tensors: ModelTensors, options: ModelOptions): Program {
  const { layers, hidden, vocabulary, eps } = config;
  const m = new ModelWriter(tensors, options);
  const step = stepValues(m);
  const angles = ropeAngles(m, config);
  const embedded = embedding(m, "model.embed_tokens.weight", step.tokens, vocabulary, hidden);
  let { x } = embedded;
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`;
    const h = m.norm(x, `${layer}.input_layernorm`, hidden, { eps });
    const attended = attention(m, h, `${layer}.self_attn`, i, config, step, angles);
    x = m.builder.add(x, attended, `${layer}.self_attn.residual`);
    const n = m.norm(x, `${layer}.post_attention_layernorm`, hidden, { eps });
    x = m.builder.add(x, gatedMlp(m, n, `${layer}.mlp`, config), `${layer}.mlp.residual`);
  }
  const last = m.norm(m.builder.rows(x, step.rows), "model.norm", hidden, { eps });
  finish(m, last, embedded, { vocabulary, hidden, tied: config.tiedEmbeddings });
  return m.builder.build();
}
