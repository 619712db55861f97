/**
 * Finds stop strings in text that arrives in pieces. Text that may be the beginning of a stop string is held back until
 * it is known not to be one, so nothing of a stop string is ever shown. Pure.
 */

export class StopStrings {
  readonly #strings: readonly string[];
  #held = "";

  constructor(strings: readonly string[]) {
    this.#strings = strings;
  }

  /** The text that may be shown now, and whether a stop string followed it; after that nothing may be pushed. */
  push(text: string): { readonly text: string; readonly stopped: boolean } {
    if (this.#strings.length === 0) return { text, stopped: false };
    const all = this.#held + text;
    const found = this.#strings.map((string) => all.indexOf(string)).filter((index) => index >= 0);
    if (found.length > 0) {
      this.#held = "";
      return { text: all.slice(0, Math.min(...found)), stopped: true };
    }
    const kept = Math.max(...this.#strings.map((string) => overlap(all, string)));
    this.#held = all.slice(all.length - kept);
    return { text: all.slice(0, all.length - kept), stopped: false };
  }

  /** The end of the text, without a stop string. */
  end(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }
}

/** Length of the longest end of `text` with which `string` begins; less than all of `string`. */
function overlap(text: string, string: string): number {
  for (let length = Math.min(text.length, string.length - 1); length > 0; length -= 1) {
    if (text.endsWith(string.slice(0, length))) return length;
  }
  return 0;
}
