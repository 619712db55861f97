/** Devices that cross-language tests run on. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../ts/pool/python.ts";

const hasCpu = existsSync(join(packageRoot(), "kernels/octavo_kernels/cpu/backend.py"));

/** The fast backend where it is there, and the oracle. */
export const DEVICES: readonly string[] = hasCpu ? ["cpu:0", "reference:0"] : ["reference:0"];
export const DEVICE = DEVICES[0]!;
