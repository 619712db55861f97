/** Writes the golden vectors beside it: `npx tsx protocol/golden/write.ts`. They are committed; both languages read them. */
import { writeFile } from "node:fs/promises";
import { encodeValue } from "../../ts/workers/codec.ts";
import { hostile } from "./hostile.ts";
import { operations } from "./operations.ts";
import { valid } from "./valid.ts";

async function write(name: string, vectors: readonly unknown[]): Promise<void> {
  const lines = vectors.map((vector) => `  ${JSON.stringify(vector)}`);
  await writeFile(new URL(`${name}.json`, import.meta.url), `[\n${lines.join(",\n")}\n]\n`);
}

await write(
  "valid",
  valid.map((vector) => ({ ...vector, hex: encodeValue(structuredClone(vector.value)).toString("hex") })),
);
await write("hostile", hostile);
await write("operations", operations);
