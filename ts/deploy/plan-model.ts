/** `planModel`: a plan of a model's files for this machine or an imagined one. Starts no worker, and loads nothing that could. */
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import { OctavoError } from "../errors.ts";
import { modelOfConfig } from "../model/families/index.ts";
import { findModel, openFound } from "../model/source/index.ts";
import { parseObject } from "../model/source/json.ts";
import type { Manifest } from "../model/source/manifest.ts";
import {
  type DeviceName,
  type DeviceSize,
  isDeviceNames,
  isHostMemory,
  parseDeviceNames,
  parseDeviceSizes,
} from "../plan/devices.ts";
import { checkPlanOptions, type PlanModelOptions } from "../plan/options.ts";
import { planManifest } from "../plan/plan.ts";
import type { Plan } from "../plan/types.ts";
import { isAbsent, MAX_CONFIG_BYTES, readBytes } from "../regular-file.ts";
import { shareCores } from "../workers/cores.ts";
import { autoDevices, listGpus } from "../workers/gpus.ts";

/**
 * Reads headers only, and starts no worker. `model` is what `Engine.load` takes, or a `config.json` alone, from which the sizes of
 * the tensors follow. Devices are given by their sizes ("24GiB", "8x24GiB"), or by name: "cpu:0" is then planned with this machine's
 * memory, which CPU devices share, "cuda:0" with what is free on that GPU. Throws what `openModel` throws, `OCTAVO_BAD_ARGUMENT`, `OCTAVO_NO_DEVICE`.
 */
export async function planModel(model: string, options: PlanModelOptions = {}): Promise<Plan> {
  const ranks = checkPlanOptions(model, options);
  const devices = await sizesOf(options, ranks);
  return planManifest(await openHeaders(model), options, devices);
}

/** A manifest, also of a `config.json` without the rest. */
export async function openHeaders(model: string): Promise<Manifest> {
  if (model.endsWith(".json")) return openConfig(model);
  const found = await findModel(model);
  return found.onlyConfig ? openConfig(join(found.path, "config.json")) : openFound(found);
}

async function openConfig(path: string): Promise<Manifest> {
  const content = await readBytes(path, MAX_CONFIG_BYTES).catch((cause: unknown) => {
    throw isAbsent(cause) ? new OctavoError("OCTAVO_MODEL_NOT_FOUND", `${path} is not there`, { cause }) : cause;
  });
  return modelOfConfig(path, parseObject(path, content));
}

async function sizesOf(options: PlanModelOptions, ranks: number): Promise<DeviceSize[]> {
  const { devices = "auto", memoryLimit = Number.POSITIVE_INFINITY, baseline } = options;
  const text = String(devices);
  const sizes = isDeviceNames(text)
    ? await sizesOfNamed(parseDeviceNames(devices, autoDevices()[0], ranks))
    : parseDeviceSizes(text);
  return sizes.map(({ memory, ...device }) => {
    const size = { ...device, baseline, total: Math.min(device.total, memoryLimit) };
    // A limit is of each device.
    return memory === undefined || Number.isFinite(memoryLimit) ? size : { ...size, memory };
  });
}

async function sizesOfNamed(names: readonly DeviceName[]): Promise<DeviceSize[]> {
  const gpus = names.some(({ backend }) => backend === "cuda") ? await listGpus() : [];
  const threads = shareCores(availableParallelism(), names.length);
  return names.map(({ name, backend, index }, rank) => {
    if (isHostMemory(backend))
      return { name, backend, threads: threads[rank]!, total: machineMemory(), memory: "machine" };
    const gpu = gpus[index];
    if (gpu !== undefined) return { name, backend, total: gpu.free };
    const text = `${name}: nvidia-smi lists ${gpus.length} GPUs here; give the size of the one you mean, such as 24GiB`;
    throw new OctavoError("OCTAVO_NO_DEVICE", text);
  });
}

/** Memory of this machine, or of the container that this process is in. */
function machineMemory(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
