/** What a step returned, as drawn tokens. Pure. */
import type { Sizes } from "../../protocol/messages.ts";
import { MAX_LOGPROBS } from "../../protocol/ops.ts";
import type { LoweredProgram } from "../program/lower.ts";
import { unpackOutputs } from "../program/payload.ts";
import type { TokenLogprob } from "./generation.ts";
import type { Drawn, Request } from "./request.ts";

/** The outputs of a program that samples; `logits` only of one that returns them. */
interface Outputs {
  readonly ids: Int32Array;
  readonly logprob: Float32Array;
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
  readonly logits?: Float32Array;
}

export class StepOutputs {
  readonly #outputs: Outputs;
  readonly #rows: number;

  /** Throws `OCTAVO_PROTOCOL` when the payload is too short. */
  constructor(program: Pick<LoweredProgram, "outputs">, sizes: Sizes, payload: Uint8Array) {
    this.#outputs = unpackOutputs(program, sizes, payload) as unknown as Outputs;
    this.#rows = sizes.S;
  }

  /**
   * The token of row `sample`, with what its request asked for; undefined when its logits are not finite. Copies: the payload
   * can go.
   */
  drawn(sample: number, { spec }: Request): Drawn | undefined {
    const { ids, logits } = this.#outputs;
    if (ids[sample]! < 0) return undefined;
    const wanted = spec.sampling.logprobs;
    const width = (logits?.length ?? 0) / this.#rows;
    return {
      id: ids[sample]!,
      logprob: wanted < 0 ? undefined : this.#logprob(sample, wanted),
      logits: spec.logits ? logits?.slice(sample * width, (sample + 1) * width) : undefined,
    };
  }

  #logprob(sample: number, wanted: number): TokenLogprob {
    const { ids, logprob, topIds, topLogprobs } = this.#outputs;
    const from = sample * MAX_LOGPROBS;
    const top = Array.from({ length: wanted }, (_, index) => ({
      id: topIds[from + index]!,
      logprob: topLogprobs[from + index]!,
    }));
    // A vocabulary smaller than the number that was asked for leaves -1 at the end.
    return { id: ids[sample]!, logprob: logprob[sample]!, top: top.filter(({ id }) => id >= 0) };
  }
}
