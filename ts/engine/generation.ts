/** One answer in the making, as its caller sees it: pieces to iterate over, or the whole of it to wait for. */
import { badArgument } from "../errors.ts";

export type FinishReason =
  /** An end token of the model, a stop string or a stop token id. */
  | "stop"
  /** `maxTokens`, or the end of the context. */
  | "length";

export interface TokenLogprob {
  readonly id: number;
  /** Natural logarithm of the probability that the model itself gave the token, before any sampling option. */
  readonly logprob: number;
  /** The likeliest tokens, likeliest first: as many as were asked for. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

/** What one or more tokens added. Text may be empty at the end, and lag behind the ids in the middle of a character. */
export interface Piece {
  readonly text: string;
  readonly ids: readonly number[];
  readonly logprobs?: readonly TokenLogprob[];
  /** Of each id: what it was drawn from, [vocabulary]. */
  readonly logits?: readonly Float32Array[];
  /** Only in the last piece. */
  readonly finishReason?: FinishReason;
}

export interface Timings {
  /** From the request to its first step, in milliseconds: waiting for memory and for a row. */
  readonly queueMs: number;
  /** From the request to its first token. */
  readonly firstTokenMs: number;
  /** From the request to its last token. */
  readonly totalMs: number;
  /** Tokens of the prompt per second, from its first step to the first token. */
  readonly prefillTokensPerSecond: number;
  /** Tokens per second after the first; 0 when there is only one. */
  readonly decodeTokensPerSecond: number;
}

export interface Completion {
  readonly text: string;
  /** Every token that was drawn, an end token included. */
  readonly ids: readonly number[];
  readonly finishReason: FinishReason;
  readonly usage: { readonly promptTokens: number; readonly completionTokens: number };
  readonly logprobs?: readonly TokenLogprob[];
  readonly logits?: readonly Float32Array[];
  readonly timings: Timings;
}

/**
 * Runs from the moment it is made, whether or not anybody looks. Iterate over it once (a second time throws), or call `complete`, or both.
 * Leaving the loop early ends the generation. Both reject with the signal's reason after an abort, with what a long text is
 * refused for once it is tokens (`OCTAVO_PROMPT_TOO_LONG`, `OCTAVO_TOKEN_OUT_OF_RANGE`), with `OCTAVO_DISPOSED` when the engine is
 * gone, and with `OCTAVO_NONFINITE` when the model's numbers for it became NaN or infinite.
 * When a worker is lost it pauses, and goes on with the tokens that it would have had. It rejects with `OCTAVO_WORKER_LOST`,
 * `OCTAVO_STEP_TIMEOUT` or `OCTAVO_GROUP_BROKEN` (retryable) when two workers in a row were lost while they computed it alone,
 * without a token in between, or when five in a row came to nothing, and with `OCTAVO_WORKER_START_FAILED` when none can be started.
 */
export class Generation implements AsyncIterable<Piece> {
  #promptTokens: number | undefined;
  readonly #abort: (reason: unknown) => void;
  readonly #finished: Promise<Completion>;
  /** Pieces that nobody has taken yet; bounded by `maxTokens`. */
  readonly #pieces: Piece[] = [];
  #ended = false;
  #iterated = false;
  #wake: (() => void) | undefined;

  /** Made by `Engine`. `start` is called at once; what it returns ends the generation early. */
  constructor(start: (sink: GenerationSink) => (reason: unknown) => void) {
    let settle: { resolve(completion: Completion): void; reject(reason: unknown): void } | undefined;
    this.#finished = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    // A generation that nobody waits for may fail; whoever waits later is still told.
    this.#finished.catch(() => {});
    const end = () => {
      this.#ended = true;
      this.#wake?.();
    };
    this.#abort = start({
      tokenized: (promptTokens) => {
        this.#promptTokens = promptTokens;
      },
      piece: (piece) => {
        this.#pieces.push(piece);
        this.#wake?.();
      },
      finish: (completion) => {
        settle?.resolve(completion);
        end();
      },
      fail: (reason) => {
        settle?.reject(reason);
        end();
      },
    });
  }

  /** Tokens of the prompt; undefined while a long text is still being made into tokens. */
  get promptTokens(): number | undefined {
    return this.#promptTokens;
  }

  /** The whole answer, once it is there. */
  complete(): Promise<Completion> {
    return this.#finished;
  }

  /** Throws `OCTAVO_BAD_ARGUMENT` the second time: each piece is handed out once. */
  [Symbol.asyncIterator](): AsyncGenerator<Piece, void, undefined> {
    if (this.#iterated) {
      const text = "this generation has been iterated over already; keep its pieces, or take the whole of complete()";
      throw badArgument(text);
    }
    this.#iterated = true;
    return this.#iterate();
  }

  async *#iterate(): AsyncGenerator<Piece, void, undefined> {
    try {
      while (true) {
        const piece = this.#pieces.shift();
        if (piece !== undefined) yield piece;
        else if (this.#ended) break;
        else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
      await this.#finished;
    } finally {
      // Does nothing after the end.
      this.#abort(new DOMException("the loop over the generation was left", "AbortError"));
    }
  }
}

/** Where a generation's news come from. After `finish` or `fail` nothing follows. */
export interface GenerationSink {
  /** Before all else, once the prompt's tokens are known. */
  tokenized(promptTokens: number): void;
  piece(piece: Piece): void;
  finish(completion: Completion): void;
  fail(reason: unknown): void;
}
