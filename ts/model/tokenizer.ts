/** Text <-> token ids of one model. */
import { Tokenizer as Vocabulary } from "@huggingface/tokenizers";
import { OctavoError } from "../errors.ts";
import type { Manifest } from "./source/manifest.ts";
import { StreamDecoder } from "./stream-decoder.ts";
import { type ByteDecoder, byteDecoder } from "./token-bytes.ts";
import { type AddedToken, AddedTokenSplitter } from "./tokenizer-added-tokens.ts";
import { sameCuts } from "./tokenizer-differences.ts";

export interface EncodeOptions {
  /** Adds what the model wants around a text (often a token for its beginning). Default true; false for a rendered chat. */
  readonly addSpecialTokens?: boolean;
  /**
   * A character (one UTF-16 unit) of the text that is not text: no added token matches across it, and then it is taken out, so
   * that the ids are those of the text without it and without that match. It must be in no added token.
   */
  readonly fence?: string | undefined;
}

export interface DecodeOptions {
  /** Leaves control tokens out. Default false in `decode`, true in `streamDecoder`. */
  readonly skipSpecialTokens?: boolean;
  /** The ids go on after other text, so a space at their start belongs to it. Default false. */
  readonly continuation?: boolean;
}

const utf8 = new TextEncoder();
const NOTHING = new Uint8Array(0);

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
  readonly #verbatim: AddedTokenSplitter;
  readonly #normalized: AddedTokenSplitter | undefined;
  readonly #decoder: ByteDecoder;
  /** id -> whether it is a control token. */
  readonly #added: ReadonlyMap<number, boolean>;
  readonly #bytes: (Uint8Array | undefined)[] = [];

  /** Throws `OCTAVO_MODEL_INCOMPLETE` without tokenizer files, `OCTAVO_MODEL_FILE_INVALID` or `OCTAVO_UNSUPPORTED_MODEL`. */
  static from(manifest: Manifest): Tokenizer {
    return new Tokenizer(manifest);
  }

  private constructor(manifest: Manifest) {
    if (!manifest.tokenizer) {
      throw new OctavoError(
        "OCTAVO_MODEL_INCOMPLETE",
        `${manifest.path}: no tokenizer (tokenizer.json) comes with the model`,
      );
    }
    const json = manifest.tokenizer.tokenizerJson as {
      decoder?: unknown;
      pre_tokenizer?: unknown;
      added_tokens?: unknown;
    };
    const config = (manifest.tokenizer.tokenizerConfig ?? {}) as Record<string, unknown>;
    this.#decoder = byteDecoder(json.decoder);
    this.#vocabulary = build(manifest.path, json, config);
    this.#added = new Map([...this.#vocabulary.get_added_tokens_decoder()].map(([id, token]) => [id, token.special]));
    const added = readAddedTokens(json.added_tokens);
    this.addedTokens = [...added].sort((a, b) => a.id - b.id);
    const normalized = added.filter((token) => token.normalized);
    this.#verbatim = new AddedTokenSplitter(
      added.filter((token) => !token.normalized).map((token) => ({ text: token.content, token })),
    );
    this.#normalized =
      normalized.length === 0
        ? undefined
        : new AddedTokenSplitter(normalized.map((token) => ({ text: this.#normalize(token.content), token })));
    this.specialTokens = specialTokens(config);
    this.chatTemplate = chatTemplate(config);
    this.bosId = this.#special("bos_token");
    const ends = [manifest.config.eos_token_id ?? [], this.#special("eos_token") ?? []].flat();
    this.eosIds = [...new Set(ends.filter((id): id is number => Number.isSafeInteger(id)))];
    const padded = Number(manifest.config.vocab_size ?? 0);
    this.vocabularySize = Math.max(padded, this.#vocabulary.model?.vocab.length ?? 0);
  }

  /** Special tokens that are written out in the text become those tokens. */
  encode(text: string, { addSpecialTokens = true, fence }: EncodeOptions = {}): number[] {
    this.#checkFence(fence);
    const tokens: string[] = [];
    let section = 0;
    for (const stretch of this.#verbatim.split(text, fence, Number.POSITIVE_INFINITY)) {
      if (typeof stretch === "string") tokens.push(...this.#stretch(stretch, fence, section));
      else if (stretch !== undefined) tokens.push(stretch.content);
      section++;
    }
    const { post_processor } = this.#vocabulary;
    const all = post_processor ? post_processor(tokens, null, addSpecialTokens).tokens : tokens;
    return all.map((token: string) => this.idOf(token) as number);
  }

  /** What lies between added tokens of the text as it was given. */
  #stretch(text: string, fence: string | undefined, section: number): string[] {
    const joined = fence === undefined ? text : text.replaceAll(fence, "");
    if (this.#normalized === undefined) return this.#words(this.#normalize(joined), section);
    const found = [...this.#normalized.split(this.#normalize(text), fence, Number.POSITIVE_INFINITY)];
    // Only where nothing matches may the normaliser see what a fence keeps apart.
    if (!found.some((part) => typeof part === "object")) return this.#words(this.#normalize(joined), section);
    return found.flatMap((part) => {
      if (typeof part === "object") return [part.content];
      return part === undefined ? [] : this.#words(fence === undefined ? part : part.replaceAll(fence, ""), section);
    });
  }

  #normalize(text: string): string {
    const { normalizer } = this.#vocabulary;
    return normalizer ? normalizer.normalize(text) : text;
  }

  #words(text: string, section_index: number): string[] {
    const { pre_tokenizer, model } = this.#vocabulary;
    if (text === "" || !model) return [];
    return model(pre_tokenizer ? pre_tokenizer(text, { section_index }) : [text]);
  }

  #checkFence(fence: string | undefined): void {
    if (fence === undefined) return;
    const inside = this.addedTokens.find((token) => token.content.includes(fence));
    if (fence.length === 1 && inside === undefined) return;
    const why = inside === undefined ? "it takes one character" : `the added token ${show(inside.content)} has it`;
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", `fence is ${show(fence)}; ${why}`);
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
    return this.#vocabulary.token_to_id(token);
  }

  /** The token as the vocabulary writes it; undefined for ids that only pad the vocabulary. */
  tokenOf(id: number): string | undefined {
    return this.#vocabulary.id_to_token(id);
  }

  /** Whether it is a control token, which is no part of the text. */
  isSpecial(id: number): boolean {
    return this.#added.get(id) === true;
  }

  /** Bytes of a token's text; not to be written to. Throws `OCTAVO_TOKEN_OUT_OF_RANGE`. */
  bytesOf(id: number): Uint8Array {
    const known = this.#bytes[id];
    if (known) return known;
    if (!Number.isSafeInteger(id) || id < 0 || id >= this.vocabularySize) {
      throw new OctavoError("OCTAVO_TOKEN_OUT_OF_RANGE", `token id ${id}; the vocabulary has ${this.vocabularySize}`);
    }
    const token = this.tokenOf(id) ?? "";
    const bytes = this.#added.has(id) ? utf8.encode(token) : this.#decoder.bytesOf(token);
    this.#bytes[id] = bytes;
    return bytes;
  }

  #special(name: string): number | undefined {
    const token = this.specialTokens[name];
    return token === undefined ? undefined : this.idOf(token);
  }
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}

function readAddedTokens(entries: unknown): AddedToken[] {
  if (!Array.isArray(entries)) return [];
  return entries.map((entry) => ({
    id: entry.id,
    content: entry.content,
    singleWord: entry.single_word ?? false,
    lstrip: entry.lstrip ?? false,
    rstrip: entry.rstrip ?? false,
    special: entry.special ?? false,
    normalized: entry.normalized ?? !entry.special,
  }));
}

function build(path: string, json: { readonly pre_tokenizer?: unknown }, config: object): Vocabulary {
  try {
    return new Vocabulary({ ...json, pre_tokenizer: sameCuts(json.pre_tokenizer) }, config);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OctavoError("OCTAVO_MODEL_FILE_INVALID", `${path}: tokenizer.json: ${reason.slice(0, 200)}`, { cause });
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
