/** What callers do with requests. If these fail, answers are cut wrong, memory stays taken, or a caller waits for ever. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../ts/index.ts";
import { DEVICE } from "./support/devices.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

let model: TinyModel;
let engine: Engine;
beforeAll(async () => {
  model = await writeTinyModel();
  engine = await Engine.load(model.path, { devices: DEVICE, threads: 1, context: 128, sequences: 3 });
});
afterAll(async () => {
  await engine.dispose();
  await model[Symbol.asyncDispose]();
});

const free = { ignoreEos: true } as const;

/** Tokens that are not one printable character or more; forbidden, they make answers that tests can search. */
function unprintable(): Record<number, number> {
  const ids = Array.from({ length: model.vocabulary }, (_, id) => id);
  const forbidden = ids.filter((id) => !/^[\x20-\x7e]+$/.test(engine.tokenizer.decode([id])) || id < 3);
  return Object.fromEntries(forbidden.map((id) => [id, -1000]));
}

async function readable() {
  const options = { ...free, temperature: 1, seed: 1, maxTokens: 24, logitBias: unprintable() };
  return { answer: await engine.generate([10, 20, 30], options).complete(), options };
}

describe("an answer in pieces", () => {
  it("is the complete answer", async () => {
    const generation = engine.generate("the rain", { ...free, temperature: 1, seed: 3, maxTokens: 30, logprobs: 1 });
    const pieces = [];
    for await (const piece of generation) pieces.push(piece);
    const whole = await generation.complete();
    expect(pieces.map((piece) => piece.text).join("")).toBe(whole.text);
    expect(pieces.flatMap((piece) => piece.ids)).toEqual(whole.ids);
    expect(pieces.flatMap((piece) => piece.logprobs)).toEqual(whole.logprobs);
    expect(pieces.map((piece) => piece.finishReason).filter((reason) => reason)).toEqual(["length"]);
    expect(pieces.at(-1)!.finishReason).toBe("length");
    expect(whole.usage).toEqual({ promptTokens: generation.promptTokens, completionTokens: 30 });
    expect(whole.text).toBe(engine.tokenizer.decode(whole.ids, { skipSpecialTokens: true }));
  });

  it("ends before a stop string, wherever token borders are", async () => {
    const { answer, options } = await readable();
    for (const [from, to] of [
      [3, 8],
      [0, 2],
      [5, 6],
      [2, 12],
    ] as const) {
      const stop = answer.text.slice(from, to);
      const end = answer.text.indexOf(stop);
      const generation = engine.generate([10, 20, 30], { ...options, stop: ["never", stop] });
      let text = "";
      for await (const piece of generation) text += piece.text;
      expect(text).toBe(answer.text.slice(0, end));
      const whole = await generation.complete();
      expect([whole.text, whole.finishReason]).toEqual([text, "stop"]);
      expect(answer.ids.slice(0, whole.ids.length)).toEqual(whole.ids);
    }
  });

  it("ends with a stop token, which is in the ids and not in the text", async () => {
    const { answer, options } = await readable();
    const stopId = answer.ids[6]!;
    const first = answer.ids.indexOf(stopId);
    const stopped = await engine.generate([10, 20, 30], { ...options, stopTokenIds: [stopId] }).complete();
    expect(stopped.ids).toEqual(answer.ids.slice(0, first + 1));
    expect(stopped.finishReason).toBe("stop");
    expect(stopped.text).toBe(engine.tokenizer.decode(answer.ids.slice(0, first), { skipSpecialTokens: true }));
  });
});

describe("options of sampling", () => {
  const draw = (options: object) => engine.generate([40, 50], { ...free, maxTokens: 12, ...options }).complete();

  it("draw the same with the same seed, and otherwise with another", async () => {
    const [a, b, c] = await Promise.all([1, 1, 2].map((seed) => draw({ temperature: 1, seed })));
    expect(a!.ids).toEqual(b!.ids);
    expect(a!.ids).not.toEqual(c!.ids);
  });

  it("draw otherwise each time without a seed", async () => {
    const [a, b] = await Promise.all([draw({ temperature: 2 }), draw({ temperature: 2 })]);
    expect(a!.ids).not.toEqual(b!.ids);
  });

  it("make top-k of 1 and a tiny top-p greedy", async () => {
    const greedy = await draw({});
    for (const options of [{ topK: 1 }, { topP: 1e-6 }, { minP: 1 }])
      expect((await draw({ temperature: 1, seed: 5, ...options })).ids).toEqual(greedy.ids);
  });

  it("force and forbid tokens by bias", async () => {
    expect((await draw({ logitBias: { 77: 1000 } })).ids).toEqual(new Array(12).fill(77));
    const greedy = await draw({});
    expect((await draw({ logitBias: { [greedy.ids[0]!]: -1000 } })).ids[0]).not.toBe(greedy.ids[0]);
  });

  it("never repeat a token under a large frequency penalty, the one just drawn included", async () => {
    const { ids } = await draw({ frequencyPenalty: 100, maxTokens: 40 });
    expect(new Set(ids).size).toBe(40);
  });

  it("give the log probabilities of the drawn token and of the likeliest ones", async () => {
    const { ids, logprobs, logits } = await draw({ logprobs: 3, logits: true });
    for (const [index, { id, logprob, top }] of logprobs!.entries()) {
      const row = logits![index]!;
      const total = Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0));
      expect(id).toBe(ids[index]);
      // float32 logits of size 10, and an exponential of 2 ulp: 1e-5 is far above their rounding.
      expect(logprob).toBeCloseTo(row[id]! - total, 4);
      expect(top.length).toBe(3);
      expect(top[0]).toEqual({ id, logprob });
    }
  });
});

