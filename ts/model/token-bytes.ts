/** The bytes that a token stands for. Text is cut into tokens between bytes, not between characters. */
import { z } from "zod";
import { unsupported } from "./tokenizer-refusals.ts";

/** Bytes of one token of the vocabulary. */
export type TokenBytes = (token: string) => Uint8Array;

export interface ByteDecoder {
  readonly bytesOf: TokenBytes;
  /** The encoder put a space before the text, which the decoder takes away again. */
  readonly stripsFirstSpace: boolean;
}

const utf8 = new TextEncoder();

const flag = z.boolean().nullish();
const stepSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ByteLevel") }),
  z.object({ type: z.literal("ByteFallback") }),
  z.object({ type: z.literal("Fuse") }),
  z.object({ type: z.literal("Replace"), pattern: z.object({ String: z.literal("▁") }), content: z.literal(" ") }),
  z.object({ type: z.literal("Strip"), content: z.literal(" "), start: z.int().min(0).max(1), stop: z.literal(0) }),
  z.object({
    type: z.literal("Metaspace"),
    replacement: z.literal("▁").nullish(),
    prepend_scheme: z.enum(["always", "first", "never"]).nullish(),
    add_prefix_space: flag,
  }),
]);
type DecoderStep = z.infer<typeof stepSchema>;

/** What the `decoder` of a tokenizer.json does, by bytes. Throws `OCTAVO_UNSUPPORTED_MODEL` for a decoder of another kind. */
export function byteDecoder(decoder: unknown): ByteDecoder {
  const refused = () =>
    unsupported(
      "decoder",
      decoder,
      'ByteLevel, and SentencePiece\'s: Metaspace, or Replace of "▁" by " ", ByteFallback, Strip',
    );
  const steps = flatten(decoder).map((entry) => {
    const step = stepSchema.safeParse(entry);
    if (step.success) return step.data;
    throw refused();
  });
  const has = (type: DecoderStep["type"]) => steps.some((step) => step.type === type);
  const spaces = has("Metaspace") || has("Replace");
  // Tokens are written in the alphabet of bytes or with space signs, not in both.
  const byteLevelOnly = !spaces && !has("ByteFallback") && !has("Strip");
  if (has("ByteLevel") ? !byteLevelOnly : !spaces) throw refused();
  if (has("ByteLevel")) return { bytesOf: byteLevel, stripsFirstSpace: false };
  return { bytesOf: has("ByteFallback") ? withByteFallback : spaced, stripsFirstSpace: steps.some(stripsFirstSpace) };
}

function stripsFirstSpace(step: DecoderStep): boolean {
  if (step.type === "Metaspace") return step.prepend_scheme !== "never" && step.add_prefix_space !== false;
  return step.type === "Strip" && step.start > 0;
}

function flatten(decoder: unknown): unknown[] {
  if (typeof decoder !== "object" || decoder === null || !("type" in decoder)) return [];
  if (decoder.type !== "Sequence") return [decoder];
  return "decoders" in decoder && Array.isArray(decoder.decoders) ? decoder.decoders.flatMap(flatten) : [];
}

/** GPT-2's alphabet, by bytes: printable Latin-1 characters are their own bytes, the other bytes follow from U+0100 on. */
export const BYTE_ALPHABET: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
})();
const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(BYTE_ALPHABET.map((unit, byte) => [unit, byte]));

function byteLevel(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF_CHARACTER.get(token.charAt(i));
    if (byte === undefined) return utf8.encode(token); // Not written in the alphabet: it means itself.
    bytes[i] = byte;
  }
  return bytes;
}

function spaced(token: string): Uint8Array {
  return utf8.encode(token.replaceAll("▁", " "));
}

function withByteFallback(token: string): Uint8Array {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
  return byte === undefined ? spaced(token) : Uint8Array.of(Number.parseInt(byte, 16));
}
