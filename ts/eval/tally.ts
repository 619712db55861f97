/** What the scored tokens of one run add up to. */
import type { Counters } from "../../protocol/messages.ts";
import { OctavoError } from "../errors.ts";
import type { PayloadData } from "../program/payload.ts";

export class Tally {
  #rows = 0;
  #surprise = 0;
  #divergence = 0;
  #agreements = 0;
  #quantized = 0;
  #carries = 0;

  /** The first `rows` of a step's outputs; the others only fill its fixed number of rows. */
  add({ nll, kl, top1 }: Readonly<Record<string, PayloadData>>, rows: number, counters: Counters): void {
    for (let i = 0; i < rows; i++) {
      this.#surprise += Number(nll![i]);
      this.#divergence += Number(kl![i]);
      this.#agreements += Number(top1![i]);
    }
    this.#rows += rows;
    this.#quantized += counters.quantized;
    this.#carries += counters.carries;
  }

  /** Throws `OCTAVO_NONFINITE` where it is beyond float64. */
  get perplexity(): number {
    const surprise = this.#surprise / this.#rows;
    const perplexity = Math.exp(surprise);
    if (Number.isFinite(perplexity)) return perplexity;
    const text = `the text surprises the model by ${surprise} nats per token; its perplexity is beyond float64's range`;
    throw new OctavoError("OCTAVO_NONFINITE", text);
  }

  /** Mean per token, in nats. */
  get kl(): number {
    return this.#divergence / this.#rows;
  }

  /** Share of tokens. */
  get top1(): number {
    return this.#agreements / this.#rows;
  }

  /** Share of quantised activations that have a second digit. */
  get carries(): number {
    return this.#quantized === 0 ? 0 : this.#carries / this.#quantized;
  }
}
