/** Pipes that need not end. If this fails, `octavo chat` on one takes all memory, or loses messages. */
import { PassThrough, Readable } from "node:stream";
import { expect, it, onTestFinished } from "vitest";
import { MessageReader } from "./message-reader.ts";

function readerOf(stream: Readable): MessageReader {
  const input = stream as unknown as NodeJS.ReadStream;
  const reader = new MessageReader({ input, screen: undefined, onInterrupt: () => {} });
  onTestFinished(() => reader.close());
  return reader;
}

it("more lines than anybody answers wait in the pipe, and none of them is lost", async () => {
  let read = 0;
  function* lines(): Generator<string> {
    for (; read < 20_000; read++) yield `${"x".repeat(100)} ${read}\n`;
  }
  const reader = readerOf(Readable.from(lines(), { objectMode: true, highWaterMark: 1 }));
  expect(await reader.next()).toMatch(/ 0$/);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(read).toBeLessThan(2000);
  for (let index = 1; index < 20_000; index++) expect(await reader.next()).toMatch(` ${index}`);
  expect(await reader.next()).toBeUndefined();
});

it("a line that does not end is refused, after the messages before it", async () => {
  const pipe = new PassThrough();
  const reader = readerOf(pipe);
  pipe.write("hello\n");
  expect(await reader.next()).toBe("hello");
  const zeros = Buffer.alloc(2 ** 20);
  const writing = (async () => {
    for (let i = 0; i < 70 && !pipe.destroyed; i++)
      if (!pipe.write(zeros)) await new Promise((resolve) => pipe.once("drain", resolve).once("close", resolve));
  })();
  await expect(reader.next()).rejects.toMatchObject({
    code: "OCTAVO_FILE_NOT_READABLE",
    message: expect.stringContaining("a line of more than 67108864 bytes"),
  });
  await writing;
});
