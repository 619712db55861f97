/** GGUF metadata -> `tokenizer.json` and `tokenizer_config.json`. */
import { OctavoError } from "../../errors.ts";
import { quoted } from "../../quoted.ts";
import type { Metadata, MetadataValue } from "./gguf-header.ts";
import { endOfGeneration } from "./gguf-tokenizer-ends.ts";
import type { Manifest } from "./manifest.ts";
import { BYTE_LEVEL, preTokenizer } from "./pre-tokenizers.ts";
import { invalid } from "./ranges.ts";
import { mergesFromScores } from "./sentencepiece-merges.ts";

/** `llama_token_type`. */
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

/** The largest vocabularies have a few hundred thousand tokens; what is done for each takes 2 us. */
const MAX_TOKENS = 2 ** 20;
const MAX_MERGES = 2 ** 21;

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly MetadataValue[];
  readonly scores: readonly MetadataValue[] | undefined;
  readonly merges: readonly (readonly [string, string])[] | undefined;
}

/** Undefined for a file without a vocabulary. Throws `OCTAVO_MODEL_FILE_INVALID` or `OCTAVO_UNSUPPORTED_MODEL`. */
export function tokenizerFromGguf(path: string, metadata: Metadata): Manifest["tokenizer"] {
  const model = metadata.get("tokenizer.ggml.model");
  if (model === undefined || model === "none" || model === "no_vocab") return undefined;
  if (model !== "gpt2" && model !== "llama") {
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      `${path}: tokenizer.ggml.model ${quoted(model)}; implemented are "gpt2" (byte-level BPE) and "llama" (SentencePiece BPE)`,
    );
  }
  const vocabulary = readVocabulary(path, metadata);
  const bytes = model === "gpt2" ? byteLevel(path, metadata, vocabulary) : undefined;
  const special = (token: string) => {
    const id = specialId(path, metadata, token, vocabulary) ?? (bytes ? undefined : SENTENCE_PIECE_IDS[token]);
    return id === undefined ? undefined : vocabulary.tokens[id];
  };
  const addBos = flag(path, metadata, "add_bos_token", bytes ? bytes.addBos && special("bos") !== undefined : true);
  const common = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    post_processor: template(
      vocabulary,
      addBos ? required(path, "bos", special("bos")) : undefined,
      flag(path, metadata, "add_eos_token", false) ? required(path, "eos", special("eos")) : undefined,
    ),
  };
  const tokenizerConfig = {
    bos_token: special("bos") ?? null,
    eos_token: special("eos") ?? null,
    unk_token: special("unknown") ?? null,
    pad_token: special("padding") ?? null,
    clean_up_tokenization_spaces: false,
    ...chatTemplate(metadata),
  };
  const own = bytes?.json ?? sentencePiece(path, metadata, vocabulary, special("unknown"));
  const isControl = (id: number) => vocabulary.types[id] === CONTROL;
  return {
    tokenizerJson: { ...common, ...own },
    tokenizerConfig,
    endIds: endOfGeneration(vocabulary.tokens, isControl, (token) => specialId(path, metadata, token, vocabulary)),
  };
}

/** What llama.cpp takes for a SentencePiece vocabulary that does not say. */
const SENTENCE_PIECE_IDS: Readonly<Record<string, number>> = { unknown: 0, bos: 1, eos: 2 };

function specialId(path: string, metadata: Metadata, token: string, { tokens }: Vocabulary): number | undefined {
  const key = `tokenizer.ggml.${token}_token_id`;
  const id = metadata.get(key);
  if (id === undefined) return undefined;
  // 2^32 - 1 is how some converters write "none".
  if (id === 0xffffffff || id === -1) return undefined;
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < tokens.length) return id;
  throw invalid(path, `${key} is ${quoted(id)}; token ids go from 0 to ${tokens.length - 1}`);
}

function required(path: string, token: string, found: string | undefined): string {
  if (found !== undefined && found !== "") return found;
  throw invalid(path, `tokenizer.ggml.add_${token}_token is true without a tokenizer.ggml.${token}_token_id`);
}

function byteLevel(
  path: string,
  metadata: Metadata,
  vocabulary: Vocabulary,
): { readonly json: object; readonly addBos: boolean } {
  const { tokens, merges } = vocabulary;
  if (!merges) throw invalid(path, "tokenizer.ggml.merges is missing");
  const pre = preTokenizer(path, metadata.get("tokenizer.ggml.pre"), tokens);
  const json = {
    normalizer: null,
    pre_tokenizer: pre.preTokenizer,
    decoder: { ...BYTE_LEVEL, add_prefix_space: true },
    model: {
      type: "BPE",
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoreMerges,
      ...mergeable(path, vocabulary, merges),
    },
  };
  return { json, addBos: pre.addBos };
}

function sentencePiece(path: string, metadata: Metadata, vocabulary: Vocabulary, unknown: string | undefined): object {
  const { tokens, merges, scores } = vocabulary;
  const prefix = flag(path, metadata, "add_space_prefix", true);
  const space = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const strip = prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [];
  return {
    normalizer: prefix ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, space] } : space,
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...strip,
      ],
    },
    model: {
      type: "BPE",
      unk_token: unknown ?? null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      ...mergeable(path, vocabulary, merges ?? mergesFromScores(path, tokens, scores)),
    },
  };
}

