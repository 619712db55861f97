/**
 * Opens hostile models one after the other and writes a line for each: its seed, and what came of it. A process of its own, so that
 * one that hangs or takes all memory is noticed by somebody.
 *
 *     node --import tsx test/support/open-hostile.ts GOOD-FOLDER FIRST-SEED CASES
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { planModel } from "../../ts/deploy/plan-model.ts";
import { chatPrompt } from "../../ts/model/chat.ts";
import { openModel } from "../../ts/model/source/index.ts";
import { Tokenizer } from "../../ts/model/tokenizer.ts";
import { hostileModel } from "./hostile-model.ts";

const [good = "", first = "0", cases = "0"] = process.argv.slice(2);
const TEXT = `the rain, 42 ${"a".repeat(40)}! <|im_end|> É\ud800 日本`;

async function use(folder: string): Promise<string> {
  await planModel(folder, { devices: "1GiB" });
  const manifest = await openModel(folder);
  if (manifest.tokenizer === undefined) return "no tokenizer";
  const tokenizer = Tokenizer.from(manifest);
  const ids = tokenizer.encode(TEXT);
  const wrong = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < tokenizer.vocabularySize));
  if (wrong !== undefined) return `uncoded: the id ${wrong}`;
  tokenizer.decode(ids);
  if (tokenizer.chatTemplate !== undefined) chatPrompt(tokenizer, [{ role: "user", content: TEXT }]);
  return "used";
}

const files = Object.fromEntries(readdirSync(good).map((name) => [name, readFileSync(join(good, name))]));
const scratch = mkdtempSync(join(tmpdir(), "octavo-hostile-"));
for (let seed = Number(first); seed < Number(first) + Number(cases); seed++) {
  const folder = join(scratch, String(seed));
  mkdirSync(folder);
  for (const [name, content] of Object.entries(hostileModel(seed, files))) writeFileSync(join(folder, name), content);
  writeSync(1, `${seed} `);
  const outcome = await use(folder).catch((error: unknown) => {
    const { code, message } = error as { code?: string; message?: string };
    const coded = code?.startsWith("OCTAVO_") === true && (message?.length ?? 0) < 10_000;
    return coded
      ? code
      : `uncoded: ${String((error as Error).stack)
          .slice(0, 1500)
          .replaceAll("\n", " | ")}`;
  });
  writeSync(1, `${outcome}\n`);
  rmSync(folder, { recursive: true });
}
rmSync(scratch, { recursive: true });
