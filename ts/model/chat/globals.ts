/** The functions that a chat template finds, as transformers gives them. */
import { bind, type Keywords, textArgument, wholeArgument } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { Callable, type Dict, isDict, key, Range, typeName, type Value } from "./values.ts";

/** As many as Jinja's sandbox allows. */
const RANGE_LIMIT = 100_000;

/** `raise_exception` was called: the messages are wrong for the template, which runs as it should. */
export class TemplateRefusal extends Error {}

export function chatFunctions(budget: Budget): [string, Callable][] {
  const named: [string, (args: readonly Value[], keywords: Keywords) => Value][] = [
    ["range", (args, keywords) => range(bind("range", ["a", "b?", "c?"], args, keywords), budget)],
    ["dict", (args, keywords) => dict(bind("dict", ["items?"], args, new Map())[0], keywords)],
    [
      "strftime_now",
      (args, keywords) =>
        formatTime(new Date(), textArgument("strftime_now", bind("strftime_now", ["format"], args, keywords)[0])),
    ],
    [
      "raise_exception",
      (args) => {
        throw new TemplateRefusal(typeof args[0] === "string" ? args[0] : typeName(args[0] ?? null));
      },
    ],
  ];
  return named.map(([name, call]) => [name, new Callable(name, call)]);
}

function range([a, b, c]: readonly (Value | undefined)[], budget: Budget): Range {
  const first = wholeArgument("range", a, 0);
  const [start, stop] = b === undefined ? [0, first] : [first, wholeArgument("range", b, 0)];
  const step = wholeArgument("range", c, 1);
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= RANGE_LIMIT)) throw new Error(`range() of ${length} numbers; at most ${RANGE_LIMIT}`);
  budget.step(length);
  return new Range(Array.from({ length }, (_, i) => start + i * step));
}

function dict(items: Value | undefined, keywords: Keywords): Dict {
  if (items !== undefined && !isDict(items)) throw new Error(`dict() of ${typeName(items)}`);
  return new Map([...(items ?? []), ...keywords].map(([name, value]) => [key(name), value]));
}

/** Python's `strftime` in local time with English names. Throws for codes that are not here. */
export function formatTime(date: Date, format: string): string {
  const name = (options: Intl.DateTimeFormatOptions) => date.toLocaleDateString("en-US", options);
  const numbers: Readonly<Record<string, readonly [value: number, width: number]>> = {
    Y: [date.getFullYear(), 1],
    y: [date.getFullYear() % 100, 2],
    m: [date.getMonth() + 1, 2],
    d: [date.getDate(), 2],
    H: [date.getHours(), 2],
    I: [date.getHours() % 12 || 12, 2],
    M: [date.getMinutes(), 2],
    S: [date.getSeconds(), 2],
  };
  const texts: Readonly<Record<string, () => string>> = {
    e: () => String(date.getDate()).padStart(2, " "),
    p: () => (date.getHours() < 12 ? "AM" : "PM"),
    b: () => name({ month: "short" }),
    B: () => name({ month: "long" }),
    a: () => name({ weekday: "short" }),
    A: () => name({ weekday: "long" }),
    "%": () => "%",
  };
  return format.replace(/%(-?)(.?)/gs, (code, bare: string, letter: string) => {
    const number = Object.hasOwn(numbers, letter) ? numbers[letter] : undefined;
    if (number !== undefined) return String(number[0]).padStart(bare === "-" ? 1 : number[1], "0");
    const text = Object.hasOwn(texts, letter) ? texts[letter] : undefined;
    if (text === undefined || bare !== "") throw new Error(`strftime_now() with ${code}`);
    return text();
  });
}
