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
  onlyDevice,
  parseDeviceNames,
  parseDeviceSizes,
} from "../plan/devices.ts";
import { checkPlanOptions, type PlanModelOptions } from "../plan/options.ts";
import { planManifest } from "../plan/plan.ts";
import type { Plan } from "../plan/types.ts";
import { isAbsent, MAX_CONFIG_BYTES, readBytes } from "../regular-file.ts";
import { autoDevices, listGpus } from "../workers/gpus.ts";

/**
 * Reads headers only, and starts no worker. `model` is what `Engine.load` takes, or a `config.json` alone, from which the sizes of
 * the tensors follow. A device is given by its size ("24GiB"), or by its name: "cpu:0" is then planned with this machine's memory,
 * "cuda:0" with what is free on that GPU. Throws what `openModel` throws, `OCTAVO_BAD_ARGUMENT`, `OCTAVO_NO_DEVICE`.
 */
export async function planModel(model: string, options: PlanModelOptions = {}): Promise<Plan> {
  checkPlanOptions(model, options);
  const device = await sizeOf(options);
  return planManifest(await openHeaders(model), options, [device]);
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

async function sizeOf({ devices = "auto", memoryLimit, baseline }: PlanModelOptions): Promise<DeviceSize> {
  const text = typeof devices === "string" ? devices : devices.join(",");
  const all = isDeviceNames(text) ? parseDeviceNames(text, autoDevices()[0]) : parseDeviceSizes(text);
  const given = onlyDevice<DeviceName | DeviceSize>(all, "name one, such as 24GiB");
  const device = "total" in given ? given : await sizeOfNamed(given);
  return { ...device, total: Math.min(device.total, memoryLimit ?? Number.POSITIVE_INFINITY), baseline };
}

async function sizeOfNamed({ name, backend, index }: DeviceName): Promise<DeviceSize> {
  if (backend !== "cuda") return { name, backend, threads: availableParallelism(), total: machineMemory() };
  const gpus = await listGpus();
  const gpu = gpus[index];
  if (gpu !== undefined) return { name, backend, total: gpu.free };
  const text = `${name}: nvidia-smi lists ${gpus.length} GPUs here; give the size of the one you mean, such as 24GiB`;
  throw new OctavoError("OCTAVO_NO_DEVICE", text);
}

/** Memory of this machine, or of the container that this process is in. */
function machineMemory(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
