/** Sizes that no model has. If this fails, a config.json of a few lines keeps a process busy for minutes or takes all its memory. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { scratchFolder } from "../../../test/support/model-files.ts";
import { tinyConfig } from "../../../test/support/tiny-model.ts";
import { planModel } from "../../deploy/plan-model.ts";

const root = scratchFolder();
let configs = 0;

async function plan(config: Readonly<Record<string, unknown>>, options: { readonly context?: number } = {}) {
  const path = join(root, `${configs++}.json`);
  writeFileSync(path, JSON.stringify({ ...tinyConfig(), ...config }));
  return planModel(path, { devices: "24GiB", ...options });
}

it.each([
  [{ num_hidden_layers: 1600 }, /num_hidden_layers/],
  [{ num_hidden_layers: 1e9 }, /num_hidden_layers/],
  [{ head_dim: 1e6 }, /head_dim/],
  [{ head_dim: undefined, hidden_size: 1e7, num_attention_heads: 2, num_key_value_heads: 2 }, /head size 5000000/],
  [{ vocab_size: 1e12 }, /vocab_size/],
  [{ eos_token_id: Array(5000).fill(1) }, /eos_token_id/],
])("a config of %j is refused by its key", async (config, message) => {
  await expect(plan(config)).rejects.toMatchObject({
    code: "OCTAVO_MODEL_FILE_INVALID",
    message: expect.stringMatching(message),
  });
});

it("heads larger than attention's are refused, and its largest are planned", async () => {
  await expect(plan({ head_dim: 258 })).rejects.toMatchObject({
    code: "OCTAVO_UNSUPPORTED_MODEL",
    message: expect.stringMatching(/heads of 258 elements; attention takes up to 256/),
  });
  await expect(plan({ head_dim: 256 })).resolves.toMatchObject({ fits: true });
});

it("a context whose rope tables would take gigabytes is refused", async () => {
  const config = { max_position_embeddings: 1e7, head_dim: 128 };
  await expect(plan(config, { context: 1e7 })).rejects.toMatchObject({
    code: "OCTAVO_BAD_ARGUMENT",
    message: expect.stringMatching(/^context 10000000; with heads of 128 elements it goes up to 2097152$/),
  });
});

it("the deepest config that is taken is planned", async () => {
  await expect(plan({ num_hidden_layers: 512 })).resolves.toMatchObject({ fits: true });
});

it("a config.json of more than any model has is refused before it is read", async () => {
  await expect(plan({ id2label: "x".repeat(3e6) })).rejects.toMatchObject({
    code: "OCTAVO_FILE_NOT_READABLE",
    message: expect.stringContaining("is read up to 2097152"),
  });
});
