/** A streamed answer. In the repository, after `make setup`: npx tsx examples/answer.ts */
import { Engine } from "../ts/index.ts";

await using engine = await Engine.load("smollm2", { devices: "auto" });
const messages = [{ role: "user", content: "Explain in short why the sky is blue." }] as const;
for await (const piece of engine.chat(messages)) process.stdout.write(piece.text);
console.log("\n", await engine.memory());
