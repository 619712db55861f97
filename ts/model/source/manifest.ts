/** What a model's files hold, from their headers alone. */
import type { SourceType } from "../../../protocol/source-types.ts";
import type { GenerationDefaults } from "./generation-config.ts";

export interface TensorEntry {
  readonly name: string;
  readonly file: string;
  /** Absolute byte range in the file. */
  readonly offset: number;
  readonly bytes: number;
  readonly type: SourceType;
  /** Outermost first: [rows, columns] for a linear weight, [n] for a vector. */
  readonly shape: readonly number[];
}

export interface Manifest {
  /** Absolute path of the folder or the GGUF file. */
  readonly path: string;
  readonly format: "safetensors" | "gguf";
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Tensors of types that no worker loads, and their type as the file spells it. A family refuses those it does not know. */
  readonly unloadable?: ReadonlyMap<string, string>;
  /** `config.json`, or the same keys made from GGUF metadata; a family reads it. */
  readonly config: Readonly<Record<string, unknown>>;
  /** `tokenizer.json` and `tokenizer_config.json`, or the same made from GGUF metadata. */
  readonly tokenizer:
    | {
        readonly tokenizerJson: unknown;
        readonly tokenizerConfig: unknown;
        /** Tokens that end an answer, beside `eos_token`. */
        readonly endIds?: readonly number[];
      }
    | undefined;
  /** `generation_config.json`, or the same of GGUF metadata. */
  readonly generation?: GenerationDefaults | undefined;
}
