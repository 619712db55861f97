/** What `octavo doctor` says about the way to a GPU: torch, triton, the driver and the GPUs it lists, a worker on cuda:0. */
import { formatBytes } from "../../bytes.ts";
import { requirements } from "../../python.ts";
import { autoDevices, type Gpu, listGpus } from "../../workers/gpus.ts";
import type { Check } from "./check.ts";
import { checkWorker } from "./worker.ts";

/** Compute capability of the oldest GPUs that the kernels are made for: Ampere. */
const OLDEST = 8;

/** `packages`: versions in this Python, null where one is missing. */
export async function* checkGpu(
  python: string,
  packages: Readonly<Record<string, string | null>>,
  signal: AbortSignal,
): AsyncGenerator<Check> {
  yield checkTorch(python, packages.torch ?? null);
  yield checkTriton(packages.triton ?? null);
  const gpus = await listGpus();
  yield describeGpus(gpus, autoDevices()[0] === "cuda:0");
  if (gpus.length > 0 && packages.torch && packages.triton) yield await checkWorker("cuda:0", python, signal);
}

function checkTorch(python: string, version: string | null): Check {
  const check = { name: "torch", needed: false };
  if (version !== null) {
    const cpuOnly = version.endsWith("+cpu") ? ", a build without CUDA: not for the cuda backend" : "";
    return { ...check, ok: true, detail: `${version}${cpuOnly}` };
  }
  const detail =
    "not installed; needed for the cuda, triton-interpreter and reference backends and device.call, not for cpu";
  return { ...check, ok: false, detail, fix: `${python} -m pip install --require-hashes -r ${requirements("torch")}` };
}

function checkTriton(version: string | null): Check {
  const check = { name: "triton", needed: false };
  if (version !== null) return { ...check, ok: true, detail: version };
  const detail = "not installed; needed for the cuda and triton-interpreter backends, not for cpu";
  return { ...check, ok: false, detail, fix: "on Linux it comes with torch" };
}

/** `present`: the system has a GPU's device file, whatever the driver says. */
export function describeGpus(gpus: readonly Gpu[], present: boolean): Check {
  const check = { name: "NVIDIA GPU", needed: false };
  if (gpus.length === 0) {
    if (!present) return { ...check, ok: false, detail: "none; needed for the cuda backend, models run on the CPU" };
    const fix = "install or repair the driver; in Docker: --gpus all. Until then OCTAVO_DEVICE=cpu:0 chooses the CPU";
    return { ...check, ok: false, detail: "there is one, but nvidia-smi lists none: its driver does not answer", fix };
  }
  const usable = gpus.some(({ capability }) => Number(capability) >= OLDEST);
  const lines = gpus.map(
    ({ name, free, total, capability }, index) =>
      `cuda:${index} ${name}, compute capability ${capability}, ${formatBytes(free)} of ${formatBytes(total)} free`,
  );
  const detail = `${lines.join("; ")}; driver ${gpus[0]!.driver}`;
  const fix = usable ? {} : { fix: `the kernels need compute capability ${OLDEST}.0 (Ampere) or newer; use cpu:0` };
  return { ...check, ok: usable, detail, ...fix };
}
