import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { float32Header, scratchFolder, TINY_CONFIG, writeSafetensors } from "../../../test/support/model-files.ts";
import { OctavoError } from "../../errors.ts";
import { openModel } from "./index.ts";

const root = scratchFolder();
let folders = 0;

/** A folder with config.json and these other files as JSON. */
function folder(files: Readonly<Record<string, unknown>> = {}): string {
  const path = join(root, `model-${folders++}`);
  mkdirSync(path);
  for (const [name, value] of Object.entries({ "config.json": TINY_CONFIG, ...files })) {
    if (value !== undefined) writeFileSync(join(path, name), typeof value === "string" ? value : JSON.stringify(value));
  }
  return path;
}

const shapes = { "model.embed_tokens.weight": [15, 32], "model.norm.weight": [32] };

/** Two shards with a tensor each, and their index. */
function sharded(): string {
  const path = folder({
    "model.safetensors.index.json": {
      weight_map: { "model.embed_tokens.weight": "a.safetensors", "model.norm.weight": "b.safetensors" },
    },
  });
  for (const [shard, name] of [
    ["a", "model.embed_tokens.weight"],
    ["b", "model.norm.weight"],
  ] as const) {
    const { header, bytes } = float32Header({ [name]: shapes[name] });
    writeSafetensors(join(path, `${shard}.safetensors`), header, bytes);
  }
  return path;
}

