/** The registry of families: which file writes the program of which architecture. */
import { located, OctavoError } from "../../errors.ts";
import type { Program } from "../../program/program.ts";
import { cut, quoted } from "../../quoted.ts";
import type { Manifest } from "../source/manifest.ts";
import { llamaConfig } from "./config.ts";
import type { ModelDescription } from "./description.ts";
import { buildLlama } from "./llama.ts";
import type { ModelOptions } from "./options.ts";
import { type ModelTensors, promisedTensors, tensorsOf } from "./tensors.ts";
import { checkAllUsed, checkLoadable } from "./used-tensors.ts";

export type { ModelDescription } from "./description.ts";
export { type Head, headForm, type KvType, type ModelOptions } from "./options.ts";

/** A model of a family, its config checked. */
interface Model {
  readonly description: Omit<ModelDescription, "family" | "architecture" | "parameters">;
  build(tensors: ModelTensors, options: ModelOptions): Program;
}

interface Family {
  readonly name: string;
  /** Throws `OCTAVO_MODEL_FILE_INVALID`, `OCTAVO_UNSUPPORTED_MODEL` for a config that is wrong or asks for too much. */
  read(architecture: string, config: Manifest["config"]): Model;
}

const llama: Family = {
  name: "llama",
  read(architecture, config) {
    const read = llamaConfig(architecture, config);
    const { layers, hidden, heads, kvHeads, headDim, vocabulary, context, eosTokenIds } = read;
    return {
      description: { layers, hidden, heads, kvHeads, headDim, vocabulary, context, eosTokenIds },
      build: (tensors, options) => buildLlama(read, tensors, options),
    };
  },
};

const FAMILIES: ReadonlyMap<string, Family> = new Map([
  ["LlamaForCausalLM", llama],
  ["MistralForCausalLM", llama],
  ["Qwen2ForCausalLM", llama],
]);

function read({ path, config }: Pick<Manifest, "path" | "config">) {
  const named: unknown = config.architectures;
  const first: unknown = Array.isArray(named) ? named[0] : named;
  const architecture = typeof first === "string" ? cut(first, 80) : quoted(first);
  const family = FAMILIES.get(architecture);
  if (!family)
    throw new OctavoError(
      "OCTAVO_UNKNOWN_ARCHITECTURE",
      `${path}: no family for the architecture ${architecture}; there are ${[...FAMILIES.keys()].join(", ")}`,
    );
  try {
    return { architecture, family: family.name, model: family.read(architecture, config) };
  } catch (error) {
    if (!OctavoError.isInstance(error)) throw error;
    throw located(path, error); // Which config of several.
  }
}

/** What the smallest program of a model asks for is what its files hold. */
const SMALLEST: ModelOptions = {
  weights: "int8",
  head: "16bit",
  threshold: 0,
  headThreshold: 0,
  context: 1,
  pages: 1,
  rows: 1,
  kv: "int16",
  output: { type: "logits" },
};

/** A model of which only the config is there: enough to plan, not to load. */
export function modelOfConfig(path: string, config: Manifest["config"]): Manifest {
  const promised = promisedTensors(path, config);
  read({ path, config }).model.build(promised, SMALLEST);
  return promised.manifest;
}

/** What a model is, from its headers. */
export function describeModel(manifest: Manifest): ModelDescription {
  const { architecture, family, model } = read(manifest);
  let parameters = 0;
  for (const { shape } of manifest.tensors.values()) parameters += shape.reduce((product, n) => product * n, 1);
  return { family, architecture, parameters, ...model.description };
}

/**
 * The model's program, before any pass. Throws `OCTAVO_UNSUPPORTED_MODEL` when it would leave out a part of the files,
 * `OCTAVO_MODEL_INCOMPLETE` or `OCTAVO_MODEL_FILE_INVALID` for tensors missing or misshapen.
 */
export function buildModel(manifest: Manifest, options: ModelOptions): Program {
  const { model } = read(manifest);
  checkLoadable(manifest);
  const program = model.build(tensorsOf(manifest), options);
  checkAllUsed(manifest, program);
  return program;
}