/**
 * Tokens that text may become, and the merges that lead to them: not control tokens, which no text may become by merging.
 */
function mergeable(
  path: string,
  { tokens, types }: Vocabulary,
  merges: readonly (readonly [string, string])[],
): { readonly vocab: Record<string, number>; readonly merges: readonly (readonly [string, string])[] } {
  // Without a prototype: "__proto__" and "constructor" are words like others.
  const vocab: Record<string, number> = Object.create(null);
  const control = new Set<string>();
  for (const [id, token] of tokens.entries()) {
    if (types[id] === CONTROL || types[id] === UNKNOWN) control.add(token);
    else if (token !== "") vocab[token] = id;
  }
  const kept = merges.filter((pair) => {
    const joined = pair[0] + pair[1];
    if (vocab[pair[0]] !== undefined && vocab[pair[1]] !== undefined && vocab[joined] !== undefined) return true;
    if (control.has(pair[0]) || control.has(pair[1]) || control.has(joined)) return false;
    throw invalid(path, `tokenizer.ggml.merges has ${quoted(pair.join(" "))}, not of tokens`);
  });
  return { vocab, merges: kept };
}

/** What is found in a text before it is cut. The unknown token too: `<unk>` in a text is that token. */
function addedTokens({ tokens, types }: Vocabulary): object[] {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return tokens.flatMap((content, id) => {
    const special = types[id] === CONTROL || types[id] === UNKNOWN;
    return content === "" || (!special && types[id] !== USER_DEFINED) ? [] : [{ id, content, ...flags, special }];
  });
}

function template({ tokens }: Vocabulary, bos: string | undefined, eos: string | undefined): object {
  const piece = (token: string | undefined, type_id: number) =>
    token === undefined ? [] : [{ SpecialToken: { id: token, type_id } }];
  const sequence = (id: "A" | "B", type_id: number) => [
    ...piece(bos, type_id),
    { Sequence: { id, type_id } },
    ...piece(eos, type_id),
  ];
  const used = [bos, eos].filter((token) => token !== undefined);
  const special_tokens = Object.fromEntries(
    used.map((token) => [token, { id: token, ids: [tokens.indexOf(token)], tokens: [token] }]),
  );
  return {
    type: "TemplateProcessing",
    single: sequence("A", 0),
    pair: [...sequence("A", 0), ...sequence("B", 1)],
    special_tokens,
  };
}

function chatTemplate(metadata: Metadata): object {
  const text = metadata.get("tokenizer.chat_template");
  return typeof text === "string" && text !== "" ? { chat_template: text } : {};
}

function flag(path: string, metadata: Metadata, name: string, fallback: boolean): boolean {
  const key = `tokenizer.ggml.${name}`;
  const value = metadata.get(key) ?? fallback;
  if (typeof value === "boolean") return value;
  throw invalid(path, `${key} is ${quoted(value)}; it takes true or false`);
}

function readVocabulary(path: string, metadata: Metadata): Vocabulary {
  const array = (key: string, most = MAX_TOKENS): readonly MetadataValue[] | undefined => {
    const value = metadata.get(`tokenizer.ggml.${key}`);
    if (value !== undefined && !Array.isArray(value)) throw invalid(path, `tokenizer.ggml.${key} is not an array`);
    if (value !== undefined && value.length > most)
      throw invalid(path, `tokenizer.ggml.${key} has ${value.length} elements; read are up to ${most}`);
    return value as readonly MetadataValue[] | undefined;
  };
  const tokens = array("tokens");
  if (!tokens || tokens.length === 0) throw invalid(path, "tokenizer.ggml.tokens is missing or empty");
  const types = array("token_type") ?? [];
  const scores = array("scores");
  for (const [key, list] of [
    ["token_type", types],
    ["scores", scores ?? []],
  ] as const) {
    if (list.length !== 0 && list.length !== tokens.length)
      throw invalid(path, `tokenizer.ggml.${key} has ${list.length} elements for ${tokens.length} tokens`);
    const wrong = list.find((value) => typeof value !== "number" || !Number.isFinite(value));
    if (wrong !== undefined) throw invalid(path, `tokenizer.ggml.${key} has ${quoted(wrong)}`);
  }
  const texts = strings(path, "tokens", tokens);
  checkOnce(path, texts);
  const merges = array("merges", MAX_MERGES);
  return { tokens: texts, types, scores, merges: merges && strings(path, "merges", merges).map(pairOf(path)) };
}

/** Two ids of one text: which of them the text becomes would be chance. Empty ones only fill the table. */
function checkOnce(path: string, tokens: readonly string[]): void {
  const seen = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    const before = seen.get(token);
    if (before !== undefined && token !== "")
      throw invalid(path, `tokenizer.ggml.tokens has ${quoted(token)} at ${before} and at ${id}`);
    seen.set(token, id);
  }
}

function pairOf(path: string): (merge: string) => readonly [string, string] {
  return (merge) => {
    const space = merge.indexOf(" ", 1);
    if (space < 1) throw invalid(path, `tokenizer.ggml.merges has ${quoted(merge)}, which has not two parts`);
    return [merge.slice(0, space), merge.slice(space + 1)];
  };
}

function strings(path: string, key: string, values: readonly MetadataValue[]): readonly string[] {
  if (!values.every((value) => typeof value === "string"))
    throw invalid(path, `tokenizer.ggml.${key} has things that are not strings`);
  return values as readonly string[];
}