function refused(path: string, code: string, message: RegExp = /./) {
  return expect(openModel(path)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
}

describe("a model folder", () => {
  it("is its tensors where they lie in the file", async () => {
    const path = folder();
    const { header, bytes } = float32Header(shapes);
    writeSafetensors(join(path, "model.safetensors"), { __metadata__: { format: "pt" }, ...header }, bytes);
    const { tensors, format, tokenizer } = await openModel(path);
    const size = readFileSync(join(path, "model.safetensors")).length;
    expect(tensors.get("model.norm.weight")).toMatchObject({
      type: "F32",
      shape: [32],
      bytes: 128,
      offset: size - 128,
    });
    expect([tensors.size, format, tokenizer]).toEqual([2, "safetensors", undefined]);
    expect((await openModel(join(path, "config.json"))).path).toBe(path);
  });

  it("in shards is all of them", async () => {
    const path = sharded();
    const { tensors } = await openModel(path);
    expect([...tensors.values()].map(({ file }) => file)).toEqual([
      join(path, "a.safetensors"),
      join(path, "b.safetensors"),
    ]);
  });

  it("without a shard says which one", async () => {
    const path = sharded();
    writeFileSync(
      join(path, "model.safetensors.index.json"),
      JSON.stringify({ weight_map: { "model.norm.weight": "c.safetensors" } }),
    );
    await refused(path, "OCTAVO_MODEL_INCOMPLETE", /c\.safetensors/);
  });

  it("whose index names a tensor that its shard lacks says which one", async () => {
    const path = sharded();
    writeFileSync(
      join(path, "model.safetensors.index.json"),
      JSON.stringify({ weight_map: { "lm_head.weight": "a.safetensors" } }),
    );
    await refused(path, "OCTAVO_MODEL_INCOMPLETE", /lm_head\.weight/);
  });

  it("has the tensors that its index forgot, and none of them twice", async () => {
    const path = sharded();
    const { header, bytes } = float32Header({ "model.norm.weight": [32], "model.extra.weight": [4] });
    writeSafetensors(join(path, "b.safetensors"), header, bytes);
    expect([...(await openModel(path)).tensors.keys()]).toContain("model.extra.weight");
    const twice = float32Header({ "model.norm.weight": [32], "model.embed_tokens.weight": [15, 32] });
    writeSafetensors(join(path, "b.safetensors"), twice.header, twice.bytes);
    await refused(
      path,
      "OCTAVO_MODEL_FILE_INVALID",
      /embed_tokens\.weight is in both a\.safetensors and b\.safetensors/,
    );
  });

  it("with an adapter that would not be applied is refused", async () => {
    await refused(
      folder({ "adapter_config.json": { peft_type: "LORA" } }),
      "OCTAVO_UNSUPPORTED_MODEL",
      /adapter_config/,
    );
  });

  it("may not reach for files outside of itself", async () => {
    for (const shard of ["../x.safetensors", "/etc/x.safetensors", "..\\x.safetensors", "x.bin"]) {
      await refused(
        folder({ "model.safetensors.index.json": { weight_map: { "a.weight": shard } } }),
        "OCTAVO_MODEL_FILE_INVALID",
        /not a file of this folder/,
      );
    }
  });

  it("takes the tokens that end a turn from generation_config.json as well", async () => {
    const path = folder({
      "config.json": { ...TINY_CONFIG, eos_token_id: 1 },
      "generation_config.json": { eos_token_id: [1, 7] },
    });
    const { header, bytes } = float32Header(shapes);
    writeSafetensors(join(path, "model.safetensors"), header, bytes);
    expect((await openModel(path)).config.eos_token_id).toEqual([1, 7]);
  });

  it("without config, without weights, or with JSON that is none, is refused", async () => {
    await refused(folder({ "config.json": undefined }), "OCTAVO_MODEL_INCOMPLETE", /config\.json/);
    await refused(folder(), "OCTAVO_MODEL_INCOMPLETE", /model\.safetensors/);
    await refused(folder({ "config.json": "{" }), "OCTAVO_MODEL_FILE_INVALID", /not JSON/);
    await refused(folder({ "config.json": "[]" }), "OCTAVO_MODEL_FILE_INVALID", /not a JSON object/);
  });
});

describe("a safetensors header", () => {
  function single(header: object | string, dataBytes: number): string {
    const path = folder();
    writeSafetensors(join(path, "model.safetensors"), header, dataBytes);
    return path;
  }
  const F32 = (shape: readonly unknown[], from: unknown, to: unknown) => ({
    dtype: "F32",
    shape,
    data_offsets: [from, to],
  });

  it.each([
    ["a range outside of the file", { a: F32([4], 0, 16) }, 8, /truncated/],
    ["a range that is not what the shape takes", { a: F32([4], 0, 12) }, 12, /16 bytes/],
    ["two tensors over the same bytes", { a: F32([4], 0, 16), b: F32([4], 8, 24) }, 24, /overlaps/],
    ["bytes that belong to no tensor", { a: F32([4], 0, 16) }, 20, /end at byte/],
    ["a negative size", { a: F32([-4], 0, 16) }, 16, /shape/],
    ["a fraction", { a: F32([0.5], 0, 2) }, 2, /shape/],
    ["sizes whose product is no exact number", { a: F32([2 ** 40, 2 ** 40], 0, 16) }, 16, /undefined|takes/],
    ["a range from its end to its start", { a: F32([4], 16, 0) }, 16, /range/],
    ["a tensor that is none", { a: 3 }, 0, /tensor a/],
    ["no JSON", "{", 0, /not JSON/],
    ["a list", "[1]", 0, /not a JSON object/],
  ])("with %s is refused", async (_, header, dataBytes, message) => {
    await refused(single(header, dataBytes), "OCTAVO_MODEL_FILE_INVALID", message);
  });

  it("that says it is longer than the file is refused", async () => {
    const path = folder();
    for (const length of [2n ** 64n - 1n, 2n ** 40n, 100n]) {
      const bytes = Buffer.alloc(16);
      bytes.writeBigUInt64LE(length);
      writeFileSync(join(path, "model.safetensors"), bytes);
      await refused(path, "OCTAVO_MODEL_FILE_INVALID", /truncated/);
    }
  });

  it("with weights in an element type that cannot be loaded says which ones can", async () => {
    await refused(
      single({ a: { dtype: "F8_E4M3", shape: [4], data_offsets: [0, 4] } }, 4),
      "OCTAVO_UNSUPPORTED_MODEL",
      /F8_E4M3.*BF16/,
    );
  });

  it("keeps in mind what is no weight: position ids, or a quantiser's codes", async () => {
    const header = {
      a: { dtype: "I64", shape: [2], data_offsets: [0, 16] },
      b: { dtype: "I8", shape: [4], data_offsets: [16, 20] },
    };
    const { tensors, unloadable } = await openModel(single(header, 20));
    expect([tensors.size, unloadable]).toEqual([
      0,
      new Map([
        ["a", "I64"],
        ["b", "I8"],
      ]),
    ]);
  });

  it("truncated or with any byte changed is read within its bounds, or refused with a code", async () => {
    const { header, bytes } = float32Header(shapes);
    const path = single(header, bytes);
    const file = join(path, "model.safetensors");
    const whole = readFileSync(file);
    for (let length = 0; length < whole.length - bytes + 2; length++) {
      writeFileSync(file, whole);
      truncateSync(file, length);
      await refused(path, "OCTAVO_MODEL_FILE_INVALID");
    }
    for (let i = 0; i < whole.length - bytes; i++) {
      const changed = Buffer.from(whole);
      for (const flip of [0x01, 0x04, 0x80]) {
        changed[i] = (whole[i] ?? 0) ^ flip;
        writeFileSync(file, changed);
        const error: unknown = await openModel(path).then(
          ({ tensors }) => {
            for (const entry of tensors.values()) expect(entry.offset + entry.bytes).toBeLessThanOrEqual(whole.length);
          },
          (thrown) => thrown,
        );
        expect(error === undefined || OctavoError.isInstance(error), `byte ${i} ^ ${flip}: ${error}`).toBe(true);
      }
    }
  });
});
