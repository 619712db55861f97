/** If these fail, a file, a worker or a model's answer can take over the terminal of who reads it. */
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { describeError, reportWarning } from "./describe-error.ts";
import { print, printable, printData, printJson, say } from "./screen.ts";

const EVIL = "a\x1b]0;title\x07b\x1b[2Jc\x9b31md\x08\x7f\re\tf\n";
const isControl = (text: string) => /[^\P{Cc}\n\t]/u.test(text);

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** What is written to a stream while `action` runs. */
function written(name: "stdout" | "stderr", action: () => void, isTTY = true): string {
  let all = "";
  const stream = process[name];
  const before = Object.getOwnPropertyDescriptor(stream, "isTTY");
  Object.defineProperty(stream, "isTTY", { value: isTTY, configurable: true });
  vi.spyOn(stream, "write").mockImplementation((text) => {
    all += text;
    return true;
  });
  try {
    action();
  } finally {
    vi.mocked(stream.write).mockRestore();
    if (before === undefined) Reflect.deleteProperty(stream, "isTTY");
    else Object.defineProperty(stream, "isTTY", before);
  }
  return all;
}

test("control characters of others are shown, not obeyed", () => {
  expect(printable(EVIL)).toBe("a\\x1b]0;title\\x07b\\x1b[2Jc\\x9b31md\\x08\\x7f\\x0de\tf\n");
  expect(printable("one\r\ntwo")).toBe("one\ntwo");
  for (const [stream, write] of [
    ["stdout", print],
    ["stderr", say],
  ] as const)
    expect(written(stream, () => write(EVIL))).toBe(printable(EVIL));
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => !isControl(printable(text))));
  expect(isControl(printable(describeError(new Error(EVIL))))).toBe(false);
});

test("a warning is one line after the progress line, which is cleared, and nothing else of a terminal", () => {
  const warning = Object.assign(new Error(EVIL), { name: "OctavoWarning" });
  const text = written("stderr", () => reportWarning(warning));
  expect(text).toBe(`\r\x1b[2Kwarning: ${printable(EVIL)}\n`);
});

test("an answer goes to files and pipes as it is, and to a terminal without control characters", () => {
  expect(written("stdout", () => printData(EVIL), false)).toBe(EVIL);
  expect(written("stdout", () => printData(EVIL))).toBe("a]0;titleb[2Jc31mde\tf\n");
});

test("a JSON document says the same, and holds none either", () => {
  const text = written("stdout", () => printJson({ text: EVIL }));
  expect(isControl(text)).toBe(false);
  expect(JSON.parse(text)).toEqual({ text: EVIL });
});
