/** What callers hold in their hands. If these fail, a loop over an answer hangs or loses pieces without a word. */
import { expect, test } from "vitest";
import { Generation, type GenerationSink } from "./generation.ts";

function started(): { generation: Generation; sink: GenerationSink; aborts: unknown[] } {
  const aborts: unknown[] = [];
  let sink: GenerationSink | undefined;
  const generation = new Generation((given) => {
    sink = given;
    return (reason) => aborts.push(reason);
  });
  return { generation, sink: sink!, aborts };
}

async function texts(generation: Generation): Promise<string[]> {
  const all: string[] = [];
  for await (const { text } of generation) all.push(text);
  return all;
}

test("a second loop is refused at once, and the first one gets every piece", async () => {
  const { generation, sink, aborts } = started();
  const first = texts(generation);
  await expect(texts(generation)).rejects.toMatchObject({
    code: "OCTAVO_BAD_ARGUMENT",
    message: expect.stringMatching(/iterated over already.*complete\(\)/),
  });
  expect(aborts).toEqual([]); // The first goes on.
  for (const text of ["a", "b"]) sink.piece({ text, ids: [1] });
  sink.finish({} as never);
  expect(await first).toEqual(["a", "b"]);
  await generation.complete();
  expect(() => generation[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT" }));
});
