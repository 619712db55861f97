/** The registry of families: which file writes the program of which architecture. */
import { OctavoError } from "../../errors.ts";
import type { Program } from "../../program/program.ts";
import { cut, quoted } from "../../quoted.ts";
import type { Manifest } from "../source/manifest.ts";
import { type LlamaConfig, llamaConfig } from "./config.ts";
import { llamaTensors, manifestOfConfig } from "./from-config.ts";
import { buildLlama, type ModelOptions } from "./llama.ts";
import { checkAllUsed, checkLoadable } from "./used-tensors.ts";

export type { ModelOptions } from "./llama.ts";

export interface ModelDescription extends LlamaConfig {
  readonly family: string;
  /** Elements of all tensors in the files. */
  readonly parameters: number;
}

interface Family {
  readonly name: string;
  describe(architecture: string, config: Manifest["config"]): LlamaConfig;
  /** Names and shapes of the tensors that such a config promises. */
  tensors(config: LlamaConfig): Iterable<readonly [string, readonly number[]]>;
  build(architecture: string, manifest: Manifest, options: ModelOptions): Program;
}

const llama: Family = {
  name: "llama",
  describe: llamaConfig,
  tensors: llamaTensors,
  build: buildLlama,
};

const FAMILIES: ReadonlyMap<string, Family> = new Map([
  ["LlamaForCausalLM", llama],
  ["MistralForCausalLM", llama],
  ["Qwen2ForCausalLM", llama],
]);

function familyOf({ path, config }: Pick<Manifest, "path" | "config">): { architecture: string; family: Family } {
  const named: unknown = config.architectures;
  const first: unknown = Array.isArray(named) ? named[0] : named;
  const architecture = typeof first === "string" ? cut(first, 80) : quoted(first);
  const family = FAMILIES.get(architecture);
  if (!family)
    throw new OctavoError(
      "OCTAVO_UNKNOWN_ARCHITECTURE",
      `${path}: no family for the architecture ${architecture}; there are ${[...FAMILIES.keys()].join(", ")}`,
    );
  return { architecture, family };
}

/** A model of which only the config is there: enough to plan, not to load. */
export function modelOfConfig(path: string, config: Manifest["config"]): Manifest {
  const { architecture, family } = familyOf({ path, config });
  return manifestOfConfig(path, config, family.tensors(family.describe(architecture, config)));
}

/** What a model is, from its headers. */
export function describeModel(manifest: Manifest): ModelDescription {
  const { architecture, family } = familyOf(manifest);
  let parameters = 0;
  for (const { shape } of manifest.tensors.values()) parameters += shape.reduce((product, n) => product * n, 1);
  return { ...family.describe(architecture, manifest.config), family: family.name, parameters };
}

/**
 * The model's program, before any pass. Throws `OCTAVO_UNSUPPORTED_MODEL` when it would leave out a part of the files,
 * `OCTAVO_MODEL_INCOMPLETE` or `OCTAVO_MODEL_FILE_INVALID` for tensors missing or misshapen.
 */
export function buildModel(manifest: Manifest, options: ModelOptions): Program {
  const { architecture, family } = familyOf(manifest);
  checkLoadable(manifest);
  const program = family.build(architecture, manifest, options);
  checkAllUsed(manifest, program);
  return program;
}
