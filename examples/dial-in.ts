/**
 * A model on a worker that somebody else starts. In the repository, after `make setup`: npx tsx examples/dial-in.ts, then, in another
 * shell, the line that it prints. For other machines: docs/launchers.md.
 */
import { Engine, Pool } from "../ts/index.ts";

await using pool = await Pool.start({
  devices: "cpu:0",
  launcher: {
    type: "env",
    listen: "tcp://127.0.0.1:0",
    keys: "keys",
    onListening: ({ files }) => console.log(`PYTHONPATH=kernels .venv/bin/python worker --keys ${files[0]}`),
  },
});
await using engine = await Engine.load("smollm2", { pool });
for await (const piece of engine.generate("The sky is blue because", { maxTokens: 40 }))
  process.stdout.write(piece.text);
console.log("\n", await engine.memory());
