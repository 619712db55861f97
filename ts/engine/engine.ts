/**
 * A loaded model that answers requests, on one worker after the other when workers are lost: requests that ran go on with the
 * tokens that they would have had. Wires the rooms together: options, tokenizer, scheduler, runner, recovery.
 */
import { checkTokenIds } from "../arguments.ts";
import type { Deployment } from "../deploy/deployment.ts";
import type { Group } from "../deploy/group.ts";
import { endedByLoss, Recovery } from "../deploy/recovery.ts";
import { OctavoError } from "../errors.ts";
import type { LedgerReport } from "../memory/ledger.ts";
import type { ChatMessage } from "../model/chat/message.ts";
import { chatPrompt, checkMessages } from "../model/chat.ts";
import type { ModelDescription } from "../model/families/index.ts";
import type { SamplingDefaults } from "../model/source/generation-config.ts";
import type { EncodeOptions, Tokenizer } from "../model/tokenizer.ts";
import type { Plan } from "../plan/types.ts";
import { Scheduler } from "../schedule/scheduler.ts";
import {
  CHAT_RULES,
  type ChatOptions,
  GENERATE_RULES,
  type GenerateOptions,
  promptTooLong,
  type RequestLimits,
  type RequestOptions,
  type RequestSpec,
  resolveOptions,
  withPrompt,
} from "./generate-options.ts";
import { Generation, type GenerationSink } from "./generation.ts";
import type { LoadOptions } from "./load-options.ts";
import { type LoadedModel, type LoadTimings, loadModel } from "./loader.ts";
import { Request } from "./request.ts";
import { Runner } from "./runner.ts";
import type { EngineStatistics } from "./statistics.ts";
import { stepHook } from "./step-hook.ts";

/** Up to this many UTF-16 units a text becomes tokens at once: a few milliseconds. */
const SHORT_TEXT = 16_384;

export class Engine {
  readonly model: ModelDescription;
  /** What was foreseen before anything was allocated. */
  readonly plan: Plan;
  /** Where the model runs. */
  readonly deployment: Deployment;
  readonly loadTimings: LoadTimings;
  /** What `generate` and `chat` take for options that are not given, as the model's files have it. */
  readonly defaults: SamplingDefaults;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #runner: Runner;
  readonly #limits: RequestLimits;
  readonly #recovery: Recovery;
  /** Aborted when no request can go on. */
  readonly #ended = new AbortController();
  #disposed: Promise<void> | undefined;

