/** A server with many connections. If these fail, opening a model there ends the whole server (SIGABRT, no error). */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DEVICE } from "./support/devices.ts";
import { writeTinyModel } from "./support/tiny-model.ts";

test("with hardly any free file descriptors, starts are refused with the numbers, and work again later", async () => {
  await using model = await writeTinyModel();
  const script = join(import.meta.dirname, "support", "few-descriptors.ts");
  const command = 'ulimit -n 128; exec "$0" --import tsx "$@"';
  const ended = spawnSync("sh", ["-c", command, process.execPath, script, model.path, DEVICE], { encoding: "utf8" });
  expect([ended.signal, ended.status, ended.stderr]).toEqual([null, 0, ""]);
  const told: [string, number, unknown][] = ended.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(told).toHaveLength(18 + 6 + 8);
  for (const [what, free, outcome] of told) {
    const refused = {
      code: "OCTAVO_WORKER_START_FAILED",
      message: expect.stringMatching(/file descriptors, and this process can open \d+ more.*ulimit -n/),
    };
    expect([what, free, outcome]).toEqual([what, free, free < 16 ? refused : "works"]);
  }
}, 60_000);
