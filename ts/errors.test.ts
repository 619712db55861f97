import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { float32Header, TINY_CONFIG, writeSafetensors } from "../test/support/model-files.ts";
import { codeOf, messageOf, OctavoError } from "./errors.ts";
import { openModel } from "./model/source/index.ts";
import { cut, quoted } from "./quoted.ts";

afterEach(() => vi.unstubAllGlobals());

describe("an error of another realm, as in Jest or node:vm", () => {
  it("is known by what it carries", () => {
    const error: unknown = runInNewContext('Object.assign(new Error("gone"), { code: "ENOENT" })');
    expect(error instanceof Error).toBe(false);
    expect([codeOf(error), messageOf(error)]).toEqual(["ENOENT", "gone"]);
    expect(OctavoError.isInstance(error)).toBe(false);
    const ours: unknown = runInNewContext('Object.assign(new Error("x"), { code: "OCTAVO_WORKER_LOST" })');
    expect(OctavoError.isInstance(ours)).toBe(true);
  });

  it("is none when it is something else", () => {
    for (const value of [undefined, null, 3, "text", {}, { code: 7 }, { code: "toString", message: "x" }]) {
      expect(OctavoError.isInstance(value)).toBe(false);
      expect(messageOf(value)).toBeTypeOf("string");
    }
  });

  it("does not keep a folder with one safetensors file from opening", async () => {
    const path = mkdtempSync(join(tmpdir(), "octavo-realm-"));
    try {
      writeFileSync(join(path, "config.json"), JSON.stringify(TINY_CONFIG));
      const { header, bytes } = float32Header({ "model.norm.weight": [32] });
      writeSafetensors(join(path, "model.safetensors"), header, bytes);
      // Node's own errors are then of another realm than `Error`, for the files that are not there.
      vi.stubGlobal("Error", runInNewContext("Error"));
      expect((await openModel(path)).tensors.size).toBe(1);
    } finally {
      rmSync(path, { recursive: true });
    }
  });
});

it("a code is one of the table, not what every object knows", () => {
  for (const code of ["constructor", "toString", "__proto__", "hasOwnProperty"])
    expect(OctavoError.isInstance({ code, message: "" })).toBe(false);
  expect(OctavoError.isInstance({ code: "OCTAVO_PROTOCOL", message: "" })).toBe(true);
});

describe("a message", () => {
  it("repeats no more of somebody's file than it takes to find it", async () => {
    const long = "x".repeat(100_000);
    for (const value of [long, [long, long], { [long]: long }, Array(100_000).fill(1), 10n ** 50_000n]) {
      expect(quoted(value).length).toBeLessThan(200);
      expect(new OctavoError("OCTAVO_PROTOCOL", `a ${cut(String(value))}`).message.length).toBeLessThan(300);
    }
    expect(quoted("short")).toBe('"short"');
    expect(quoted({ a: [1, null] })).toBe('{"a":[1,null]}');
  });

  it("is bounded whatever it was made of, and keeps its end", () => {
    fc.assert(
      fc.property(fc.nat(100_000), (length) => {
        const { message } = new OctavoError("OCTAVO_PROTOCOL", `${"y".repeat(length)}; do this`);
        expect(message.length).toBeLessThan(8300);
        expect(message.endsWith("; do this")).toBe(true);
        if (length < 8000) expect(message).toHaveLength(length + 9);
      }),
    );
  });
});
