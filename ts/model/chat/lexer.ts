/**
 * A template's source as the tokens that @huggingface/jinja's parser takes. Its own lexer removes white space by expressions
 * over the whole source, which also match in texts and strings; this one goes through it as Jinja's does, with `trim_blocks`
 * and `lstrip_blocks`, which transformers sets.
 */
import { isSpace, strip } from "./python-text.ts";

export interface Token {
  readonly type: string;
  readonly value: string;
}

/** The macro that stands for transformers' `generation` blocks: their text, with variables of their own. */
export const GENERATION = "__generation__";

/** Throws an Error for what is no token. */
export function tokenize(source: string): Token[] {
  return new Lexer(source).run();
}

const ENDS = { "{%": "%}", "{{": "}}", "{#": "#}" } as const;
type Begin = keyof typeof ENDS;

const OPERATORS: Readonly<Record<string, string>> = {
  "**": "ExponentiationBinaryOperator",
  "//": "MultiplicativeBinaryOperator",
  "==": "ComparisonBinaryOperator",
  "!=": "ComparisonBinaryOperator",
  "<=": "ComparisonBinaryOperator",
  ">=": "ComparisonBinaryOperator",
  "<": "ComparisonBinaryOperator",
  ">": "ComparisonBinaryOperator",
  "+": "AdditiveBinaryOperator",
  "-": "AdditiveBinaryOperator",
  "~": "AdditiveBinaryOperator",
  "*": "MultiplicativeBinaryOperator",
  "/": "MultiplicativeBinaryOperator",
  "%": "MultiplicativeBinaryOperator",
  "=": "Equals",
  ".": "Dot",
  ",": "Comma",
  ":": "Colon",
  "|": "Pipe",
  "(": "OpenParen",
  ")": "CloseParen",
  "[": "OpenSquareBracket",
  "]": "CloseSquareBracket",
  "{": "OpenCurlyBracket",
  "}": "CloseCurlyBracket",
};

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  /** Whether what was read last ended a line. */
  #lineStarts = true;

  constructor(source: string) {
    const text = source.replace(/\r\n?/g, "\n");
    this.#source = text.endsWith("\n") ? text.slice(0, -1) : text;
  }

  run(): Token[] {
    const { length } = this.#source;
    while (this.#at < length) {
      const start = this.#at;
      const open = this.#next(start);
      const begin = this.#source.slice(open, open + 2) as Begin;
      this.#at = open + 2;
      const sign = open < length ? this.#sign() : "";
      this.#text(this.#source.slice(start, open), begin, sign);
      if (open >= length) break;
      if (begin === "{#") this.#comment();
      else if (begin === "{{" || !this.#raw()) this.#tag(begin);
      this.#lineStarts = this.#source[this.#at - 1] === "\n";
    }
    return this.#tokens;
  }

  #push(type: string, value: string): void {
    if (type !== "Text" || value !== "") this.#tokens.push({ type, value });
  }

  /** Where the next tag or comment begins, or the end. */
  #next(from: number): number {
    for (let at = this.#source.indexOf("{", from); at >= 0; at = this.#source.indexOf("{", at + 1)) {
      if (this.#source.slice(at, at + 2) in ENDS) return at;
    }
    return this.#source.length;
  }

  #sign(): string {
    const sign = this.#source[this.#at] ?? "";
    if (sign !== "-" && sign !== "+") return "";
    this.#at++;
    return sign;
  }

  /** Text before a tag, without the white space that the tag takes. */
  #text(text: string, begin: string, sign: string): void {
    const line = text.lastIndexOf("\n") + 1;
    const blank = strip(text.slice(line), null, "both") === "";
    const isBlock = sign === "" && (begin === "{%" || begin === "{#");
    if (sign === "-") this.#push("Text", strip(text, null, "right"));
    else if (isBlock && blank && (line > 0 || this.#lineStarts)) this.#push("Text", text.slice(0, line));
    else this.#push("Text", text);
  }

  /** Goes behind the end of a tag or comment that is here, and the white space that it takes; false if there is none. */
  #ended(end: string): boolean {
    const sign = this.#source[this.#at] ?? "";
    const signed = sign === "-" || (sign === "+" && end !== "}}");
    if (!this.#source.startsWith(end, this.#at + (signed ? 1 : 0))) return false;
    this.#at += (signed ? 1 : 0) + end.length;
    if (sign === "-") this.#skipSpaces();
    else if (!signed && end !== "}}" && this.#source[this.#at] === "\n") this.#at++;
    return true;
  }

  #skipSpaces(): void {
    while (isSpace(this.#source[this.#at] ?? "")) this.#at++;
  }

  #comment(): void {
    while (!this.#ended("#}")) {
      if (this.#at >= this.#source.length) throw new Error("a comment without an end");
      this.#at++;
    }
  }

  /** `{% raw %}`: text up to `{% endraw %}`. */
  #raw(): boolean {
    const start = this.#at;
    if (!this.#word("raw")) {
      this.#at = start;
      return false;
    }
    // Unlike other tags, this one leaves the line's end.
    const sign = this.#source[this.#at] === "-";
    if (!this.#source.startsWith(sign ? "-%}" : "%}", this.#at)) throw new Error("{% raw with more");
    this.#at += sign ? 3 : 2;
    if (sign) this.#skipSpaces();
    this.#lineStarts = this.#source[this.#at - 1] === "\n";
    const from = this.#at;
    for (let open = this.#source.indexOf("{%", from); open >= 0; open = this.#source.indexOf("{%", open + 1)) {
      this.#at = open + 2;
      const before = this.#sign();
      if (!this.#word("endraw") || !this.#ended("%}")) continue;
      this.#text(this.#source.slice(from, open), "{%", before);
      return true;
    }
    throw new Error("{% raw %} without an end");
  }

  /** Goes behind a word and the spaces around it. */
  #word(word: string): boolean {
    this.#skipSpaces();
    if (!this.#source.startsWith(word, this.#at)) return false;
    this.#at += word.length;
    this.#skipSpaces();
    return true;
  }

  #tag(begin: "{%" | "{{"): void {
    const end = ENDS[begin];
    const first = this.#tokens.length;
    this.#push(begin === "{%" ? "OpenStatement" : "OpenExpression", begin);
    let depth = 0;
    for (;;) {
      this.#skipSpaces();
      if (depth === 0 && this.#ended(end)) break;
      const { type } = this.#token();
      if (type.startsWith("Open")) depth++;
      else if (type.startsWith("Close")) depth--;
    }
    this.#push(begin === "{%" ? "CloseStatement" : "CloseExpression", end);
    const [, name, close] = this.#tokens.slice(first);
    if (begin === "{{" || close?.type !== "CloseStatement") return;
    if (name?.value === "generation") {
      const call = ["Identifier call", `Identifier ${GENERATION}`, "OpenParen (", "CloseParen )"];
      this.#tokens.splice(first + 1, 1, ...call.map((token) => ofWords(token)));
    } else if (name?.value === "endgeneration") this.#tokens.splice(first + 1, 1, ofWords("Identifier endcall"));
  }

  #token(): Token {
    const token = this.#number() ?? this.#name() ?? this.#string() ?? this.#operator();
    if (token === undefined) {
      const rest = this.#source.slice(this.#at, this.#at + 20);
      throw new Error(rest === "" ? "a tag without an end" : `${JSON.stringify(rest)} in a tag`);
    }
    this.#push(token.type, token.value);
    return token;
  }

  #match(expression: RegExp): string | undefined {
    expression.lastIndex = this.#at;
    const found = expression.exec(this.#source)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #number(): Token | undefined {
    const float = this.#match(/(?<!\.)\d+(?:_\d+)*(?:(?:\.\d+(?:_\d+)*)?e[+-]?\d+(?:_\d+)*|\.\d+(?:_\d+)*)/iy);
    if (float !== undefined) {
      const [mantissa = "", exponent] = float.toLowerCase().replaceAll("_", "").split("e");
      // The parser knows a float by its point.
      const point = mantissa.includes(".") ? mantissa : `${mantissa}.0`;
      return { type: "NumericLiteral", value: exponent === undefined ? point : `${point}e${exponent}` };
    }
    const whole = this.#match(/0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy);
    if (whole === undefined) return undefined;
    return { type: "NumericLiteral", value: String(Number(whole.replaceAll("_", ""))) };
  }

  #name(): Token | undefined {
    const name = this.#match(/[A-Za-z_]\w*/y);
    return name === undefined ? undefined : { type: "Identifier", value: name };
  }

  #string(): Token | undefined {
    const quoted = this.#match(/'[^'\\]*(?:\\[\s\S][^'\\]*)*'|"[^"\\]*(?:\\[\s\S][^"\\]*)*"/y);
    return quoted === undefined ? undefined : { type: "StringLiteral", value: decoded(quoted.slice(1, -1)) };
  }

  #operator(): Token | undefined {
    for (const length of [2, 1]) {
      const value = this.#source.slice(this.#at, this.#at + length);
      const type = Object.hasOwn(OPERATORS, value) ? OPERATORS[value] : undefined;
      if (type === undefined) continue;
      this.#at += length;
      return { type, value };
    }
    return undefined;
  }
}

function ofWords(words: string): Token {
  const [type = "", value = ""] = words.split(" ");
  return { type, value };
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** Python's escapes; a backslash before other letters stays. */
function decoded(text: string): string {
  return text.replace(/\\(x[\da-f]{2}|u[\da-f]{4}|U[\da-f]{8}|[0-7]{1,3}|[\s\S])/gi, (whole, what: string) => {
    if (Object.hasOwn(ESCAPES, what)) return ESCAPES[what] as string;
    if (/^[0-7]/.test(what)) return String.fromCodePoint(Number.parseInt(what, 8));
    if (what.length > 1) return String.fromCodePoint(Number.parseInt(what.slice(1), 16));
    if (/[xuUN\u0080-\uffff]/.test(what)) throw new Error(`${whole} in a string`);
    return whole;
  });
}
