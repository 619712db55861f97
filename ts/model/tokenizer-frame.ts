/** The `post_processor` of a tokenizer.json: which special tokens stand around a text. */
import { z } from "zod";
import { quoted } from "../quoted.ts";
import { invalidTokenizer, unsupported } from "./tokenizer-refusals.ts";

export interface Frame {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** Published models have one token before a text and one after it; what a file says is multiplied by what else it says. */
const MAX_TOKENS = 64;

const id = z.int().min(0);
const tokenAndId = z.tuple([z.string(), id]);
const pieceSchema = z.union([
  z.object({ SpecialToken: z.object({ id: z.string() }) }),
  z.object({ Sequence: z.object({ id: z.literal("A") }) }),
]);
const processorSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ByteLevel") }),
  z.object({ type: z.literal("BertProcessing"), cls: tokenAndId, sep: tokenAndId }),
  z.object({ type: z.literal("RobertaProcessing"), cls: tokenAndId, sep: tokenAndId }),
  z.object({
    type: z.literal("TemplateProcessing"),
    single: z.array(pieceSchema).max(MAX_TOKENS),
    special_tokens: z.record(
      z.string(),
      z.object({ ids: z.array(id).max(MAX_TOKENS), tokens: z.array(z.string()).max(MAX_TOKENS) }),
    ),
  }),
]);
type Processor = z.infer<typeof processorSchema>;
const TYPES = "Sequence, ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing";

/** `idOf`: of the whole vocabulary. Throws `OCTAVO_UNSUPPORTED_MODEL` or `OCTAVO_MODEL_FILE_INVALID`. */
export function frameOf(postProcessor: unknown, idOf: (token: string) => number | undefined): Frame {
  const frame: { before: number[]; after: number[] } = { before: [], after: [] };
  const entries = flatten(postProcessor);
  if (entries.length > MAX_TOKENS)
    throw invalidTokenizer(`post_processor has ${entries.length} steps, over ${MAX_TOKENS}`);
  for (const entry of entries) {
    const parsed = processorSchema.safeParse(entry);
    if (!parsed.success)
      throw unsupported("post_processor", entry, `${TYPES} with the fields that the tokenizers library writes`);
    const { before, after } = around(parsed.data, (token, ids) => checked(token, ids, idOf));
    frame.before.unshift(...before);
    frame.after.push(...after);
  }
  return frame;
}

function flatten(entry: unknown): unknown[] {
  if (entry === null || entry === undefined) return [];
  if (typeof entry !== "object" || !("type" in entry) || entry.type !== "Sequence") return [entry];
  if ("processors" in entry && Array.isArray(entry.processors)) return entry.processors.flatMap(flatten);
  throw unsupported("post_processor", entry, "a Sequence with processors");
}

type Check = (tokens: readonly string[], ids: readonly number[]) => readonly number[];

function around(processor: Processor, check: Check): Frame {
  if (processor.type === "ByteLevel") return { before: [], after: [] };
  if (processor.type !== "TemplateProcessing") {
    const [cls, sep] = [processor.cls, processor.sep].map(([token, tokenId]) => check([token], [tokenId]));
    return { before: cls ?? [], after: sep ?? [] };
  }
  const { single, special_tokens } = processor;
  const texts = single.flatMap((piece, index) => ("Sequence" in piece ? [index] : []));
  if (texts.length !== 1)
    throw invalidTokenizer(`post_processor.single has the text ${texts.length} times; it takes it once`);
  const idsOf = (pieces: typeof single) =>
    pieces.flatMap((piece) => {
      if ("Sequence" in piece) return [];
      const name = piece.SpecialToken.id;
      const found = Object.hasOwn(special_tokens, name) ? special_tokens[name] : undefined;
      if (found === undefined)
        throw invalidTokenizer(`post_processor.single has ${quoted(name)}, which is not in special_tokens`);
      return check(found.tokens, found.ids);
    });
  const at = texts[0] as number;
  return { before: idsOf(single.slice(0, at)), after: idsOf(single.slice(at + 1)) };
}

function checked(
  tokens: readonly string[],
  ids: readonly number[],
  idOf: (token: string) => number | undefined,
): readonly number[] {
  if (tokens.length === ids.length && tokens.every((token, index) => idOf(token) === ids[index])) return ids;
  const known = tokens.map(idOf);
  throw invalidTokenizer(
    `post_processor has ${quoted(tokens)} with the ids ${quoted(ids)}; the vocabulary has ${quoted(known)} for them`,
  );
}
