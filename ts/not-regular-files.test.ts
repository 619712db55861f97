/**
 * Things in place of a model's files that are no regular files. If this fails, a pipe or a device in a folder that somebody else
 * made keeps a process waiting for ever, or takes all its memory.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { float32Header, scratchFolder, TINY_CONFIG, writeSafetensors } from "../test/support/model-files.ts";
import { planModel } from "./deploy/plan-model.ts";
import { evaluationText } from "./eval/text.ts";
import { openModel } from "./model/source/index.ts";

const root = scratchFolder();
let made = 0;

const KINDS: readonly (readonly [string, (path: string) => void | Promise<void>, RegExp])[] = [
  ["a pipe", (path) => void execFileSync("mkfifo", [path]), /pipe \(FIFO\)/],
  ["a directory", (path) => void mkdirSync(path), /directory/],
  ["a device", (path) => symlinkSync("/dev/zero", path), /a device/],
  [
    "a socket",
    async (path) => {
      const server = createServer();
      await new Promise<void>((done) => server.listen(path, done));
      onTestFinished(() => void server.close());
    },
    /socket/,
  ],
];

/** A folder with one shard and an index, all of it fine. */
function model(): string {
  const path = join(root, `${made++}`);
  mkdirSync(path);
  const name = "model.embed_tokens.weight";
  const { header, bytes } = float32Header({ [name]: [15, 32] });
  writeSafetensors(join(path, "a.safetensors"), header, bytes);
  const json = (file: string, value: unknown) => writeFileSync(join(path, file), JSON.stringify(value));
  json("config.json", TINY_CONFIG);
  json("model.safetensors.index.json", { weight_map: { [name]: "a.safetensors" } });
  json("tokenizer.json", {});
  return path;
}

const FILES = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "model.safetensors",
  "model.safetensors.index.json",
  "a.safetensors",
] as const;

describe.each(KINDS)("%s", (_, make, what) => {
  const refused = { code: "OCTAVO_FILE_NOT_READABLE", message: expect.stringMatching(what) };

  it.each(FILES)("as %s is refused for what it is", async (file) => {
    const path = model();
    await expect(openModel(path)).resolves.toMatchObject({ format: "safetensors" });
    rmSync(join(path, file), { force: true });
    await make(join(path, file));
    await expect(openModel(path)).rejects.toMatchObject(refused);
  });

  it("as a GGUF file, a config to plan with or the text of an evaluation is refused for what it is", async () => {
    const path = join(root, `${made++}`);
    mkdirSync(path);
    for (const name of ["x.gguf", "plan.json", "text"]) await make(join(path, name));
    await expect(openModel(path)).rejects.toMatchObject(refused);
    await expect(planModel(join(path, "plan.json"), { devices: "1GiB" })).rejects.toMatchObject(refused);
    await expect(evaluationText(join(path, "text"))).rejects.toMatchObject(refused);
  });
});

it("a pipe in place of a model is refused for what it is", async () => {
  const path = join(root, "pipe.gguf");
  execFileSync("mkfifo", [path]);
  await expect(openModel(path)).rejects.toMatchObject({ code: "OCTAVO_FILE_NOT_READABLE" });
});

it("a file that is larger than any tokenizer is refused before it is read", async () => {
  const path = model();
  truncateSync(join(path, "tokenizer.json"), 10e9);
  await expect(openModel(path)).rejects.toMatchObject({
    code: "OCTAVO_FILE_NOT_READABLE",
    message: expect.stringContaining("10000000000 bytes"),
  });
});

it("JSON of more values than any vocabulary has is refused before they are made", async () => {
  const path = model();
  writeFileSync(join(path, "tokenizer.json"), `{"a":[${"{},".repeat(4e6)}0]}`);
  await expect(openModel(path)).rejects.toMatchObject({
    code: "OCTAVO_MODEL_FILE_INVALID",
    message: expect.stringContaining("values"),
  });
});