  private constructor(loaded: LoadedModel, options: LoadOptions) {
    const { description, tokenizer, deployment } = loaded;
    const { pages, settings, stages } = deployment.plan.details;
    const { context, sequences, limits } = settings;
    this.model = description;
    this.plan = deployment.plan;
    this.deployment = deployment;
    this.loadTimings = loaded.timings;
    this.defaults = loaded.defaults;
    this.#tokenizer = tokenizer;
    const scheduler = new Scheduler({ pages, sequences, tokenBudget: limits.T, stages });
    this.#runner = new Runner(scheduler, deployment.program, {
      onStep: stepHook(options),
      onBroken: (reason) => this.#recovery.broken(reason),
    });
    this.#limits = {
      vocabulary: description.vocabulary,
      context,
      biases: limits.D / sequences,
      eosTokenIds: [...description.eosTokenIds, ...(tokenizer?.eosIds ?? [])],
      defaults: loaded.defaults,
    };
    this.#recovery = new Recovery(deployment, this.#runner);
  }

  /**
   * Starts a worker, or takes those of `pool`, and loads `model`: a folder, a `.gguf` file, a hub id that is in the cache, or `smollm2`.
   * Refuses before anything is allocated when it does not fit (`OCTAVO_PLAN_DOES_NOT_FIT`). Also throws
   * `OCTAVO_BAD_ARGUMENT`, the codes of models (`OCTAVO_MODEL_NOT_FOUND`, `OCTAVO_UNKNOWN_ARCHITECTURE`, ...) and of workers
   * (`OCTAVO_WORKER_START_FAILED`, ...), or the signal's reason.
   */
  static async load(model: string, options: LoadOptions = {}): Promise<Engine> {
    return new Engine(await loadModel(model, options), options);
  }

  /** Throws `OCTAVO_MODEL_INCOMPLETE` for a model without tokenizer files; such a model takes and gives token ids. */
  get tokenizer(): Tokenizer {
    if (this.#tokenizer !== undefined) return this.#tokenizer;
    const text = "the model has no tokenizer (tokenizer.json); give token ids instead of text";
    throw new OctavoError("OCTAVO_MODEL_INCOMPLETE", text);
  }

  /** Sums and distributions over all steps and requests so far: a copy. */
  get statistics(): EngineStatistics {
    return this.#runner.statistics;
  }

  /**
   * Continue a text (which gets the model's special tokens, if it wants any) or token ids (taken as they are).
   * Starts at once; when all rows or pages are taken it waits its turn. Of a text over 16,384 characters the generation, not this
   * call, tells that it has too many tokens, unless its length alone says so. A lost worker is a pause (`Generation`). Throws, before any effect: `OCTAVO_BAD_ARGUMENT`,
   * `OCTAVO_EMPTY_PROMPT`, `OCTAVO_PROMPT_TOO_LONG`, `OCTAVO_TOKEN_OUT_OF_RANGE`, `OCTAVO_DISPOSED`.
   */
  generate(prompt: string | readonly number[], options: GenerateOptions = {}): Generation {
    this.#assertAlive();
    const resolved = resolveOptions(options, this.#limits, GENERATE_RULES);
    if (typeof prompt === "string") return this.#startText(prompt, {}, resolved);
    checkTokenIds(prompt);
    return this.#start(prompt, resolved);
  }

  /**
   * Answer the last of `messages`, in the model's own chat format. What they say is text, control tokens that are written out in
   * it too, unless `allowSpecialTokens` is set. Throws what `generate` and the template throw.
   */
  chat(messages: readonly ChatMessage[], options: ChatOptions = {}): Generation {
    this.#assertAlive();
    const resolved = resolveOptions(options, this.#limits, CHAT_RULES);
    checkMessages(messages);
    this.#refuseLong(messages);
    const { allowSpecialTokens } = options;
    const { text, fence } = chatPrompt(this.tokenizer, messages, { allowSpecialTokens });
    return this.#startText(text, { addSpecialTokens: false, fence }, resolved);
  }

  /** Bytes by purpose against what the worker measures, per device; others' too, where the pool has more than this model. */
  async memory(): Promise<LedgerReport[]> {
    this.#assertAlive();
    await this.#recovery.ready();
    return await Promise.all(this.deployment.devices.map((device) => device.memory()));
  }

  /**
   * @internal Throws when the books disagree: free and used pages of the KV cache, references of sequences that run, handles of
   * the ledgers and of the workers. A worker that is gone has no handles. The test suite asks after every test.
   */
  async audit(): Promise<void> {
    const handles = this.deployment.devices.map(async (device) => {
      try {
        return device.ledger.audit(await device.stats());
      } catch (error) {
        const gone = OctavoError.isInstance(error) && error.code === "OCTAVO_DISPOSED";
        if (gone || device.lost.aborted) return [];
        throw error;
      }
    });
    const wrong = [...this.#runner.audit(), ...(await Promise.all(handles)).flat()];
    if (wrong.length > 0) throw new Error(`the engine's books are wrong. ${wrong.join("; ")}`);
  }

  /**
   * Ends what runs (`OCTAVO_DISPOSED`), then the worker; of a caller's pool it only frees what the model has there. A second call
   * waits for the first.
   */
  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #dispose(): Promise<void> {
    this.#ended.abort(disposed());
    this.#runner.cancelAll(disposed());
    await this.#recovery.dispose(disposed());
  }

  #assertAlive(): void {
    if (this.#disposed !== undefined) throw disposed();
  }

  #start(prompt: readonly number[], options: RequestOptions): Generation {
    const spec = withPrompt(options, prompt, this.#limits);
    return new Generation((sink) => this.#submit(spec, sink));
  }

  /** Before time goes into a template. Answers are left out: templates drop what was thought in them. */
  #refuseLong(messages: readonly ChatMessage[]): void {
    for (const [index, { role, content }] of messages.entries()) {
      if (role === "assistant" || !this.tokenizer.surelyExceeds(content, this.#limits.context - 1)) continue;
      throw promptTooLong(`message ${index} of ${content.length} characters has too many tokens`, this.#limits);
    }
  }

  /** What is wrong with a short text is thrown; a long one becomes tokens while others go on, and fails as they do. */
  #startText(text: string, encoding: EncodeOptions, options: RequestOptions): Generation {
    const { tokenizer } = this;
    if (text.length <= SHORT_TEXT) return this.#start(tokenizer.encode(text, encoding), options);
    const limit = this.#limits.context - 1;
    const tooLong = () => promptTooLong(`the prompt of ${text.length} characters has too many tokens`, this.#limits);
    if (tokenizer.surelyExceeds(text, limit, encoding)) throw tooLong();
    return new Generation((sink) => {
      const left = new AbortController();
      const signal = AbortSignal.any([left.signal, this.#ended.signal, options.signal ?? left.signal]);
      let end = (reason: unknown) => left.abort(reason);
      const submit = (ids: readonly number[] | undefined) => {
        signal.throwIfAborted();
        if (ids === undefined) throw tooLong();
        end = this.#submit(withPrompt(options, ids, this.#limits), sink);
      };
      tokenizer
        .encodeInSlices(text, { ...encoding, limit, signal })
        .then(submit)
        .catch(sink.fail);
      return (reason) => end(reason);
    });
  }

  /** Returns what ends the request early. */
  #submit(spec: RequestSpec, sink: GenerationSink): (reason: unknown) => void {
    sink.tokenized(spec.prompt.length);
    const request = new Request(spec, this.#tokenizer?.streamDecoder({ continuation: true }), sink);
    this.#recovery.wake();
    if (request.spec.logits) {
      const submit = (program: Group) => {
        if (request.over) return;
        this.#runner.useForLogits(program);
        this.#runner.submit(request);
      };
      this.#recovery.logits().then(submit, (error) => request.fail(endedByLoss(error)));
    } else this.#runner.submit(request);
    return (reason) => {
      this.#runner.cancel(request, reason);
      request.fail(reason);
    };
  }
}

function disposed(): OctavoError {
  return new OctavoError("OCTAVO_DISPOSED", "the engine was disposed; load the model again");
}
