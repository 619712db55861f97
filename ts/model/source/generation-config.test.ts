/** What a model's author says of generation. If these fail, answers are drawn otherwise than the model was made for. */
import { describe, expect, it } from "vitest";
import { generationDefaults, generationDefaultsOfConfig, generationDefaultsOfGguf } from "./generation-config.ts";

const read = (config: object) => generationDefaults("generation_config.json", config as Record<string, unknown>);

describe("generation_config.json", () => {
  it("of Llama 3.1 and Qwen 2.5 gives what transformers draws with", () => {
    const llama = {
      bos_token_id: 128000,
      do_sample: true,
      eos_token_id: [128001, 128008, 128009],
      temperature: 0.6,
      top_p: 0.9,
      transformers_version: "4.42.3",
    };
    expect(read(llama)).toEqual({
      defaults: { temperature: 0.6, topK: 50, topP: 0.9 },
      eosTokenIds: [128001, 128008, 128009],
      ignored: [],
    });
    const qwen = { pad_token_id: 151643, do_sample: true, eos_token_id: 151645, repetition_penalty: 1.05 };
    expect(read({ ...qwen, temperature: 0.7, top_p: 0.8, top_k: 20 })).toEqual({
      defaults: { temperature: 0.7, topK: 20, topP: 0.8, repetitionPenalty: 1.05 },
      eosTokenIds: [151645],
      ignored: [],
    });
  });

  it("without do_sample is greedy, whatever its temperature; the rest waits for a caller who samples", () => {
    expect(read({ temperature: 0.7, top_p: 0.8 }).defaults).toEqual({ topP: 0.8 });
    expect(read({ do_sample: false, temperature: 0.7 }).defaults).toEqual({});
    expect(read({ do_sample: true }).defaults).toEqual({ temperature: 1, topK: 50 });
    expect(read({ do_sample: true, top_k: 0, temperature: null }).defaults).toEqual({ temperature: 1, topK: 0 });
  });

  it("bounds an answer, and ends it, as it says", () => {
    const { defaults, eosTokenIds } = read({ max_new_tokens: 32, stop_strings: "END", eos_token_id: [-1, 7] });
    expect([defaults, eosTokenIds]).toEqual([{ maxTokens: 32, stop: ["END"] }, [7]]);
  });

  it("is not needed where config.json has the same keys, as older models do", () => {
    const config = {
      hidden_size: 64,
      sliding_window: null,
      do_sample: true,
      temperature: 0.5,
      num_beams: 2,
      eos_token_id: 3,
    };
    expect(generationDefaultsOfConfig("config.json", config)).toEqual({
      defaults: { temperature: 0.5, topK: 50 },
      eosTokenIds: [3],
      ignored: ["num_beams 2"],
    });
  });

  it("that asks for what is not done is told of by name, and only then", () => {
    const neutral = { num_beams: 1, typical_p: 1.0, no_repeat_ngram_size: 0, suppress_tokens: [], min_length: 0 };
    const harmless = { use_cache: true, output_scores: false, max_length: 4096, _from_model_config: true, top_k: null };
    expect(read({ ...neutral, ...harmless }).ignored).toEqual([]);
    const asked = {
      num_beams: 4,
      suppress_tokens: [1, 2],
      typical_p: 0.9,
      forced_eos_token_id: 2,
      never_heard_of: "x",
    };
    expect(read(asked).ignored).toEqual([
      "num_beams 4",
      "suppress_tokens [1,2]",
      "typical_p 0.9",
      "forced_eos_token_id 2",
      'never_heard_of "x"',
    ]);
    expect(read({ bad_words_ids: [new Array(500).fill(1)] }).ignored[0]!.length).toBeLessThan(100);
  });

  it.each([
    [{ temperature: "0.7" }, 'temperature is "0.7"; it takes a number'],
    [{ temperature: -1 }, "temperature is -1"],
    [{ top_p: 0 }, "top_p is 0; it takes a number above 0"],
    [{ do_sample: "yes" }, 'do_sample is "yes"'],
    [{ eos_token_id: "</s>" }, 'eos_token_id is "</s>"'],
    [{ eos_token_id: [1, 2.5] }, "eos_token_id is [1,2.5]"],
    [{ repetition_penalty: 0 }, "repetition_penalty is 0"],
  ])("with a value that cannot be is refused with the key: %j", (config, message) => {
    expect(() => read(config)).toThrow(
      expect.objectContaining({ code: "OCTAVO_MODEL_FILE_INVALID", message: expect.stringContaining(message) }),
    );
  });
});

describe("general.sampling in a GGUF file", () => {
  const gguf = (keys: Readonly<Record<string, string | number>>) =>
    generationDefaultsOfGguf("x.gguf", new Map(Object.entries(keys).map(([k, v]) => [`general.sampling.${k}`, v])));

  it("says the same, in the decimals it was written from", () => {
    const keys = { temp: Math.fround(0.6), top_k: 20, top_p: Math.fround(0.95), penalty_repeat: Math.fround(1.05) };
    const drawn = { temperature: 0.6, topK: 20, topP: 0.95, repetitionPenalty: 1.05 };
    expect(gguf(keys)).toEqual({ defaults: drawn, eosTokenIds: [], ignored: [] });
    expect(gguf({}).defaults).toEqual({});
    expect(gguf({ top_k: -1, temp: 1 }).defaults).toEqual({ temperature: 1, topK: 0 });
  });

  it("that asks for llama.cpp's own samplers is told of by name", () => {
    const off = { mirostat: 0, mirostat_tau: 5, xtc_probability: 0, xtc_threshold: 0.1, penalty_last_n: -1 };
    expect(gguf(off).ignored).toEqual([]);
    expect(gguf({ mirostat: 2, penalty_last_n: 64 }).ignored).toEqual([
      "general.sampling.mirostat 2",
      "general.sampling.penalty_last_n 64",
    ]);
    // Names that every object knows.
    expect(gguf({ constructor: 1, toString: "a" }).ignored).toHaveLength(2);
    expect(() => gguf({ temp: "hot" })).toThrow(expect.objectContaining({ code: "OCTAVO_MODEL_FILE_INVALID" }));
  });
});
