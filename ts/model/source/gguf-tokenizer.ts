/** GGUF metadata -> `tokenizer.json` and `tokenizer_config.json`. */
import { OctavoError } from "../../errors.ts";
import { quoted } from "../../quoted.ts";
import type { Metadata, MetadataValue } from "./gguf-header.ts";
import type { Manifest } from "./manifest.ts";
import { BYTE_LEVEL, preTokenizer } from "./pre-tokenizers.ts";
import { invalid } from "./ranges.ts";
import { mergesFromScores } from "./sentencepiece-merges.ts";

/** `llama_token_type`. */
const CONTROL = 3;
const USER_DEFINED = 4;

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly MetadataValue[];
  readonly scores: readonly MetadataValue[] | undefined;
  readonly merges: readonly string[] | undefined;
}

/** Undefined for a file without a vocabulary. Throws `OCTAVO_MODEL_FILE_INVALID` or `OCTAVO_UNSUPPORTED_MODEL`. */
export function tokenizerFromGguf(path: string, metadata: Metadata): Manifest["tokenizer"] {
  const model = metadata.get("tokenizer.ggml.model");
  if (model === undefined || model === "none" || model === "no_vocab") return undefined;
  const vocabulary = readVocabulary(path, metadata);
  const special = (token: string) => {
    const id = metadata.get(`tokenizer.ggml.${token}_token_id`);
    return typeof id === "number" ? vocabulary.tokens[id] : undefined;
  };
  const bos = flag(metadata, "add_bos_token", model === "llama") ? special("bos") : undefined;
  const eos = flag(metadata, "add_eos_token", false) ? special("eos") : undefined;
  const common = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    post_processor: template(vocabulary, bos, eos),
  };
  const tokenizerConfig = {
    bos_token: special("bos") ?? null,
    eos_token: special("eos") ?? null,
    unk_token: special("unknown") ?? null,
    pad_token: special("padding") ?? null,
    clean_up_tokenization_spaces: false,
    ...chatTemplate(metadata),
  };
  if (model === "gpt2")
    return { tokenizerJson: { ...common, ...byteLevel(path, metadata, vocabulary) }, tokenizerConfig };
  if (model === "llama") {
    const tokenizerJson = { ...common, ...sentencePiece(metadata, vocabulary, special("unknown")) };
    return { tokenizerJson, tokenizerConfig };
  }
  throw new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `${path}: tokenizer.ggml.model ${quoted(model)}; implemented are "gpt2" (byte-level BPE) and "llama" (SentencePiece BPE)`,
  );
}

function byteLevel(path: string, metadata: Metadata, { tokens, merges }: Vocabulary): object {
  if (!merges) throw invalid(path, "tokenizer.ggml.merges is missing");
  const pre = metadata.get("tokenizer.ggml.pre");
  return {
    normalizer: null,
    pre_tokenizer: preTokenizer(path, typeof pre === "string" ? pre : "default"),
    decoder: { ...BYTE_LEVEL, add_prefix_space: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      // Llama 3's own tokenizer takes a whole word that is a token before it looks at merges.
      ignore_merges: pre === "llama-bpe" || pre === "llama3" || pre === "llama-v3",
      vocab: ids(tokens),
      merges: merges.map((merge) => {
        const space = merge.indexOf(" ", 1);
        if (space < 1) throw invalid(path, `merge ${quoted(merge)} has not two parts`);
        return [merge.slice(0, space), merge.slice(space + 1)];
      }),
    },
  };
}

function sentencePiece(metadata: Metadata, vocabulary: Vocabulary, unknown: string | undefined): object {
  const prefix = flag(metadata, "add_space_prefix", true);
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
      dropout: null,
      unk_token: unknown ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: ids(vocabulary.tokens),
      merges:
        vocabulary.merges?.map((merge) => merge.split(" ")) ?? mergesFromScores(vocabulary.tokens, vocabulary.scores),
    },
  };
}

/** Token -> id. Without a prototype: "__proto__" and "constructor" are words like others. */
function ids(tokens: readonly string[]): Record<string, number> {
  const vocab: Record<string, number> = Object.create(null);
  tokens.forEach((token, id) => {
    vocab[token] = id;
  });
  return vocab;
}

function addedTokens({ tokens, types }: Vocabulary): object[] {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return tokens.flatMap((content, id) => {
    if (content === "" || (types[id] !== CONTROL && types[id] !== USER_DEFINED)) return [];
    return [{ id, content, ...flags, special: types[id] === CONTROL }];
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

function flag(metadata: Metadata, key: string, fallback: boolean): boolean {
  const value = metadata.get(`tokenizer.ggml.${key}`);
  return typeof value === "boolean" ? value : fallback;
}

function readVocabulary(path: string, metadata: Metadata): Vocabulary {
  const array = (key: string): readonly MetadataValue[] | undefined => {
    const value = metadata.get(`tokenizer.ggml.${key}`);
    if (value !== undefined && !Array.isArray(value)) throw invalid(path, `tokenizer.ggml.${key} is not an array`);
    return value as readonly MetadataValue[] | undefined;
  };
  const tokens = array("tokens");
  if (!tokens || tokens.length === 0) throw invalid(path, "tokenizer.ggml.tokens is missing or empty");
  const types = array("token_type") ?? [];
  const scores = array("scores");
  const merges = array("merges");
  for (const [key, list] of [
    ["token_type", types],
    ["scores", scores ?? []],
  ] as const) {
    if (list.length !== 0 && list.length !== tokens.length) {
      throw invalid(path, `tokenizer.ggml.${key} has ${list.length} elements for ${tokens.length} tokens`);
    }
  }
  return { tokens: strings(path, tokens), types, scores, merges: merges && strings(path, merges) };
}

function strings(path: string, values: readonly MetadataValue[]): readonly string[] {
  if (!values.every((value) => typeof value === "string"))
    throw invalid(path, "a vocabulary with things that are not strings");
  return values as readonly string[];
}
