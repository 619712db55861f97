/** One request while it runs: the tokens drawn so far, their text, and whether it is over. No I/O. */
import type { StreamDecoder } from "../model/stream-decoder.ts";
import type { RequestSpec } from "./generate-options.ts";
import type { Completion, FinishReason, GenerationSink, TokenLogprob } from "./generation.ts";
import { StopStrings } from "./stop-strings.ts";

/** What a step drew for a request. */
export interface Drawn {
  readonly id: number;
  readonly logprob: TokenLogprob | undefined;
  readonly logits: Float32Array | undefined;
}

export class Request {
  readonly spec: RequestSpec;
  /** Drawn so far. */
  readonly ids: number[] = [];
  readonly #sink: GenerationSink;
  readonly #decoder: StreamDecoder | undefined;
  readonly #stops: StopStrings;
  readonly #logprobs: TokenLogprob[] = [];
  readonly #logits: Float32Array[] = [];
  /** Ids in pieces that were given out. */
  #shown = 0;
  #text = "";
  readonly #submittedAt: number;
  #startedAt = 0;
  #firstTokenAt = 0;
  #over = false;

  /** Without a decoder, the text stays empty. */
  constructor(spec: RequestSpec, decoder: StreamDecoder | undefined, sink: GenerationSink) {
    this.spec = spec;
    this.#decoder = decoder;
    this.#sink = sink;
    this.#stops = new StopStrings(spec.stop);
    this.#submittedAt = performance.now();
  }

  get over(): boolean {
    return this.#over;
  }

  /** Its first step is being sent. Returns the milliseconds that it has waited. */
  started(): number {
    this.#startedAt = performance.now();
    return this.#startedAt - this.#submittedAt;
  }

  /** Milliseconds since then; undefined before. */
  get ranMs(): number | undefined {
    return this.#startedAt === 0 ? undefined : performance.now() - this.#startedAt;
  }

  /** Takes a drawn token. Returns whether the request is over now. */
  accept({ id, logprob, logits }: Drawn): boolean {
    if (this.ids.length === 0) this.#firstTokenAt = performance.now();
    this.ids.push(id);
    if (logprob !== undefined) this.#logprobs.push(logprob);
    if (logits !== undefined) this.#logits.push(logits);
    if (this.spec.stopIds.has(id)) {
      this.#finish(this.#rest("").text, "stop");
      return true;
    }
    const { text, stopped } = this.#stops.push(this.#decoder?.push(id) ?? "");
    if (stopped) this.#finish(text, "stop");
    else if (this.ids.length === this.spec.maxTokens) {
      const rest = this.#rest(text);
      this.#finish(rest.text, rest.stopped ? "stop" : "length");
    } else if (text !== "" || this.#decoder === undefined) this.#show(text);
    return this.#over;
  }

  /** It cannot go on. Does nothing when it is over. */
  fail(reason: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#sink.fail(reason);
  }

  /** `text`, and what decoder and stop strings still hold back; even there a stop string may end it. */
  #rest(text: string): { readonly text: string; readonly stopped: boolean } {
    const rest = this.#stops.push(this.#decoder?.end() ?? "");
    return { text: text + rest.text + (rest.stopped ? "" : this.#stops.end()), stopped: rest.stopped };
  }

  #show(text: string, finishReason?: FinishReason): void {
    const from = this.#shown;
    this.#shown = this.ids.length;
    this.#text += text;
    this.#sink.piece({
      text,
      ids: this.ids.slice(from),
      ...(this.spec.sampling.logprobs < 0 ? {} : { logprobs: this.#logprobs.slice(from) }),
      ...(this.spec.logits ? { logits: this.#logits.slice(from) } : {}),
      ...(finishReason === undefined ? {} : { finishReason }),
    });
  }

  #finish(text: string, finishReason: FinishReason): void {
    this.#over = true;
    this.#show(text, finishReason);
    this.#sink.finish(this.#completion(finishReason));
  }

  #completion(finishReason: FinishReason): Completion {
    const { prompt, sampling, logits } = this.spec;
    const now = performance.now();
    const count = this.ids.length;
    return {
      text: this.#text,
      ids: this.ids,
      finishReason,
      usage: { promptTokens: prompt.length, completionTokens: count },
      ...(sampling.logprobs < 0 ? {} : { logprobs: this.#logprobs }),
      ...(logits ? { logits: this.#logits } : {}),
      timings: {
        queueMs: this.#startedAt - this.#submittedAt,
        firstTokenMs: this.#firstTokenAt - this.#submittedAt,
        totalMs: now - this.#submittedAt,
        prefillTokensPerSecond: (prompt.length * 1000) / (this.#firstTokenAt - this.#startedAt),
        decodeTokensPerSecond: count > 1 ? ((count - 1) * 1000) / (now - this.#firstTokenAt) : 0,
      },
    };
  }
}
