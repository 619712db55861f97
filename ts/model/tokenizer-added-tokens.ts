/** Added tokens (control tokens among them) are found in a text before anything else is done to it. */
import { quoted } from "../quoted.ts";
import { invalidTokenizer } from "./tokenizer-refusals.ts";

/** An entry of `added_tokens` in tokenizer.json. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Matches only where no letter, digit or underscore is beside it. */
  readonly singleWord: boolean;
  /** Takes the white space before it. */
  readonly lstrip: boolean;
  /** Takes the white space after it. */
  readonly rstrip: boolean;
  /** Is searched for in the normalised text. */
  readonly normalized: boolean;
  /** A control token: no part of the text. */
  readonly special: boolean;
}

/** What counts as a letter of a word and as white space for the Rust library: its `\w` and `\s`. */
const WORD = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const SPACE = /^\p{White_Space}$/u;

/** A text of repetitions is looked through again from each of its characters, as far as a token reaches. */
const MAX_LENGTH = 1024;
/** A node takes about 140 bytes. Models have up to 30,000 added tokens, numbered ones that share their beginnings. */
const MAX_NODES = 1e6;

interface Node {
  readonly next: Map<number, Node>;
  token?: AddedToken;
}

/** Finds leftmost matches, of those the longest, as the Rust library's Aho-Corasick does. */
export class AddedTokenSplitter {
  readonly #root: Node = { next: new Map() };

  /**
   * `text`: what to search for, which for a normalised token is not its content. Throws `OCTAVO_MODEL_FILE_INVALID` for texts that
   * are longer, or more, than a search takes.
   */
  constructor(patterns: readonly { readonly text: string; readonly token: AddedToken }[]) {
    let nodes = 0;
    for (const { text, token } of patterns) {
      if (text.length > MAX_LENGTH)
        throw invalidTokenizer(
          `added_tokens has ${quoted(text)}, of ${text.length} characters; they have up to ${MAX_LENGTH}`,
        );
      let node = this.#root;
      for (let i = 0; i < text.length; i++) {
        const unit = text.charCodeAt(i);
        let next = node.next.get(unit);
        if (next === undefined) {
          next = { next: new Map() };
          node.next.set(unit, next);
          nodes++;
        }
        node = next;
      }
      if (nodes > MAX_NODES)
        throw invalidTokenizer(`added_tokens has ${patterns.length} tokens with over ${MAX_NODES} characters`);
      node.token = token;
    }
  }

  /**
   * The stretches of text and the tokens between them, in order; undefined after every `pause` characters without one, so
   * that the caller may do something else. `fence` is a character that is not there for `singleWord`, `lstrip` and `rstrip`.
   */
  *split(text: string, fence: string | undefined, pause: number): Generator<string | AddedToken | undefined> {
    let done = 0;
    let pauseAt = pause;
    for (let at = 0; at < text.length; ) {
      if (at >= pauseAt) {
        pauseAt = at + pause;
        yield undefined;
      }
      const token = this.#match(text, at);
      if (token === undefined) {
        at++;
        continue;
      }
      const end = at + token.length;
      if (token.found.singleWord && !isAlone(text, at, end, fence)) {
        at = end;
        continue;
      }
      const start = token.found.lstrip ? Math.max(spacesBefore(text, at, fence), done) : at;
      if (done < start) yield text.slice(done, start);
      yield token.found;
      done = token.found.rstrip ? spacesAfter(text, end, fence) : end;
      at = end;
    }
    if (done < text.length) yield text.slice(done);
  }

  /** Whether there is a token in the text. */
  matches(text: string, fence: string | undefined): boolean {
    for (const part of this.split(text, fence, Number.POSITIVE_INFINITY)) if (typeof part === "object") return true;
    return false;
  }

  #match(text: string, at: number): { readonly found: AddedToken; readonly length: number } | undefined {
    let found: AddedToken | undefined;
    let length = 0;
    let node = this.#root.next.get(text.charCodeAt(at));
    for (let i = at + 1; node !== undefined; i++) {
      if (node.token !== undefined) {
        found = node.token;
        length = i - at;
      }
      node = node.next.get(text.charCodeAt(i));
    }
    return found && { found, length };
  }
}

function isAlone(text: string, start: number, end: number, fence: string | undefined): boolean {
  let before = start;
  while (before > 0 && text[before - 1] === fence) before--;
  let after = end;
  while (text[after] === fence && after < text.length) after++;
  return !WORD.test(characterBefore(text, before)) && !WORD.test(characterAt(text, after));
}

function spacesBefore(text: string, at: number, fence: string | undefined): number {
  while (at > 0 && (text[at - 1] === fence || SPACE.test(text.charAt(at - 1)))) at--;
  return at;
}

function spacesAfter(text: string, at: number, fence: string | undefined): number {
  while (at < text.length && (text[at] === fence || SPACE.test(text.charAt(at)))) at++;
  return at;
}

/** "" at the end. */
function characterAt(text: string, at: number): string {
  const point = text.codePointAt(at);
  return point === undefined ? "" : String.fromCodePoint(point);
}

function characterBefore(text: string, at: number): string {
  const isLow = at > 1 && (text.charCodeAt(at - 1) & 0xfc00) === 0xdc00;
  return at === 0 ? "" : text.slice(isLow ? at - 2 : at - 1, at);
}
