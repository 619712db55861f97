/** The tensors of a model as its family asks for them: from files, or promised by a config alone. */
import type { SourceType } from "../../../protocol/source-types.ts";
import { OctavoError } from "../../errors.ts";
import { sourceBytes } from "../source/element-types.ts";
import type { Manifest, TensorEntry } from "../source/manifest.ts";

export interface ModelTensors {
  readonly config: Manifest["config"];
  has(name: string): boolean;
  /** Throws `OCTAVO_MODEL_INCOMPLETE` or `OCTAVO_MODEL_FILE_INVALID` for a tensor missing or misshapen. */
  take(name: string, shape: readonly number[]): TensorEntry;
}

export function tensorsOf({ path, config, tensors }: Manifest): ModelTensors {
  return {
    config,
    has: (name) => tensors.has(name),
    take(name, shape) {
      const entry = tensors.get(name);
      if (!entry) throw new OctavoError("OCTAVO_MODEL_INCOMPLETE", `${path}: the tensor ${name} is missing`);
      if (entry.shape.join() === shape.join()) return entry;
      const text = `${path}: ${name} has the shape [${entry.shape.join(", ")}]; the config says [${shape.join(", ")}]`;
      throw new OctavoError("OCTAVO_MODEL_FILE_INVALID", text);
    },
  };
}

/** How transformers names element types in a config. */
const TYPES: Readonly<Record<string, SourceType>> = { float32: "F32", float16: "F16", bfloat16: "BF16" };

/**
 * Whatever is taken is there, without a file, and is found in `manifest` afterwards: for planning before a download. Element
 * type: the config's `torch_dtype` or `dtype`, else bfloat16.
 */
export function promisedTensors(
  path: string,
  config: Manifest["config"],
): ModelTensors & { readonly manifest: Manifest } {
  const type = TYPES[String(config.torch_dtype ?? config.dtype)] ?? "BF16";
  const tensors = new Map<string, TensorEntry>();
  return {
    config,
    manifest: { path, format: "safetensors", tensors, config, tokenizer: undefined },
    has: (name) => tensors.has(name),
    take(name, shape) {
      const entry = { name, file: path, offset: 0, bytes: sourceBytes(type, shape) ?? 0, type, shape };
      tensors.set(name, entry);
      return entry;
    },
  };
}
