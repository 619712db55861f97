/** Device names ("cpu:0") and device sizes ("8x24GiB") as users write them. Pure. */
import { parseBytes } from "../bytes.ts";
import { badArgument } from "../errors.ts";

export const DEVICE_BACKENDS = ["cpu", "reference", "cuda", "triton-interpreter"] as const;
export type DeviceBackend = (typeof DEVICE_BACKENDS)[number];

/** `backend:index`. Two cpu devices are two workers that share the cores. */
export interface DeviceName {
  readonly name: string;
  readonly backend: DeviceBackend;
  readonly index: number;
}

/** What a plan has to know of a device; an imagined one is no more than its size. */
export interface DeviceSize {
  readonly name: string;
  /** Default "cpu". */
  readonly backend?: DeviceBackend;
  /** Of a worker there. Default 1. */
  readonly threads?: number;
  /** Bytes that may be used; of a memory that several share, of all of it. */
  readonly total: number;
  /** The memory that it has together with other devices of a plan that name the same; absent: it has its own. */
  readonly memory?: string | undefined;
  /** Bytes that the worker takes of them before any handle, when they are known. */
  readonly baseline?: number | undefined;
  /** Bytes that may not be used, because others on this device were promised them. Default 0. */
  readonly held?: number;
}

/** Whether the choice of devices is left to us. */
export function isAuto(devices: string | readonly string[]): boolean {
  return String(devices).trim() === "auto";
}

/** Whether a worker's tensors are in the memory of the machine, which all such workers share. */
export function isHostMemory(backend: DeviceBackend): boolean {
  return backend !== "cuda";
}

/**
 * `"cpu:0"`, `"cpu:0,cpu:1"`, `["cuda:0", "reference:0"]`, `"auto"`, which stands for `auto` and, where nothing else is listed,
 * for so many devices of its kind from there on. Each device once.
 */
export function parseDeviceNames(devices: string | readonly string[], auto = "cpu:0", count = 1): DeviceName[] {
  if (isAuto(devices) && count > 1) {
    const { backend, index } = parseDeviceName(auto);
    return Array.from({ length: count }, (_, rank) => parseDeviceName(`${backend}:${index + rank}`));
  }
  const names = (typeof devices === "string" ? [devices] : devices).flatMap((text) => text.split(","));
  const parsed = names.map((name) => parseDeviceName(name.trim() === "auto" ? auto : name.trim()));
  const seen = new Set<string>();
  for (const { name } of parsed) {
    if (seen.has(name)) throw badArgument(`device ${name} is listed twice; "cpu:0,cpu:1" are two workers`);
    seen.add(name);
  }
  if (parsed.length === 0) throw badArgument("no device given; for example cpu:0");
  return parsed;
}

function parseDeviceName(text: string): DeviceName {
  const match = /^([a-z-]+)(?::(\d{1,4}))?$/.exec(text);
  const backend = DEVICE_BACKENDS.find((name) => name === match?.[1]);
  if (match === null || backend === undefined) {
    const known = DEVICE_BACKENDS.map((name) => `${name}:0`).join(", ");
    throw badArgument(`"${text}" is not a device; devices are auto, ${known} and so on`);
  }
  const index = Number(match[2] ?? 0);
  return { name: `${backend}:${index}`, backend, index };
}

/** `"8x24GiB"`, `"24GiB,12GiB"`: sizes of imagined devices, named `device:0` and on. */
export function parseDeviceSizes(text: string): DeviceSize[] {
  const totals = text.split(",").flatMap((part) => {
    const match = /^\s*(?:(\d{1,4})\s*x\s*)?(\S.*)$/i.exec(part);
    if (match === null) throw badArgument(`"${text}" is not a size of a device; write 24GiB`);
    return new Array<number>(Number(match[1] ?? 1)).fill(parseBytes(match[2] ?? ""));
  });
  if (totals.length === 0) throw badArgument(`"${text}" names no device`);
  return totals.map((total, index) => ({ name: `device:${index}`, total }));
}

/** Whether a device list is names of real devices rather than sizes of imagined ones. */
export function isDeviceNames(text: string): boolean {
  return !/^\s*\d/.test(text);
}
