/** A plan: what a model takes on which devices, and whether it fits. */
import type { ModelNeeds } from "./needs.ts";

/** Bytes of one device. */
export interface DevicePlan {
  readonly name: string;
  /** That the model may use; of memory that ranks share, this one's part. */
  readonly total: number;
  readonly weights: number;
  readonly kv: number;
  /** Arena, workspace (scratch memory of ops), and what steps keep from one to the next. */
  readonly activations: number;
  /** Of the worker process itself (a GPU's context, or Python and its libraries); no tokens. */
  readonly context: number;
  /**
   * Memory in which ranks on one machine meet. It is the machine's and there once for all of them, so it is counted once: at
   * rank 0.
   */
  readonly collectives: number;
  readonly margin: number;
  readonly free: number;
}

export interface Plan {
  readonly fits: boolean;
  readonly refusal?: string;
  /** Tokens that the KV pages hold. */
  readonly kvTokens: number;
  /** Tokens that all sequences together reach at full length. Where `kvTokens` are fewer, the last ones wait for pages. */
  readonly wantedTokens: number;
  /** Bytes of weights, all ranks together; `head` is the output layer, which is among the others, and 0 where it is the embedding. */
  readonly totals: {
    readonly int8: number;
    readonly scales: number;
    readonly sixteenBit: number;
    readonly head: number;
  };
  /** One per rank, rank 0 first. */
  readonly devices: readonly DevicePlan[];
  /** What the engine needs beside the report. */
  readonly details: ModelNeeds & {
    /** Of the KV cache, on each device. */
    readonly pages: number;
  };
}
