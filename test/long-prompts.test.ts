/** Long texts as prompts. If these fail, one caller's long text stops everybody's answers, or is not refused. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../ts/index.ts";
import { DEVICE } from "./support/devices.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

const CONTEXT = 2048;
let model: TinyModel;
let engine: Engine;
beforeAll(async () => {
  model = await writeTinyModel({ config: { max_position_embeddings: CONTEXT } });
  engine = await Engine.load(model.path, { devices: DEVICE, threads: 1, context: CONTEXT, sequences: 2 });
});
afterAll(async () => {
  await engine.dispose();
  await model[Symbol.asyncDispose]();
});

/** 13 characters and one token: more characters than are done at once, and it fits. */
const FITS = "<|endoftext|>".repeat(1500);
/** Too many tokens, which its length does not prove. */
const TOO_LONG = "the ".repeat(5000);

describe("a long text", () => {
  it("is answered as its tokens are", async () => {
    const options = { maxTokens: 4, ignoreEos: true };
    const generation = engine.generate(FITS, options);
    const answer = await generation.complete();
    expect(answer.ids).toEqual((await engine.generate(engine.tokenizer.encode(FITS), options).complete()).ids);
    expect([generation.promptTokens, answer.usage.promptTokens]).toEqual([1500, 1500]);
  });

  it("is refused at once when its length shows that it cannot fit", () => {
    const refused = expect.objectContaining({ code: "OCTAVO_PROMPT_TOO_LONG" });
    expect(() => engine.generate("a".repeat(50_000_000))).toThrow(refused);
    expect(() => engine.chat([{ role: "user", content: "a".repeat(1_000_000) }])).toThrow(refused);
  });

  it("is refused by the generation when only its tokens show it", async () => {
    const refused = expect.objectContaining({ code: "OCTAVO_PROMPT_TOO_LONG" });
    const generation = engine.generate(TOO_LONG);
    await expect(generation.complete()).rejects.toThrow(refused);
    await expect(generation[Symbol.asyncIterator]().next()).rejects.toThrow(refused);
  });

  it("does not put off what is wrong with the options", () => {
    const bad = expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT" });
    expect(() => engine.generate(FITS, { temperature: -1 })).toThrow(bad);
    const id = expect.objectContaining({ code: "OCTAVO_TOKEN_OUT_OF_RANGE" });
    expect(() => engine.generate(FITS, { stopTokenIds: [1_000_000] })).toThrow(id);
  });

  it("can be aborted, and left, before it is tokens", async () => {
    const reason = new Error("enough");
    const controller = new AbortController();
    const aborted = engine.generate(FITS, { signal: controller.signal });
    controller.abort(reason);
    await expect(aborted.complete()).rejects.toBe(reason);
    const left = engine.generate(FITS);
    await left[Symbol.asyncIterator]().return();
    expect(left.promptTokens).toBeUndefined();
  });

  it("is told when the engine is disposed meanwhile", async () => {
    const other = await Engine.load(model.path, { devices: DEVICE, threads: 1, context: CONTEXT, sequences: 1 });
    const generation = other.generate(FITS);
    await other.dispose();
    await expect(generation.complete()).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
  });
});
