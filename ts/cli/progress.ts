/** One line on stderr that says what a long task is at; nothing where nobody watches. */
import { formatBytes } from "../bytes.ts";
import type { LoadProgress } from "../engine/load-options.ts";
import { printable } from "./screen.ts";

const STAGES: Readonly<Record<LoadProgress["stage"], string>> = {
  model: "reading the model's headers",
  kernels: "compiling the CPU kernels, once on this machine",
  worker: "starting the worker",
  weights: "loading weights",
  program: "preparing the program",
};

interface JudgeProgress {
  readonly stage: "weights" | "windows";
  readonly done: number;
  readonly total: number;
}

export class ProgressLine {
  readonly #shown = process.stderr.isTTY === true;
  #last = "";

  show(text: string): void {
    if (!this.#shown || text === this.#last) return;
    this.#last = text;
    process.stderr.write(`\r\x1b[2K${printable(text).slice(0, (process.stderr.columns || 80) - 1)}`);
  }

  clear(): void {
    if (!this.#shown || this.#last === "") return;
    this.#last = "";
    process.stderr.write("\r\x1b[2K");
  }

  /** As `LoadOptions.onProgress`. */
  readonly load = ({ stage, done, total }: LoadProgress): void => {
    this.show(`${STAGES[stage]}${amount(stage, done, total)}`);
    // Minutes without a word would look like a hang, also in a log.
    if (!this.#shown && stage === "kernels" && done === 0) process.stderr.write(`${STAGES.kernels}; takes minutes\n`);
  };

  /** As the `onProgress` of what judges or inspects a model by a text. A run may need no weights that are not there. */
  readonly judge = ({ stage, done, total }: JudgeProgress): void => {
    const percent = total === 0 ? 100 : Math.round((100 * done) / total);
    this.show(`${stage === "weights" ? STAGES.weights : "reading the text"}: ${percent} %`);
  };
}

function amount(stage: LoadProgress["stage"], done: number, total: number): string {
  if (stage === "weights") return `: ${formatBytes(done)} of ${formatBytes(total)}`;
  return stage === "kernels" ? `: ${done} of ${total} files` : "";
}
