/** LLM.int8() without a model: quantise a weight, multiply, read. In the repository: npx tsx examples/tensors.ts */
import { Pool } from "../ts/index.ts";

const [rows, inputs, outputs] = [4, 1024, 512];
const random = (count: number) => Float32Array.from({ length: count }, () => Math.random() * 2 - 1);

await using pool = await Pool.start({ devices: ["cpu:0"] });
const device = pool.devices[0]!;
await using x = await device.tensor(random(rows * inputs), { shape: [rows, inputs] });
await using w = await device.quantize(random(outputs * inputs), { shape: [outputs, inputs] });
await using y = await x.linear(w, { threshold: "adaptive" });
console.log((await y.read()).subarray(0, 4), await device.memory());
