/** NVIDIA GPUs of this machine, found without Python and without a CUDA context. */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { promisify } from "node:util";
import { variable } from "../environment.ts";

export interface Gpu {
  readonly name: string;
  readonly uuid: string;
  /** Bytes: all, and those in use by nobody. */
  readonly total: number;
  readonly free: number;
  /** Compute capability, "9.0". */
  readonly capability: string;
  /** Version of the driver. */
  readonly driver: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The devices that "auto" stands for, in the order in which they are tried: OCTAVO_DEVICE when it is set, else cuda:0
 * where there is an NVIDIA GPU, then cpu:0. Looks for a device file and takes microseconds.
 */
export function autoDevices(
  env: Environment = process.env,
  deviceFiles = listDevices(),
): readonly [string, ...string[]] {
  const chosen = variable("OCTAVO_DEVICE", env);
  if (chosen !== undefined) return [chosen];
  // A container without GPUs sees the host's /proc/driver/nvidia, but not the device files.
  const present = deviceFiles.some((file) => /^nvidia\d+$/.test(file));
  return present && !hidden(env) ? ["cuda:0", "cpu:0"] : ["cpu:0"];
}

/** GPUs as CUDA numbers them in a worker (CUDA_VISIBLE_DEVICES, else by PCI bus). None without a driver. */
export async function listGpus(env: Environment = process.env): Promise<Gpu[]> {
  const fields = "uuid,name,memory.total,memory.free,compute_cap,driver_version";
  const args = [`--query-gpu=${fields}`, "--format=csv,noheader,nounits"];
  const answer = await promisify(execFile)("nvidia-smi", args, { timeout: 10_000 }).catch(() => undefined);
  return visibleGpus(parseGpus(answer?.stdout ?? ""), env);
}

/** Lines of `nvidia-smi --query-gpu`, memory in MiB. */
function parseGpus(csv: string): Gpu[] {
  return csv.split("\n").flatMap((line) => {
    const [uuid, name, total, free, capability, driver] = line.split(",").map((field) => field.trim());
    if (uuid === undefined || name === undefined || capability === undefined || driver === undefined) return [];
    const [totalMiB, freeMiB] = [Number(total), Number(free)]; // "[N/A]" where CPU and GPU share their memory.
    if (!Number.isFinite(totalMiB) || !Number.isFinite(freeMiB)) return [];
    return [{ uuid, name, total: totalMiB * 2 ** 20, free: freeMiB * 2 ** 20, capability, driver }];
  });
}

/** CUDA_VISIBLE_DEVICES is a list of numbers or UUIDs; the first that does not exist ends it. */
function visibleGpus(gpus: readonly Gpu[], env: Environment): Gpu[] {
  const list = env.CUDA_VISIBLE_DEVICES;
  if (list === undefined) return [...gpus];
  const visible: Gpu[] = [];
  for (const entry of list.split(",").map((text) => text.trim())) {
    const gpu = /^\d+$/.test(entry) ? gpus[Number(entry)] : gpus.find(({ uuid }) => entry && uuid.startsWith(entry));
    if (gpu === undefined) break;
    visible.push(gpu);
  }
  return visible;
}

function hidden({ CUDA_VISIBLE_DEVICES: list }: Environment): boolean {
  return list !== undefined && !/^\s*(\d|GPU-|MIG-)/.test(list);
}

function listDevices(): string[] {
  try {
    return readdirSync("/dev");
  } catch {
    return [];
  }
}
