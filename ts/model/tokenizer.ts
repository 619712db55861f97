/** Text <-> token ids of one model. */
import { isUtf8 } from "node:buffer";
import { setImmediate } from "node:timers/promises";
import { badArgument, OctavoError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import type { Manifest } from "./source/manifest.ts";
import { StreamDecoder } from "./stream-decoder.ts";
import { type ByteDecoder, byteDecoder } from "./token-bytes.ts";
import { Encoder } from "./tokenizer-encoder.ts";
import { type Frame, frameOf } from "./tokenizer-frame.ts";
import { invalidTokenizer, tokenizerError } from "./tokenizer-refusals.ts";
import { readVocabulary, type Vocabulary } from "./tokenizer-vocabulary.ts";

export interface EncodeOptions {
  /** Adds what the model wants around a text (often a token for its beginning). Default true; false for a rendered chat. */
  readonly addSpecialTokens?: boolean;
  /**
   * A character (one UTF-16 unit) of the text that is not text: no added token matches across it, and then it is taken out, so
   * that the ids are those of the text without it and without that match. It must be in no added token.
   */
  readonly fence?: string | undefined;
}

export interface SlicedEncodeOptions extends EncodeOptions {
  /** More ids than this are not wanted. */
  readonly limit?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface DecodeOptions {
  /** Leaves control tokens out. Default false in `decode`, true in `streamDecoder`. */
  readonly skipSpecialTokens?: boolean;
  /** The ids go on after other text, so a space at their start belongs to it. Default false. */
  readonly continuation?: boolean;
}

const NOTHING = new Uint8Array(0);
const NO_FRAME: Frame = { before: [], after: [] };

export class Tokenizer {
  /** Ids are below it. It may be more than there are tokens: models pad their embedding. */
  readonly vocabularySize: number;
  readonly bosId: number | undefined;
  /** Tokens that end a text or a turn. */
  readonly eosIds: readonly number[];
  /** Special tokens by their names in tokenizer_config.json (`bos_token`, ...), as chat templates use them. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** Jinja source; undefined for models that were not trained on chats. */
  readonly chatTemplate: string | undefined;
  /** Tokens that are found in a text before it is cut into words, by their ids. */
  readonly addedTokens: readonly { readonly content: string; readonly special: boolean }[];
  readonly #vocabulary: Vocabulary;
  readonly #encoder: Encoder;
  readonly #frame: Frame;
  readonly #decoder: ByteDecoder;
  /** id -> whether it is a control token. */
  readonly #added: ReadonlyMap<number, boolean>;
  readonly #bytes: (Uint8Array | undefined)[] = [];

  /** Throws `OCTAVO_MODEL_INCOMPLETE` without tokenizer files, `OCTAVO_MODEL_FILE_INVALID` or `OCTAVO_UNSUPPORTED_MODEL`. */
  static from(manifest: Manifest): Tokenizer {
    try {
      return new Tokenizer(manifest);
    } catch (cause) {
      throw tokenizerError(manifest.path, cause);
    }
  }

  private constructor({ tokenizer: files, config: { vocab_size, eos_token_id } }: Manifest) {
    if (!files) throw new OctavoError("OCTAVO_MODEL_INCOMPLETE", "no tokenizer (tokenizer.json) comes with the model");
    const json = files.tokenizerJson as Readonly<Record<string, unknown>>;
    const config = (files.tokenizerConfig ?? {}) as Readonly<Record<string, unknown>>;
    const rows =
      typeof vocab_size === "number" && Number.isSafeInteger(vocab_size) && vocab_size > 0 ? vocab_size : undefined;
    this.#vocabulary = readVocabulary(json, rows);
    const { tokens, ids, added } = this.#vocabulary;
    this.vocabularySize = rows ?? tokens.length;
    this.#encoder = new Encoder(json, this.#vocabulary, this.vocabularySize);
    this.#frame = frameOf(json.post_processor, (token) => ids.get(token));
    for (const id of [...this.#frame.before, ...this.#frame.after])
      if (id >= this.vocabularySize)
        throw invalidTokenizer(`post_processor adds token ${id}; the model has ${this.vocabularySize}`);
    this.#decoder = byteDecoder(json.decoder);
    this.#added = new Map(added.map((token) => [token.id, token.special]));
    this.addedTokens = [...added].sort((a, b) => a.id - b.id);
    this.specialTokens = specialTokens(config);
    this.chatTemplate = chatTemplate(config);
    this.bosId = this.#special("bos_token");
    const ends = [eos_token_id ?? [], this.#special("eos_token") ?? [], files.endIds ?? []].flat();
    this.eosIds = [...new Set(ends.filter((id): id is number => Number.isSafeInteger(id)))];
  }

  /**
   * In one go, which for a long text stops everything else meanwhile (`encodeInSlices` does not). Special tokens that are written
   * out in the text become those tokens, unless a fence is in them. Throws `OCTAVO_BAD_ARGUMENT`
   * for a wrong fence, `OCTAVO_TOKEN_OUT_OF_RANGE` for an added token that the model has no row for.
   */
  encode(text: string, { addSpecialTokens = true, fence }: EncodeOptions = {}): number[] {
    this.#checkFence(fence);
    const ids = addSpecialTokens ? [...this.#frame.before] : [];
    const steps = this.#encoder.steps(text, fence, ids);
    while (steps.next().done !== true);
    if (addSpecialTokens) ids.push(...this.#frame.after);
    return ids;
  }

  /**
   * The same ids, made in slices of a few milliseconds with turns of the event loop between them. Undefined as soon as there
   * are more than `limit`. Rejects with what `encode` throws and with the signal's reason.
   */
  async encodeInSlices(
    text: string,
    { addSpecialTokens = true, fence, limit = Number.POSITIVE_INFINITY, signal }: SlicedEncodeOptions = {},
  ): Promise<number[] | undefined> {
    this.#checkFence(fence);
    const { before, after } = addSpecialTokens ? this.#frame : NO_FRAME;
    const ids = [...before];
    const most = limit - after.length;
    if (this.#encoder.bound.exceeds(text, most - ids.length, fence)) return undefined;
    for (const _pause of this.#encoder.steps(text, fence, ids)) {
      if (ids.length > most) return undefined;
      await setImmediate();
      signal?.throwIfAborted();
    }
    ids.push(...after);
    return ids.length > limit ? undefined : ids;
  }

  /** Whether a text is more than `limit` tokens for certain, from its length and the longest token alone. */
  surelyExceeds(text: string, limit: number, { fence }: Pick<EncodeOptions, "fence"> = {}): boolean {
    return this.#encoder.bound.exceeds(text, limit, fence);
  }

  #checkFence(fence: string | undefined): void {
    if (fence === undefined) return;
    const inside = this.addedTokens.find((token) => token.content.includes(fence));
    if (fence.length === 1 && inside === undefined) return;
    const why = inside === undefined ? "it takes one character" : `the added token ${quoted(inside.content)} has it`;
    throw badArgument(`fence is ${quoted(fence)}; ${why}`);
  }

  /**
   * The exact text: spaces before punctuation stay (`clean_up_tokenization_spaces` is not applied), so that
   * `decode(encode(text))` is `text` with byte-level vocabularies that have every byte. Throws `OCTAVO_TOKEN_OUT_OF_RANGE`.
   */
  decode(ids: readonly number[], { skipSpecialTokens = false, continuation = false }: DecodeOptions = {}): string {
    const stream = this.streamDecoder({ skipSpecialTokens, continuation });
    let text = "";
    for (const id of ids) text += stream.push(id);
    return text + stream.end();
  }

  /** A decoder for ids that come one by one. `push` throws `OCTAVO_TOKEN_OUT_OF_RANGE`. */
  streamDecoder({ skipSpecialTokens = true, continuation = false }: DecodeOptions = {}): StreamDecoder {
    const bytesOf = (id: number) => (skipSpecialTokens && this.isSpecial(id) ? NOTHING : this.bytesOf(id));
    return new StreamDecoder(bytesOf, this.#decoder.stripsFirstSpace && !continuation);
  }

  idOf(token: string): number | undefined {
    return this.#vocabulary.ids.get(token);
  }

  /** The token as the vocabulary writes it; undefined for ids that only pad the vocabulary. */
  tokenOf(id: number): string | undefined {
    return this.#vocabulary.tokens[id];
  }

  /** Whether it is a control token, which is no part of the text. */
  isSpecial(id: number): boolean {
    return this.#added.get(id) === true;
  }

  /** Bytes of a token's text; not to be written to. Throws `OCTAVO_TOKEN_OUT_OF_RANGE`. */
  bytesOf(id: number): Uint8Array {
    const known = this.#bytes[id];
    if (known) return known;
    if (!Number.isSafeInteger(id) || id < 0 || id >= this.vocabularySize)
      throw new OctavoError("OCTAVO_TOKEN_OUT_OF_RANGE", `token id ${id}; the vocabulary has ${this.vocabularySize}`);
    const token = this.tokenOf(id) ?? "";
    const read = this.#decoder.bytesOf(token);
    // An added token is a whole text: where the alphabet of bytes makes no text of it, it means itself.
    const bytes = this.#added.has(id) && !isUtf8(read) ? Buffer.from(token) : read;
    this.#bytes[id] = bytes;
    return bytes;
  }

  #special(name: string): number | undefined {
    const token = this.specialTokens[name];
    return token === undefined ? undefined : this.idOf(token);
  }
}

/** `bos_token` and its like: a string, or an object with the string in it. */
function specialTokens(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const [name, value] of Object.entries(config)) {
    const content = typeof value === "object" && value !== null && "content" in value ? value.content : value;
    if (name.endsWith("_token") && typeof content === "string") tokens[name] = content;
  }
  return tokens;
}

/** One template, or several by name, of which "default" is the one for chats. */
function chatTemplate({ chat_template: given }: Readonly<Record<string, unknown>>): string | undefined {
  if (!Array.isArray(given)) return typeof given === "string" && given !== "" ? given : undefined;
  const found: unknown = given.find((entry) => entry?.name === "default")?.template;
  return typeof found === "string" ? found : undefined;
}
