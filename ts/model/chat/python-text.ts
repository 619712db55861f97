/** Python's methods of texts, where JavaScript's differ: white space, code points, arguments. */
import type { Budget } from "./budget.ts";

/** `str.isspace`: without U+FEFF, with U+001C to U+001F and U+0085. */
const SPACES = new Set("\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000");
for (let code = 0x2000; code <= 0x200a; code++) SPACES.add(String.fromCharCode(code));

export function isSpace(character: string): boolean {
  return SPACES.has(character);
}

/** Where `str.splitlines` cuts; "\r\n" is one. */
const LINE_ENDS = new Set(["\n", "\v", "\f", "\r", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]);

/** Characters as Python counts them. */
export function characters(text: string): readonly string[] | string {
  return /[\ud800-\udfff]/.test(text) ? [...text] : text;
}

export type Side = "both" | "left" | "right";

/** `strip`, `lstrip`, `rstrip`; `chars` is a set of characters, white space when null. */
export function strip(text: string, chars: string | null, side: Side): string {
  const set = chars === null ? SPACES : new Set(chars);
  let [start, end] = [0, text.length];
  const width = (index: number) => ((text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1);
  if (side !== "right") {
    while (start < end && set.has(text.slice(start, start + width(start)))) start += width(start);
  }
  if (side !== "left") {
    while (end > start) {
      const last = end - start >= 2 && width(end - 2) === 2 ? 2 : 1;
      if (!set.has(text.slice(end - last, end))) break;
      end -= last;
    }
  }
  return text.slice(start, end);
}

/** `split`; `limit` below zero is none. */
export function split(text: string, separator: string | null, limit: number, budget: Budget): string[] {
  if (separator === "") throw new Error("split() with an empty separator");
  const parts: string[] = [];
  let rest = separator === null ? strip(text, null, "left") : text;
  const end = (): [number, number] => {
    if (separator !== null) return [rest.indexOf(separator), separator.length];
    for (let i = 0; i < rest.length; i++) if (SPACES.has(rest[i] as string)) return [i, 1];
    return [-1, 0];
  };
  if (separator === null && rest === "") return parts;
  while (limit < 0 || parts.length < limit) {
    const [at, width] = end();
    if (at < 0) break;
    budget.step();
    parts.push(rest.slice(0, at));
    rest = rest.slice(at + width);
    if (separator !== null) continue;
    rest = strip(rest, null, "left");
    if (rest === "") return parts;
  }
  return [...parts, rest];
}

/** `rsplit` with a separator. */
export function rsplit(text: string, separator: string, limit: number, budget: Budget): string[] {
  const parts = split(text, separator, -1, budget);
  if (limit < 0 || parts.length <= limit + 1) return parts;
  const tail = parts.splice(parts.length - limit);
  return [parts.join(separator), ...tail];
}

export function splitLines(text: string, budget: Budget): string[] {
  const lines: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (!LINE_ENDS.has(text[i] as string)) continue;
    budget.step();
    lines.push(text.slice(start, i));
    if (text.startsWith("\r\n", i)) i++;
    start = i + 1;
  }
  if (start < text.length) lines.push(text.slice(start));
  return lines;
}

/** How often `part` stands in the text, without overlaps; Python finds an empty one around each character. */
export function count(text: string, part: string, budget: Budget): number {
  if (part === "") return characters(text).length + 1;
  let found = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) {
    budget.step();
    found++;
  }
  return found;
}

/** `str.replace`: from the left, at most `most` times where that is not negative. An empty `old` stands around each character. */
export function replace(text: string, old: string, by: string, most: number, budget: Budget): string {
  const found = count(text, old, budget);
  const times = most < 0 ? found : Math.min(most, found);
  budget.text(text.length + times * (by.length - old.length), text.length + times * by.length);
  if (old !== "" && times === found) return text.replaceAll(old, () => by);
  if (old !== "") return split(text, old, times, budget).join(by);
  budget.step(found);
  return [...text, ""].map((character, index) => (index < times ? by : "") + character).join("");
}

/** `str.title` and `str.capitalize` of ASCII texts; Python's titlecase of other letters is not JavaScript's upper case. */
export function title(text: string): string {
  return ascii(text).replace(/[A-Za-z]+/g, (word) => word[0]?.toUpperCase() + word.slice(1).toLowerCase());
}

export function capitalize(text: string): string {
  return ascii(text).slice(0, 1).toUpperCase() + text.slice(1).toLowerCase();
}

function ascii(text: string): string {
  if (/[\u0080-\uffff]/.test(text)) throw new Error("the title case of letters beyond ASCII");
  return text;
}

/** Python's slice of what is given. */
export function slice<T>(
  items: ArrayLike<T>,
  start: number | null,
  stop: number | null,
  step: number | null,
): readonly T[] {
  const by = step ?? 1;
  if (by === 0) throw new Error("a slice with a step of 0");
  const { length } = items;
  const [low, high] = by > 0 ? [0, length] : [-1, length - 1];
  const clamp = (index: number) => Math.min(high, Math.max(low, index < 0 ? index + length : index));
  const first = start === null ? (by > 0 ? low : high) : clamp(start);
  const last = stop === null ? (by > 0 ? high : low) : clamp(stop);
  const result: T[] = [];
  for (let i = first; by > 0 ? i < last : i > last; i += by) result.push(items[i] as T);
  return result;
}
