/**
 * Model files with anything changed (sizes, counts, nesting, expressions, single bytes), each opened, planned and used for a text in a
 * process of its own. If this fails, somebody's file hangs a server, ends it, or comes back as an error that nobody can tell apart.
 *
 * The long form: the same script with other seeds, `node --import tsx test/support/open-hostile.ts FOLDER FIRST CASES`.
 */
import { cpSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { scratchFolder, TINY_GGUF } from "./support/model-files.ts";
import { writeTinyModel } from "./support/tiny-model.ts";

const CASES = 250;
/** No case takes a second; a hundred times as long is a hang on the slowest machine. */
const SILENCE_MS = 60_000;
const MEMORY_MB = 1024;

const root = scratchFolder();

/** What came of each case; fails when there is silence for too long. */
async function open(folder: string): Promise<string[]> {
  const script = join(import.meta.dirname, "support", "open-hostile.ts");
  const options = [`--max-old-space-size=${MEMORY_MB}`, "--import", "tsx"];
  const child = execa(process.execPath, [...options, script, folder, "0", String(CASES)], { reject: false });
  const stop = () => child.kill("SIGKILL");
  let silence = setTimeout(stop, SILENCE_MS);
  child.stdout.on("data", () => {
    clearTimeout(silence);
    silence = setTimeout(stop, SILENCE_MS);
  });
  const { stdout, stderr, exitCode } = await child;
  clearTimeout(silence);
  const lines = stdout.split("\n");
  expect({ last: lines.at(-1), stderr, exitCode }).toMatchObject({ exitCode: 0 });
  return lines;
}

function expectSound(lines: readonly string[]): void {
  expect(lines).toHaveLength(CASES);
  expect(lines.filter((line) => line.includes("uncoded"))).toEqual([]);
  // A test that only ever refuses would not have looked at what comes after.
  expect(lines.filter((line) => line.endsWith(" used")).length).toBeGreaterThan(CASES / 20);
}

describe("files with anything changed are used as they are, or refused with a code", () => {
  it("of a folder", async () => {
    await using model = await writeTinyModel();
    const folder = join(root, "folder");
    cpSync(model.path, folder, { recursive: true });
    const shard = join(folder, "a.safetensors");
    renameSync(join(folder, "model.safetensors"), shard);
    const content = readFileSync(shard);
    const header = JSON.parse(content.toString("utf8", 8, 8 + Number(content.readBigUInt64LE(0))));
    const names = Object.keys(header).filter((name) => name !== "__metadata__");
    const json = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
    json("model.safetensors.index.json", {
      weight_map: Object.fromEntries(names.map((name) => [name, "a.safetensors"])),
    });
    json("generation_config.json", { do_sample: true, temperature: 0.7, top_p: 0.9, top_k: 20, eos_token_id: [0, 2] });
    expectSound(await open(folder));
  }, 300_000);

  it("of a GGUF file", async () => {
    const folder = join(root, "gguf");
    cpSync(TINY_GGUF, join(folder, "model.gguf"));
    expectSound(await open(folder));
  }, 300_000);
});
