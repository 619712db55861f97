/** The bytes that a token stands for. Text is cut into tokens between bytes, not between characters. */
import { OctavoError } from "../errors.ts";
import { quoted } from "../quoted.ts";

/** Bytes of one token of the vocabulary. */
export type TokenBytes = (token: string) => Uint8Array;

export interface ByteDecoder {
  readonly bytesOf: TokenBytes;
  /** The encoder put a space before the text, which the decoder takes away again. */
  readonly stripsFirstSpace: boolean;
}

const utf8 = new TextEncoder();

/** What the `decoder` of a tokenizer.json does, by bytes. Throws `OCTAVO_UNSUPPORTED_MODEL` for a decoder of another kind. */
export function byteDecoder(decoder: unknown): ByteDecoder {
  const steps = flatten(decoder);
  const types = steps.map((step) => step.type);
  if (types.includes("ByteLevel")) return { bytesOf: byteLevel, stripsFirstSpace: false };
  const metaspace = steps.find((step) => step.type === "Metaspace");
  const strip = steps.find((step) => step.type === "Strip");
  const replacesSpace = steps.some((step) => step.type === "Replace" && step.content === " ");
  if (metaspace || replacesSpace) {
    const stripsFirstSpace = metaspace
      ? metaspace.prepend_scheme !== "never" && metaspace.add_prefix_space !== false
      : strip !== undefined && Number(strip.start) > 0;
    return { bytesOf: types.includes("ByteFallback") ? withByteFallback : spaced, stripsFirstSpace };
  }
  throw new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `a tokenizer whose decoder is ${quoted(decoder, 200)}; implemented are byte-level and SentencePiece ones`,
  );
}

interface Step {
  readonly type: unknown;
  readonly [key: string]: unknown;
}

function flatten(decoder: unknown): Step[] {
  if (typeof decoder !== "object" || decoder === null || !("type" in decoder)) return [];
  if (decoder.type !== "Sequence") return [decoder as Step];
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
