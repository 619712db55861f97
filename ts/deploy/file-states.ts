/** Whether a model's files are still those that its manifest describes: byte ranges of other files are not its weights. */
import { statSync } from "node:fs";
import { OctavoError } from "../errors.ts";
import type { Manifest } from "../model/source/manifest.ts";

export class FileStates {
  readonly #states = new Map<string, string>();

  constructor({ tensors }: Manifest) {
    for (const { file } of tensors.values()) if (!this.#states.has(file)) this.#states.set(file, stateOf(file));
  }

  /** Throws `OCTAVO_MODEL_FILE_INVALID`. */
  check(): void {
    for (const [file, state] of this.#states) {
      if (stateOf(file) === state) continue;
      const text = `${file} has changed since the model was loaded; load the model again`;
      throw new OctavoError("OCTAVO_MODEL_FILE_INVALID", text);
    }
  }
}

function stateOf(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false });
  return found === undefined ? "absent" : `${found.dev} ${found.ino} ${found.size} ${found.mtimeMs}`;
}
