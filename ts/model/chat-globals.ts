/** What a chat template finds besides the messages: the names that transformers gives it. */

/** Templates are code of the model's author; a range of 10^9 must not take the process's memory. */
const RANGE_LIMIT = 100_000;

export const CHAT_GLOBALS: Readonly<Record<string, unknown>> = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range: boundedRange,
  strftime_now: (format: unknown) => formatTime(new Date(), String(format)),
};

function boundedRange(first: number, last?: number, step = 1): number[] {
  const [start, stop] = typeof last === "number" ? [first, last] : [0, first];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= RANGE_LIMIT)) throw new Error(`range() of ${length} numbers; at most ${RANGE_LIMIT}`);
  return Array.from({ length }, (_, i) => start + i * step);
}

/** Python's `strftime` in local time with English names, as far as templates use it; other codes stay as they are. */
export function formatTime(date: Date, format: string): string {
  const name = (options: Intl.DateTimeFormatOptions) => date.toLocaleDateString("en-US", options);
  const two = (value: number) => String(value).padStart(2, "0");
  const codes: Readonly<Record<string, () => string>> = {
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    m: () => two(date.getMonth() + 1),
    d: () => two(date.getDate()),
    e: () => String(date.getDate()).padStart(2, " "),
    H: () => two(date.getHours()),
    I: () => two(date.getHours() % 12 || 12),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    p: () => (date.getHours() < 12 ? "AM" : "PM"),
    b: () => name({ month: "short" }),
    B: () => name({ month: "long" }),
    a: () => name({ weekday: "short" }),
    A: () => name({ weekday: "long" }),
    "%": () => "%",
  };
  return format.replace(/%(.)/g, (code, letter: string) => codes[letter]?.() ?? code);
}
