/**
 * Keeps what people wrote from becoming control tokens. A fence, a character that is nowhere else, goes into every place of a
 * message where a control token stands or could arise with what comes before or after it; the tokenizer finds no token across a
 * fence and then takes it out, so that the ids are those of the text.
 */
import { children, type Node } from "./syntax.ts";

export interface AddedToken {
  readonly content: string;
  readonly special: boolean;
}

export type FencedRole = "system" | "user" | "assistant";

/** Where in a text the fences go; made once per model. */
export class Fences {
  readonly #written: Patterns;
  readonly #answered: Patterns;
  readonly #cuts: readonly string[];

  /**
   * Control tokens (`special`) are fenced. Of the other added tokens a template writes some as marks of its turns (DeepSeek's
   * `<｜User｜>`), so these are fenced in what users and systems say. What a template looks for in a message (`</think>`) is
   * left alone in answers, and is not fenced anywhere if it is no control token: else the template would work otherwise.
   */
  constructor(tokens: readonly AddedToken[], template: Node) {
    const { written, sought, cuts } = literals(template);
    const isSought = ({ content }: AddedToken) => sought.some((text) => text.includes(content));
    const isMark = (token: AddedToken) => !isSought(token) && written.some((text) => text.includes(token.content));
    this.#written = new Patterns(tokens.filter((token) => token.special || isMark(token)));
    this.#answered = new Patterns(tokens.filter((token) => token.special && !isSought(token)));
    this.#cuts = cuts;
  }

  /** The content with fences. Throws an Error for a token of one character, which has no inside. */
  fenced(role: FencedRole, content: string, fence: string): string {
    const patterns = role === "assistant" ? this.#answered : this.#written;
    const places = [...patterns.places(content, this.#cuts)].sort((a, b) => a - b);
    let [result, done] = ["", 0];
    for (const place of places) {
      result += content.slice(done, place) + fence;
      done = place;
    }
    return result + content.slice(done);
  }
}

/** Tokens by their characters, from either end. */
interface Branch {
  readonly next: Map<string, Branch>;
  whole: boolean;
}

class Patterns {
  readonly #forwards: Branch = { next: new Map(), whole: false };
  readonly #backwards: Branch = { next: new Map(), whole: false };
  #longest = 0;

  constructor(tokens: readonly AddedToken[]) {
    for (const { content } of tokens) {
      // Letters' case does not count: a template may change it.
      const text = fold(content);
      grow(this.#forwards, text);
      grow(this.#backwards, reversed(text));
      this.#longest = Math.max(this.#longest, text.length);
    }
  }

  /** `cuts`: where a template may take the content apart. */
  places(content: string, cuts: readonly string[]): Set<number> {
    const text = fold(content);
    const places = new Set<number>();
    for (let at = 0; at < text.length; at++) {
      if (!this.#stands(text, at)) continue;
      const inside = at + ((content.codePointAt(at) ?? 0) > 0xffff ? 2 : 1);
      if (along(this.#forwards, text.slice(at, inside))?.whole)
        throw new Error(`the control token ${JSON.stringify(content.slice(at, inside))} is one character`);
      places.add(inside);
    }
    for (const edge of edges(content, cuts)) {
      if (this.#begins(text, edge) || this.#ends(text, edge)) places.add(edge);
    }
    return places;
  }

  /** Whether a token is written out from there on. */
  #stands(text: string, at: number): boolean {
    let branch = this.#forwards.next.get(text[at] as string);
    for (let i = at + 1; branch !== undefined; i++) {
      if (branch.whole) return true;
      branch = branch.next.get(text[i] ?? "");
    }
    return false;
  }

  /** Whether the text before `edge` ends as a token begins. */
  #begins(text: string, edge: number): boolean {
    for (let length = 1; length < this.#longest && length <= edge; length++) {
      const known = this.#forwards.next.has(text[edge - length] as string);
      if (known && goesOn(along(this.#forwards, text.slice(edge - length, edge)))) return true;
    }
    return false;
  }

  /** Whether the text from `edge` on begins as a token ends. */
  #ends(text: string, edge: number): boolean {
    for (let length = 1; length < this.#longest && edge + length <= text.length; length++) {
      const known = this.#backwards.next.has(text[edge + length - 1] as string);
      if (known && goesOn(along(this.#backwards, reversed(text.slice(edge, edge + length))))) return true;
    }
    return false;
  }
}

function grow(root: Branch, text: string): void {
  let branch = root;
  for (let i = 0; i < text.length; i++) {
    const unit = text[i] as string;
    const next = branch.next.get(unit) ?? { next: new Map(), whole: false };
    branch.next.set(unit, next);
    branch = next;
  }
  branch.whole = true;
}

/** Where a text leads; undefined where it leads nowhere. */
function along(root: Branch, text: string): Branch | undefined {
  let branch: Branch | undefined = root;
  for (let i = 0; i < text.length && branch !== undefined; i++) branch = branch.next.get(text[i] as string);
  return branch;
}

function goesOn(branch: Branch | undefined): boolean {
  return branch !== undefined && branch.next.size > 0;
}

function reversed(text: string): string {
  let result = "";
  for (let i = text.length - 1; i >= 0; i--) result += text[i];
  return result;
}

/** Lower case where that keeps every place. */
function fold(text: string): string {
  const folded = text.toLowerCase();
  return folded.length === text.length ? folded : text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** Where other text may come to lie beside the content's: its ends and its cuts, with white space around them or without. */
function edges(content: string, cuts: readonly string[]): Set<number> {
  const found = new Set<number>();
  const add = (at: number) => {
    let [before, after] = [at, at];
    while (before > 0 && content[before - 1]?.trim() === "") before--;
    while (after < content.length && content[after]?.trim() === "") after++;
    for (const edge of [before, at, after]) found.add(edge);
  };
  add(0);
  add(content.length);
  for (const cut of cuts) {
    for (let at = content.indexOf(cut); at >= 0 && cut !== ""; at = content.indexOf(cut, at + cut.length)) {
      add(at);
      add(at + cut.length);
    }
  }
  return found;
}

const SEEKING = new Set(
  "strip lstrip rstrip trim split rsplit partition rpartition startswith endswith replace removeprefix removesuffix find rfind count".split(
    " ",
  ),
);

/** Texts of a template: what it writes, what it looks for, and of these what it may take a message apart at. */
function literals(template: Node): { written: string[]; sought: string[]; cuts: string[] } {
  const [written, sought, cuts] = [new Set<string>(), new Set<string>(), new Set<string>()];
  const visit = (node: Node, into: readonly Set<string>[]): void => {
    if (node.type === "StringLiteral") for (const texts of into) texts.add(node.value);
    const compares = node.type === "BinaryExpression" && ["in", "not in", "==", "!="].includes(node.operator.value);
    for (const child of children(node)) {
      const argument = node.type === "CallExpression" && child !== node.callee && SEEKING.has(calledName(node.callee));
      visit(child, argument ? [sought, cuts] : compares ? [sought] : into);
    }
  };
  visit(template, [written]);
  return { written: [...written], sought: [...sought], cuts: [...cuts] };
}

/** The name of a method or filter. */
function calledName(callee: Node): string {
  const name = callee.type === "MemberExpression" ? callee.property : callee;
  return name.type === "Identifier" ? name.value : "";
}
