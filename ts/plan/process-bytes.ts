/** What the processes take beside a model's tensors. Pure. */
import type { Parameter } from "../program/program.ts";
import { elementCount } from "../program/tensor-bytes.ts";
import type { DeviceBackend } from "./devices.ts";

/**
 * What a worker takes of its device before any handle; estimates, a worker that runs tells the real one. cpu: interpreter,
 * numpy, pyzmq, the kernel library. reference, triton-interpreter: torch as well. cuda: the CUDA context and loaded kernels
 * (vLLM's logs of cards with 16 and 44 GiB say 0.39 and 0.28 GiB).
 */
const BASELINE: Readonly<Record<DeviceBackend, number>> = {
  cpu: 64 * 2 ** 20,
  reference: 512 * 2 ** 20,
  cuda: 460 * 2 ** 20,
  "triton-interpreter": 576 * 2 ** 20,
};
/**
 * What the worker (messages, programs as Python holds them, the system's tables) and the Node process beside it take more
 * from the plan to the busiest step. Measured with the demo model in control groups of 250 to 2,000 MiB, 8 and 32 sequences
 * at full length, scratch space taken off: 2 to 8 MiB; without it, one load of three at the limit was killed.
 */
const GROWTH = 16 * 2 ** 20;
/** Per element that a thread of `load` works on: as it is in the file, as a float, as it will be. The worker reserves the same. */
const LOAD_BYTES = 8 + 4 + 2;
const LOAD_ROWS = 16;

/** What a thread takes while it loads. */
export function threadBytes(
  parameters: Iterable<Parameter>,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): number {
  let bytes = 0;
  for (const { source, shape } of parameters) {
    if (source.type !== "tensors") continue;
    const matrix = shape.length > 1;
    const [rows, columns] = matrix ? [elementCount(shape.slice(0, -1)), shape.at(-1)!] : [1, elementCount(shape)];
    // Rows are read as long as they are in the file; of rows that are cut, one more is there in full as floats.
    const lengths = source.parts.map((part) => (part.columns && tensors.get(part.tensor)?.shape.at(-1)) ?? 0);
    const cut = matrix ? Math.max(...lengths) : 0;
    bytes = Math.max(bytes, (Math.min(rows, LOAD_ROWS) * Math.max(columns, cut) + cut) * LOAD_BYTES);
  }
  return bytes;
}

/** A worker without tensors, and what it and the process that drives it take more while it loads and serves. */
export function processBytes(backend: DeviceBackend, perThread: number, threads: number, baseline?: number): number {
  const before = baseline ?? BASELINE[backend];
  if (backend === "cuda") return before; // The rest is in the machine's memory.
  return before + GROWTH + threads * perThread;
}
