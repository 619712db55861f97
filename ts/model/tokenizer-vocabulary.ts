/** `model` and `added_tokens` of a tokenizer.json, checked once: what they hold are whole ids, each of one token. */
import { quoted } from "../quoted.ts";
import type { AddedToken } from "./tokenizer-added-tokens.ts";
import { Bpe } from "./tokenizer-bpe.ts";
import { invalidTokenizer, unsupported } from "./tokenizer-refusals.ts";

export interface Vocabulary {
  /** Id -> token; ids that only pad have none. */
  readonly tokens: readonly (string | undefined)[];
  /** Token -> id, added tokens included. */
  readonly ids: ReadonlyMap<string, number>;
  readonly added: readonly AddedToken[];
  readonly model: Bpe;
}

/** Bounds what an id in a damaged file can make us allocate; the largest vocabularies have a few hundred thousand. */
const MAX_TOKENS = 2 ** 20;

type Fields = Readonly<Record<string, unknown>>;

/** `limit`: ids of the model are below it. Throws `OCTAVO_MODEL_FILE_INVALID` or `OCTAVO_UNSUPPORTED_MODEL`. */
export function readVocabulary(json: Fields, limit: number | undefined): Vocabulary {
  const model = fields("model", json.model);
  if (model.type !== "BPE" && !(model.type === undefined && "merges" in model))
    throw unsupported("model.type", model.type, "BPE");
  const vocabulary = readIds(fields("model.vocab", model.vocab), Math.min(limit ?? MAX_TOKENS, MAX_TOKENS));
  const tokens: (string | undefined)[] = [];
  for (const [token, id] of vocabulary) {
    if (tokens[id] !== undefined)
      throw invalidTokenizer(`model.vocab has ${quoted(tokens[id])} and ${quoted(token)} with the id ${id}`);
    tokens[id] = token;
  }
  // No holes in the array itself: it would be slow to read.
  for (let id = 0; id < tokens.length; id++) tokens[id] ??= undefined;
  const added = readAdded(json.added_tokens);
  const ids = new Map(vocabulary);
  for (const { id, content } of added) {
    const before = ids.get(content);
    if ((before !== undefined && before !== id) || (tokens[id] !== undefined && tokens[id] !== content)) {
      const known = before === undefined ? `the id is ${quoted(tokens[id])}` : `the token has the id ${before}`;
      throw invalidTokenizer(`added_tokens has ${quoted(content)} with the id ${id}, elsewhere ${known}`);
    }
    while (tokens.length < id) tokens.push(undefined);
    tokens[id] = content;
    ids.set(content, id);
  }
  return { tokens, ids, added, model: readModel(model, vocabulary, tokens, ids) };
}

function readIds(vocab: Fields, limit: number): Map<string, number> {
  const ids = new Map<string, number>();
  for (const token in vocab) {
    const id = vocab[token];
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= limit)
      throw invalidTokenizer(`model.vocab has ${quoted(token)} with ${quoted(id)}; ids go from 0 to ${limit - 1}`);
    ids.set(token, id);
  }
  return ids;
}

function readModel(
  model: Fields,
  vocabulary: ReadonlyMap<string, number>,
  tokens: readonly (string | undefined)[],
  ids: ReadonlyMap<string, number>,
): Bpe {
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix"])
    if (model[key] !== undefined && model[key] !== null && model[key] !== "")
      throw unsupported(`model.${key}`, model[key], "none");
  if (model.dropout !== undefined && model.dropout !== null && model.dropout !== 0)
    throw unsupported("model.dropout", model.dropout, "none: it makes ids depend on chance");
  const unknown = model.unk_token ?? undefined;
  if (unknown !== undefined && (typeof unknown !== "string" || !ids.has(unknown)))
    throw invalidTokenizer(`model.unk_token is ${quoted(unknown)}, which is no token`);
  try {
    return new Bpe({
      tokens,
      vocabulary,
      merges: readMerges(model.merges),
      unknown: unknown === undefined ? undefined : ids.get(unknown),
      fuseUnknown: flag("model", model, "fuse_unk"),
      byteFallback: flag("model", model, "byte_fallback"),
      ignoreMerges: flag("model", model, "ignore_merges"),
    });
  } catch (cause) {
    if (cause instanceof RangeError) throw invalidTokenizer(`model.${cause.message}`);
    throw cause;
  }
}

function readMerges(merges: unknown): (readonly [string, string])[] {
  if (!Array.isArray(merges)) throw invalidTokenizer(`model.merges is ${quoted(merges)}, not a list`);
  return merges.map((merge: unknown, rank) => {
    const parts: unknown = typeof merge === "string" ? merge.split(" ") : merge;
    if (Array.isArray(parts) && parts.length === 2 && parts.every((part) => typeof part === "string"))
      return parts as unknown as readonly [string, string];
    throw invalidTokenizer(`model.merges[${rank}] is ${quoted(merge)}, not two tokens`);
  });
}

function readAdded(entries: unknown): AddedToken[] {
  if (entries === undefined || entries === null) return [];
  if (!Array.isArray(entries)) throw invalidTokenizer(`added_tokens is ${quoted(entries)}, not a list`);
  return entries.map((entry: unknown, index) => {
    const name = `added_tokens[${index}]`;
    const token = fields(name, entry);
    const { id, content } = token;
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= MAX_TOKENS)
      throw invalidTokenizer(`${name}.id is ${quoted(id)}; it takes a whole number from 0 on`);
    if (typeof content !== "string" || content === "")
      throw invalidTokenizer(`${name}.content is ${quoted(content)}; it takes a text that is not empty`);
    const special = flag(name, token, "special");
    return {
      id,
      content,
      special,
      singleWord: flag(name, token, "single_word"),
      lstrip: flag(name, token, "lstrip"),
      rstrip: flag(name, token, "rstrip"),
      normalized: token.normalized === undefined ? !special : flag(name, token, "normalized"),
    };
  });
}

function fields(key: string, value: unknown): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw invalidTokenizer(`${key} is ${quoted(value)}, not an object`);
}

function flag(name: string, entry: Fields, key: string): boolean {
  const value = entry[key] ?? false;
  if (typeof value === "boolean") return value;
  throw invalidTokenizer(`${name}.${key} is ${quoted(value)}; it takes true or false`);
}