describe("many requests", () => {
  it("beyond the rows and the pages wait, and all finish", async () => {
    const many = Array.from({ length: 20 }, (_, i) => engine.generate([i + 1], { ...free, maxTokens: 5 + i }));
    const answers = await Promise.all(many.map((generation) => generation.complete()));
    expect(answers.map(({ ids }) => ids.length)).toEqual(many.map((_, i) => 5 + i));
  });

  it("that are aborted reject with the signal's reason, and give their rows back", async () => {
    const abort = new AbortController();
    const endless = { ...free, maxTokens: 127, signal: abort.signal };
    const running = [1, 2, 3, 4, 5].map((id) => engine.generate([id], endless));
    const next = engine.generate([9], { ...free, maxTokens: 2 });
    await running[0]![Symbol.asyncIterator]().next();
    const before = engine.statistics.steps;
    abort.abort(new Error("enough"));
    for (const generation of running) await expect(generation.complete()).rejects.toThrow("enough");
    await next.complete();
    // At most the two steps under way, and the two of the next request.
    expect(engine.statistics.steps - before).toBeLessThanOrEqual(4);
  });

  it("that share a signal are ended by it, whatever their number, without a warning of leaking listeners", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    const abort = new AbortController();
    const many = Array.from({ length: 30 }, (_, i) => engine.generate([i + 1], { ...free, signal: abort.signal }));
    await many[0]![Symbol.asyncIterator]().next();
    abort.abort(new Error("all of you"));
    for (const generation of many) await expect(generation.complete()).rejects.toThrow("all of you");
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  it("whose signal was aborted before take no step", async () => {
    const before = engine.statistics.steps;
    const generation = engine.generate([1], { signal: AbortSignal.abort(new Error("too late")) });
    await expect(generation.complete()).rejects.toThrow("too late");
    await expect(generation[Symbol.asyncIterator]().next()).rejects.toThrow("too late");
    expect(engine.statistics.steps).toBe(before);
  });

  it("end when their loop is left, while the others go on", async () => {
    const left = engine.generate([1], { ...free, maxTokens: 100 });
    const other = engine.generate([2], { ...free, maxTokens: 30 });
    for await (const _ of left) break;
    await expect(left.complete()).rejects.toMatchObject({ name: "AbortError" });
    expect((await other.complete()).ids.length).toBe(30);
  });

  it("as long as the context allows end there", async () => {
    const prompt = new Array(100).fill(7);
    const { ids, finishReason } = await engine.generate(prompt, { ...free, maxTokens: 1000 }).complete();
    expect([ids.length, finishReason]).toEqual([28, "length"]);
  });
});

describe("chats", () => {
  it("are prompts in the model's own format", async () => {
    const messages = [{ role: "user", content: "the red rain" }] as const;
    const text = "<|im_start|>user\nthe red rain<|im_end|>\n<|im_start|>assistant\n";
    const chat = await engine.chat(messages, { ...free, maxTokens: 5 }).complete();
    const ids = engine.tokenizer.encode(text, { addSpecialTokens: false });
    expect(chat.ids).toEqual((await engine.generate(ids, { ...free, maxTokens: 5 }).complete()).ids);
    expect(chat.usage.promptTokens).toBe(ids.length);
  });

  it.each([
    ["hello", 'messages are "hello"; they take a list: engine.chat([{ role: "user", content: '],
    [undefined, "messages are undefined"],
    [{ role: "user", content: "hello" }, "messages are {"],
    [["hello"], 'message 0 is "hello"; messages are objects: engine.chat('],
    [[{ role: "user", content: "a" }, null], "message 1 is null"],
    [new Array(1), "message 0 is undefined"],
  ])("of %j, which is no list of messages, are refused with the right form", (messages, text) => {
    const error = expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT", message: expect.stringContaining(text) });
    expect(() => engine.chat(messages as never)).toThrow(error);
  });

  it("without messages are refused", () => {
    expect(() => engine.chat([])).toThrow(expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT" }));
  });
});

it.each([
  [[undefined], 'the prompt is undefined; it takes a text: engine.generate("The sky is")'],
  [[5], "the prompt is 5"],
  [[{ text: "hello" }], 'the prompt is {"text":"hello"}'],
  [[new DataView(new ArrayBuffer(4))], "the prompt is {}"],
  [["hello", null], "options are null"],
  [["hello", "greedy"], 'options are "greedy"'],
])("a prompt that TypeScript would not let through is refused with the right form: %j", (given, text) => {
  const error = expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT", message: expect.stringContaining(text) });
  expect(() => (engine.generate as (...args: unknown[]) => unknown).apply(engine, given)).toThrow(error);
});

it("takes exactly the memory that was planned", async () => {
  const [report] = await engine.memory();
  expect(report!.committed).toBe(report!.planned);
});
