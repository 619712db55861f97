/** Ids, one after the other, to text as soon as it is certain. */

const SPACE = 0x20;

/**
 * Bytes that do not end a character wait for the next token, so that no half character is ever emitted. Bytes that can never
 * become one are U+FFFD, as in every UTF-8 decoder. All pieces joined are what `Tokenizer.decode` gives for all ids.
 */
export class StreamDecoder {
  readonly #bytesOf: (id: number) => Uint8Array;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #stripSpace: boolean;

  /** `stripSpace`: the first byte is dropped when it is the space that the encoder put there. */
  constructor(bytesOf: (id: number) => Uint8Array, stripSpace: boolean) {
    this.#bytesOf = bytesOf;
    this.#stripSpace = stripSpace;
  }

  /** The text that is certain now; "" while a character is not complete. */
  push(id: number): string {
    let bytes = this.#bytesOf(id);
    if (bytes.length === 0) return "";
    if (this.#stripSpace && bytes[0] === SPACE) bytes = bytes.subarray(1);
    this.#stripSpace = false;
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** What is left: U+FFFD when the last token ended inside a character. */
  end(): string {
    return this.#decoder.decode();
  }
}
