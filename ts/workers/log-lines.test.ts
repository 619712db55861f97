/** What a worker prints. If these fail, its last words are lost, or one endless line takes Node's memory or life. */
import { once } from "node:events";
import { PassThrough } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { eachLine, MAX_LINE } from "./log-lines.ts";

async function linesOf(chunks: readonly (string | Buffer)[]): Promise<string[]> {
  const stream = new PassThrough();
  const lines: string[] = [];
  eachLine(stream, (line) => lines.push(line));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  await once(stream, "end");
  return lines;
}

test("lines are the same however the bytes arrive", async () => {
  const text = fc.array(fc.constantFrom("a", "ä", "€", "𝄞", "\n", "\r\n", "\r", "bc"), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(text, fc.integer({ min: 1, max: 7 }), async (parts, size) => {
      const bytes = Buffer.from(parts.join(""));
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      );
      const expected = parts.join("").split(/\r\n|\r|\n/);
      if (expected.at(-1) === "") expected.pop();
      expect(await linesOf(chunks)).toEqual(expected);
    }),
  );
});

test("a line without an end is cut, and says by how much; the next one is whole", async () => {
  const mebibyte = "x".repeat(2 ** 20);
  const [first, second, ...others] = await linesOf([...Array(8).fill(mebibyte), "\nthe next\n"]);
  expect(first).toBe(`${"x".repeat(MAX_LINE)}... (${8 * 2 ** 20 - MAX_LINE} more characters)`);
  expect([second, others]).toEqual(["the next", []]);
});
