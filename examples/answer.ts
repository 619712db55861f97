/** A streamed answer. In the repository, after `make setup`: npx tsx examples/answer.ts */
import { Engine } from "../ts/index.ts";

await using engine = await Engine.load("smollm2", { devices: "auto" });
const messages = [{ role: "user", content: "Why is the sky blue? Keep it short." }] as const;
for await (const piece of engine.chat(messages)) process.stdout.write(piece.text);
console.log("\n", await engine.memory());
