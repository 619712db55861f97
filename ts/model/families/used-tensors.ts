/** Every tensor of a model's files is used by its program, known to be of no use, or named in a refusal. */
import { OctavoError } from "../../errors.ts";
import type { Program } from "../../program/program.ts";
import { cut } from "../../quoted.ts";
import type { Manifest } from "../source/manifest.ts";

/** What older programs saved beside the weights and every program computes anew. */
const LEFTOVERS = [
  // Frequencies of rope: the config's theta and scaling say them (transformers before 4.32, and before 2023 in every layer).
  /(^|\.)rotary_emb\.(inv_freq|cos_cached|sin_cached)$/,
  /^blk\.\d+\.attn_rot_embd\.weight$/,
  // The causal mask, and the value under it.
  /(^|\.)(self_attn|attention|attn)\.(masked_bias|causal_mask)$/,
  /(^|\.)position_ids$/,
];

/** Endings of what quantisers write beside, or instead of, a weight. */
const QUANTIZERS: Readonly<Record<string, string>> = {
  SCB: "bitsandbytes int8",
  weight_format: "bitsandbytes int8",
  absmax: "bitsandbytes 4-bit",
  quant_map: "bitsandbytes 4-bit",
  "quant_state.bitsandbytes__nf4": "bitsandbytes 4-bit",
  "quant_state.bitsandbytes__fp4": "bitsandbytes 4-bit",
  weight_scale: "compressed-tensors",
  weight_zero_point: "compressed-tensors",
  weight_packed: "compressed-tensors",
  weight_shape: "compressed-tensors",
  input_scale: "compressed-tensors or ModelOpt",
  weight_scale_inv: "block-wise FP8",
  qweight: "GPTQ or AWQ",
  qzeros: "GPTQ or AWQ",
  g_idx: "GPTQ",
  scales: "GPTQ, AWQ or MLX",
  biases: "MLX",
};

const MOST_NAMED = 5;

/** Throws `OCTAVO_UNSUPPORTED_MODEL` when the files hold what no program can load; to be asked before anything is missed. */
export function checkLoadable(manifest: Manifest): void {
  const found = [...(manifest.unloadable ?? [])].filter(([name]) => !isLeftover(name));
  if (found.length === 0) return;
  const types = [...new Set(found.map(([, type]) => type))].join(", ");
  throw refusal(
    manifest,
    found.map(([name]) => name),
    `of a type that is not loaded as weights (${types})`,
  );
}

/** Throws `OCTAVO_UNSUPPORTED_MODEL` when the files hold what the program leaves out. */
export function checkAllUsed(manifest: Manifest, program: Program): void {
  const used = new Set<string>();
  for (const { source } of program.parameters.values())
    if (source.type === "tensors") for (const { tensor } of source.parts) used.add(tensor);
  const left = [...manifest.tensors.keys()].filter((name) => !used.has(name) && !isLeftover(name));
  if (left.length > 0) throw refusal(manifest, left, "that the model's program does not use");
}

function isLeftover(name: string): boolean {
  return LEFTOVERS.some((pattern) => pattern.test(name));
}

function refusal(manifest: Manifest, names: readonly string[], what: string): OctavoError {
  const shown = names.slice(0, MOST_NAMED).map((name) => cut(name, 120));
  const more = names.length > shown.length ? ` and ${names.length - shown.length} more` : "";
  return new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `${manifest.path}: the files hold ${names.length} tensors ${what}: ${shown.join(", ")}${more}; ${advice(manifest)}`,
  );
}

function advice({ tensors, unloadable }: Manifest): string {
  const names = [...tensors.keys(), ...(unloadable?.keys() ?? [])];
  const quantizer = names.map(quantizerOf).find((name) => name !== undefined);
  if (quantizer === undefined)
    return "answers without them would be another model's; if they have no effect, remove them";
  return `they look like ${quantizer}, which is not implemented: use the model's 16-bit files, which Octavo quantises itself, or a GGUF file of it`;
}

function quantizerOf(name: string): string | undefined {
  for (const [ending, quantizer] of Object.entries(QUANTIZERS)) if (name.endsWith(`.${ending}`)) return quantizer;
  return undefined;
}
