/** What an engine has done so far, in sums and distributions, and what a step's observer is told. */
import { createHistogram } from "node:perf_hooks";
import type { Counters, Sizes } from "../../protocol/messages.ts";
import type { Step } from "../schedule/sequence.ts";

/** All but `count` are 0 when nothing was counted. Values are exact to 1 %. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** Since the engine was loaded, over all its workers. Steps that failed or were lost are in none of it. */
export interface EngineStatistics {
  readonly steps: number;
  /** Tokens that went through the model, and rows that drew one. */
  readonly tokens: number;
  readonly drawn: number;
  /**
   * Elements quantised, those of them with a carry (docs/numerics.md), and rows with NaN or infinity that were quantised or drawn
   * from: whatever op makes one, its row comes to one of these.
   */
  readonly quantized: number;
  readonly carries: number;
  readonly nonfinite: number;
  /** Milliseconds inside the kernels. */
  readonly computeMs: number;
  /** How often the model was loaded again because a worker was lost, and requests that went on there: twice if they did twice. */
  readonly restarts: number;
  readonly resumed: number;
  /** Milliseconds that requests waited for memory and for a row, until their first step was sent. */
  readonly queueMs: Distribution;
  /** Milliseconds from that step until requests were over, however they ended. */
  readonly runMs: Distribution;
  /** Tokens of a step: prompts in chunks, and one for each sequence that decodes. */
  readonly stepTokens: Distribution;
}

/** One step that a worker has computed. */
export interface StepReport {
  /** From 1 on; the number of a step that failed is left out. */
  readonly number: number;
  /** Sequences in it. */
  readonly rows: number;
  /** Tokens that went through the model, and rows that drew one. */
  readonly tokens: number;
  readonly drawn: number;
  /** As the kernels had them: what each letter counts is in protocol/messages.ts. */
  readonly sizes: Sizes;
  /** Milliseconds inside the kernels. */
  readonly computeMs: number;
  /** Requests that wait and that run, after the step's answers were handed out and the next step was planned. */
  readonly waiting: number;
  readonly running: number;
  /** Pages of the KV cache that nobody holds and nobody was promised, likewise. */
  readonly freePages: number;
}

export class StatisticsRecord {
  readonly #sums = {
    steps: 0,
    tokens: 0,
    drawn: 0,
    quantized: 0,
    carries: 0,
    nonfinite: 0,
    computeMs: 0,
    restarts: 0,
    resumed: 0,
  };
  readonly queueMs = new Recorder(1e-3);
  readonly runMs = new Recorder(1e-3);
  readonly #stepTokens = new Recorder(1);

  step({ tokens, samples }: Step, { quantized, carries, nonfinite, nanoseconds }: Counters): void {
    const sums = this.#sums;
    sums.steps += 1;
    sums.tokens += tokens;
    sums.drawn += samples;
    sums.quantized += quantized;
    sums.carries += carries;
    sums.nonfinite += nonfinite;
    sums.computeMs += nanoseconds / 1e6;
    this.#stepTokens.record(tokens);
  }

  restarted(): void {
    this.#sums.restarts += 1;
  }

  resumed(requests: number): void {
    this.#sums.resumed += requests;
  }

  get steps(): number {
    return this.#sums.steps;
  }

  get(): EngineStatistics {
    const { queueMs, runMs } = this;
    const stepTokens = this.#stepTokens.get();
    return { ...this.#sums, queueMs: queueMs.get(), runMs: runMs.get(), stepTokens };
  }
}

/** Node's histograms count whole numbers from 1 on: here units of `unit`, up to twelve days of microseconds. */
class Recorder {
  readonly #histogram = createHistogram({ lowest: 1, highest: 2 ** 40, figures: 2 });
  readonly #unit: number;

  constructor(unit: number) {
    this.#unit = unit;
  }

  record(value: number): void {
    this.#histogram.record(Math.max(1, Math.round(value / this.#unit)));
  }

  get(): Distribution {
    const { count, mean, max } = this.#histogram;
    if (count === 0) return { count, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 };
    const at = (percent: number) => this.#histogram.percentile(percent) * this.#unit;
    return { count, mean: mean * this.#unit, p50: at(50), p90: at(90), p99: at(99), max: max * this.#unit };
  }
}
