import fc from "fast-check";
import { expect, test } from "vitest";
import { StopStrings } from "./stop-strings.ts";

function run(strings: readonly string[], pieces: readonly string[]) {
  const stops = new StopStrings(strings);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = stops.push(piece);
    shown.push(text);
    if (stopped) return { shown, stopped };
  }
  shown.push(stops.end());
  return { shown, stopped: false };
}

test("a stop string that arrives in pieces is never shown", () => {
  expect(run(["###"], ["a#", "#", "#b"])).toEqual({ shown: ["a", "", ""], stopped: true });
});

test("text that only looked like a stop string comes out as soon as it is known", () => {
  expect(run(["###"], ["a##", "b", "#"])).toEqual({ shown: ["a", "##b", "", "#"], stopped: false });
});

test("of several stop strings the one that begins first ends the text", () => {
  expect(run(["later", "now"], ["x now later"])).toEqual({ shown: ["x "], stopped: true });
});

test("however text is cut, what is shown is the text before the first stop string", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 6 });
  const stop = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(stop, { maxLength: 3 }), fc.array(letters, { maxLength: 8 }), (strings, pieces) => {
      const { shown, stopped } = run(strings, pieces);
      const text = pieces.join("");
      // The first prefix of the text that ends with a stop string decides: nobody waits for a longer one.
      let end = 0;
      while (end <= text.length && !strings.some((string) => text.slice(0, end).includes(string))) end += 1;
      const found = end <= text.length;
      expect(stopped).toBe(found);
      if (!found) expect(shown.join("")).toBe(text);
      else expect(text.startsWith(shown.join(""))).toBe(true);
      for (const string of strings) expect(shown.join("")).not.toContain(string);
    }),
  );
});
