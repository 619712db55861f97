/** The registry of families: which file writes the program of which architecture. */
import { OctavoError } from "../../errors.ts";
import type { Program } from "../../program/program.ts";
import type { Manifest } from "../source/manifest.ts";
import { type LlamaConfig, llamaConfig } from "./config.ts";
import { buildLlama, type ModelOptions } from "./llama.ts";

export type { ModelOptions } from "./llama.ts";

export interface ModelDescription extends LlamaConfig {
  readonly family: string;
  /** Elements of all tensors in the files. */
  readonly parameters: number;
}

interface Family {
  readonly name: string;
  describe(architecture: string, manifest: Manifest): LlamaConfig;
  build(architecture: string, manifest: Manifest, options: ModelOptions): Program;
}

const llama: Family = {
  name: "llama",
  describe: (architecture, manifest) => llamaConfig(architecture, manifest.config),
  build: buildLlama,
};

const FAMILIES: ReadonlyMap<string, Family> = new Map([
  ["LlamaForCausalLM", llama],
  ["MistralForCausalLM", llama],
  ["Qwen2ForCausalLM", llama],
]);

function familyOf(manifest: Manifest): { architecture: string; family: Family } {
  const named: unknown = manifest.config.architectures;
  const architecture = String(Array.isArray(named) ? named[0] : named);
  const family = FAMILIES.get(architecture);
  if (!family)
    throw new OctavoError(
      "OCTAVO_UNKNOWN_ARCHITECTURE",
      `${manifest.path}: no family for the architecture ${architecture}; there are ${[...FAMILIES.keys()].join(", ")}`,
    );
  return { architecture, family };
}

/** What a model is, from its headers. */
export function describeModel(manifest: Manifest): ModelDescription {
  const { architecture, family } = familyOf(manifest);
  let parameters = 0;
  for (const { shape } of manifest.tensors.values()) parameters += shape.reduce((product, n) => product * n, 1);
  return { ...family.describe(architecture, manifest), family: family.name, parameters };
}

/** The model's program, before any pass. */
export function buildModel(manifest: Manifest, options: ModelOptions): Program {
  const { architecture, family } = familyOf(manifest);
  return family.build(architecture, manifest, options);
}
