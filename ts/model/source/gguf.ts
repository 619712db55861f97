/** A GGUF file as a manifest: names, config and tokenizer as a safetensors folder of the same model has them. */
import type { SourceType } from "../../../protocol/source-types.ts";
import { OctavoError } from "../../errors.ts";
import { cut } from "../../quoted.ts";
import { GGML_TYPES, OTHER_GGML_TYPES, sourceBytes } from "./element-types.ts";
import { generationDefaultsOfGguf } from "./generation-config.ts";
import { configFromGguf } from "./gguf-config.ts";
import { type GgufHeader, readGgufHeader } from "./gguf-header.ts";
import { huggingFaceName } from "./gguf-names.ts";
import { readRopeScaling } from "./gguf-rope.ts";
import { tokenizerFromGguf } from "./gguf-tokenizer.ts";
import type { Manifest, TensorEntry } from "./manifest.ts";
import { checkRanges, invalid } from "./ranges.ts";

/** Llama 3's scaling of rope frequencies: a property of the config, which GGUF files write as a tensor. */
const ROPE_FACTORS = "rope_freqs.weight";

/**
 * Reads the header only. Throws `OCTAVO_MODEL_FILE_INVALID` when it lies or the file is truncated,
 * `OCTAVO_UNKNOWN_ARCHITECTURE` or `OCTAVO_UNSUPPORTED_MODEL` for what is not implemented.
 */
export async function openGguf(path: string): Promise<Manifest> {
  const header = readGgufHeader(path);
  const parts = header.metadata.get("split.count");
  if (typeof parts === "number" && parts > 1) {
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      `${path} is one of ${parts} parts; merge them first: llama-gguf-split --merge FIRST-PART OUT.gguf`,
    );
  }
  const entries = readEntries(path, header);
  const factors = entries.get(ROPE_FACTORS);
  entries.delete(ROPE_FACTORS);
  const tensors = new Map<string, TensorEntry>();
  for (const entry of entries.values()) {
    const name = huggingFaceName(entry.name);
    if (tensors.has(name)) throw invalid(path, `two tensors for ${cut(name)}`);
    tensors.set(name, { ...entry, name });
  }
  const config = configFromGguf(path, header.metadata, {
    names: tensors,
    embedding: tensors.get("model.embed_tokens.weight")?.shape,
    ropeScaling: factors && (await readRopeScaling(factors)),
  });
  const tokenizer = tokenizerFromGguf(path, header.metadata);
  const generation = generationDefaultsOfGguf(path, header.metadata);
  return { path, format: "gguf", tensors, config, tokenizer, generation };
}

function readEntries(path: string, header: GgufHeader): Map<string, TensorEntry> {
  const entries = new Map<string, TensorEntry>();
  for (const info of header.tensors) {
    const { name } = info;
    const type = elementType(path, name, info.type);
    const shape = [...info.dimensions].reverse();
    const bytes = sourceBytes(type, shape);
    if (bytes === undefined)
      throw invalid(path, `tensor ${cut(name)}: ${type} [${shape.join(", ")}] is not whole blocks`);
    if (entries.has(name)) throw invalid(path, `tensor ${cut(name)} is there twice`);
    entries.set(name, { name, file: path, offset: header.dataStart + info.offset, bytes, type, shape });
  }
  checkRanges(path, [...entries.values()], header.dataStart, header.fileBytes);
  return entries;
}

function elementType(path: string, name: string, type: number): SourceType {
  const known = GGML_TYPES.get(type);
  if (known) return known;
  const other = OTHER_GGML_TYPES.get(type);
  if (!other) throw invalid(path, `tensor ${cut(name)} has the unknown element type ${type}`);
  throw new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `${path}: tensor ${cut(name)} has the element type ${other}; loadable are ${[...GGML_TYPES.values()].join(", ")}`,
  );
}
