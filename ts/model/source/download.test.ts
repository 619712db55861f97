import { createHash } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { float32Header, scratchFolder, TINY_CONFIG } from "../../../test/support/model-files.ts";
import { downloadModel, neededFiles } from "./download.ts";
import { openModel } from "./index.ts";

const root = scratchFolder();
const COMMIT = "c".repeat(40);

function safetensors(): Buffer {
  const { header, bytes } = float32Header({ "model.norm.weight": [32] });
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(bytes)]);
}

const files: Readonly<Record<string, Buffer>> = {
  "config.json": Buffer.from(JSON.stringify(TINY_CONFIG)),
  "model.safetensors": safetensors(),
  "pytorch_model.bin": Buffer.from("not wanted"),
};
const entry = (path: string) => ({
  type: "file",
  path,
  size: files[path]?.length,
  oid: createHash("sha1").update(path).digest("hex"),
  lastCommit: { id: COMMIT, title: "", date: "2026-01-01T00:00:00.000Z" },
});

/** The part of the hub's interface that a download uses. */
const requests: string[] = [];
let hub: Server;
beforeAll(async () => {
  hub = createServer((request, response) => {
    const url = request.url ?? "";
    requests.push(`${request.method} ${url}`);
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      const json = (value: unknown) =>
        response.setHeader("content-type", "application/json").end(JSON.stringify(value));
      const file = /^\/org\/tiny\/resolve\/[^/]+\/([^?]+)/.exec(url)?.[1];
      const data = file === undefined ? undefined : files[file];
      if (data) {
        response.setHeader("etag", `"${entry(file ?? "").oid}"`);
        const [, from = 0, to = data.length - 1] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
        const part = data.subarray(Number(from), Number(to) + 1);
        response.writeHead(request.headers.range ? 206 : 200, {
          "content-length": part.length,
          "content-range": `bytes ${from}-${to}/${data.length}`,
        });
        response.end(part);
      } else if (url.startsWith("/api/models/org/tiny/tree/")) json(Object.keys(files).map(entry));
      else if (url.startsWith("/api/models/org/tiny/paths-info/")) json(JSON.parse(body).paths.map(entry));
      else if (url.startsWith("/api/models/org/tiny")) json({ _id: "1", id: "org/tiny", sha: COMMIT, private: false });
      else response.writeHead(Number(/status-(\d+)/.exec(url)?.[1] ?? 404)).end();
    });
  });
  await new Promise<void>((resolve) => hub.listen(0, "127.0.0.1", resolve));
});
afterAll(() => hub.close());
afterEach(() => vi.unstubAllEnvs());

const hubUrl = () => `http://127.0.0.1:${(hub.address() as AddressInfo).port}`;

describe("pulling a model", () => {
  it("fetches what is needed, once, and the model then opens by its id", async () => {
    vi.stubEnv("HF_HUB_CACHE", mkdtempSync(join(root, "cache-")));
    vi.spyOn(console, "debug").mockImplementation(() => {});
    const seen: string[] = [];
    const folder = await downloadModel("org/tiny", { hubUrl: hubUrl(), onFile: (file) => seen.push(file) });
    expect(seen).toEqual(["config.json", "model.safetensors"]);
    expect((await openModel("org/tiny")).path).toBe(folder);
    requests.length = 0;
    await downloadModel("org/tiny", { hubUrl: hubUrl() });
    expect(requests.filter((request) => request.includes("/resolve/"))).toEqual([]);
  });

  it("of a model that the hub does not have says so", async () => {
    vi.stubEnv("HF_HUB_CACHE", mkdtempSync(join(root, "cache-")));
    await expect(downloadModel("org/none", { hubUrl: hubUrl() })).rejects.toMatchObject({
      code: "OCTAVO_MODEL_NOT_FOUND",
    });
    await expect(downloadModel("not an id")).rejects.toMatchObject({ code: "OCTAVO_BAD_ARGUMENT" });
  });

  it.each([
    [401, "OCTAVO_MODEL_ACCESS_DENIED", false, "HF_TOKEN"],
    [403, "OCTAVO_MODEL_ACCESS_DENIED", false, "HF_TOKEN"],
    [429, "OCTAVO_HUB_UNAVAILABLE", true, "try again later"],
    [500, "OCTAVO_HUB_UNAVAILABLE", true, "try again later"],
    [503, "OCTAVO_HUB_UNAVAILABLE", true, "try again later"],
  ])(
    "that the hub answers with %i is %s: whether to try again is not guessed",
    async (status, code, retryable, text) => {
      vi.stubEnv("HF_HUB_CACHE", mkdtempSync(join(root, "cache-")));
      const failed = { code, retryable, message: expect.stringContaining(text) };
      await expect(downloadModel(`org/status-${status}`, { hubUrl: hubUrl() })).rejects.toMatchObject(failed);
    },
  );

  it("without a network says so, and that it may work later", async () => {
    vi.stubEnv("HF_HUB_CACHE", mkdtempSync(join(root, "cache-")));
    const closed = {
      code: "OCTAVO_HUB_UNAVAILABLE",
      retryable: true,
      message: expect.stringContaining("ECONNREFUSED"),
    };
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    await expect(downloadModel("org/tiny", { hubUrl: `http://127.0.0.1:${port}` })).rejects.toMatchObject(closed);
  });

  it("into a cache that cannot be written to does not blame the hub", async () => {
    const file = join(mkdtempSync(join(root, "cache-")), "file");
    writeFileSync(file, "");
    vi.stubEnv("HF_HUB_CACHE", file);
    const failed = { code: "OCTAVO_FILE_NOT_READABLE", message: expect.stringContaining("cache cannot be written") };
    await expect(downloadModel("org/tiny", { hubUrl: hubUrl() })).rejects.toMatchObject(failed);
  });

  it("takes shards with their index, one GGUF file, and no other forms of the model", () => {
    const shards = [
      "config.json",
      "model.safetensors.index.json",
      "model-1-of-2.safetensors",
      "model-2-of-2.safetensors",
    ];
    expect(neededFiles([...shards, "README.md", "onnx/model.onnx", "original/model.safetensors"])).toEqual(shards);
    expect(neededFiles(["README.md", "x.Q8_0.gguf"])).toEqual(["x.Q8_0.gguf"]);
    expect(() => neededFiles(["a.gguf", "b.gguf"])).toThrow(/2 GGUF files/);
    expect(() => neededFiles(["pytorch_model.bin"])).toThrow(/neither/);
  });
});
