/** Handles filled from files: in messages small enough to stop between them. */
import { type LoadItem, MAX_PARTS } from "../../protocol/messages.ts";
import { checkKeys } from "../arguments.ts";
import { badArgument } from "../errors.ts";
import { kindOf, quoted } from "../quoted.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { TensorHandle } from "./handle.ts";

export interface LoadRequest {
  /** `int8` quantises rows into `target` (packed codes) and `scale` (float32 [rows]); `float` converts. */
  readonly form: "int8" | "float";
  readonly target: TensorHandle;
  readonly scale?: TensorHandle | undefined;
  /** What is taken of tensors in files, stacked by rows. */
  readonly parts: LoadItem["parts"];
}

export interface LoadTensorsOptions {
  /** In bytes of the files. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Ends the load after the tensors that are being loaded. */
  readonly signal?: AbortSignal | undefined;
}

const LOAD_KEYS = ["form", "target", "scale", "parts"] as const satisfies readonly (keyof LoadRequest)[];

/** Throws `OCTAVO_BAD_ARGUMENT`. What parts are is checked with the message. */
export function checkLoad(items: unknown, options: unknown): void {
  checkKeys(options, ["onProgress", "signal"], "load");
  if (!Array.isArray(items)) throw badArgument(`load takes a list of tensors to fill, not ${kindOf(items)}`);
  for (let index = 0; index < items.length; index++) {
    const item: Partial<LoadRequest> = items[index];
    checkKeys(item, LOAD_KEYS, "load");
    if (item.form !== "int8" && item.form !== "float")
      throw badArgument(`load: form is ${quoted(item.form)}; it takes "int8" or "float"`);
    const { parts } = item;
    if (!Array.isArray(parts) || ![...parts].every(isPart)) {
      const form = "{ file, offset, bytes, type, rows, columns, rowRange?, columnRange? }";
      throw badArgument(`load: parts take a list of tensors in files: ${form}`);
    }
    if (parts.length > MAX_PARTS)
      throw badArgument(`load: a tensor of ${parts.length} parts; it may have ${MAX_PARTS}`);
  }
}

/** Only what is looked at before the message is checked. */
function isPart(part: Partial<LoadRequest["parts"][number]> | null | undefined): boolean {
  const range: unknown = part?.rowRange ?? [];
  return Array.isArray(range) && [part?.bytes, part?.rows, ...range].every(Number.isSafeInteger);
}

/** One `load` message has about this many bytes of files: small enough to stop soon, large enough to cost nothing. */
const LOAD_BATCH_BYTES = 32 * 2 ** 20;
/** And about this many parts at most, so that its header stays within `MAX_HEADER_BYTES`. */
const LOAD_BATCH_PARTS = 4096;

/** Fills handles from files, in order. Throws `OCTAVO_FILE_NOT_READABLE`, `OCTAVO_MODEL_FILE_INVALID`, the signal's reason. */
export async function loadTensors(
  device: DeviceMemory,
  items: readonly LoadRequest[],
  options: LoadTensorsOptions,
): Promise<void> {
  checkLoad(items, options);
  const total = items.reduce((sum, item) => sum + bytesOf(item), 0);
  let finished = 0;
  let batch: LoadItem[] = [];
  let batchBytes = 0;
  let batchParts = 0;
  const flush = async () => {
    options.signal?.throwIfAborted();
    if (batch.length > 0) {
      await device.request({ kind: "load", items: batch }, undefined, {
        onProgress: (done) => options.onProgress?.(finished + done, total),
      });
    }
    finished += batchBytes;
    options.onProgress?.(finished, total);
    batch = [];
    batchBytes = 0;
    batchParts = 0;
  };
  for (const item of items) {
    const { form, target, scale, parts } = item;
    const handle = device.own(target).id;
    batch.push({ form, handle, ...(scale === undefined ? {} : { scale: device.own(scale).id }), parts: [...parts] });
    batchBytes += bytesOf(item);
    batchParts += parts.length;
    if (batchBytes >= LOAD_BATCH_BYTES || batchParts >= LOAD_BATCH_PARTS) await flush();
  }
  await flush();
}

/** Of the rows taken: the worker counts progress alike. */
function bytesOf(item: LoadRequest): number {
  return item.parts.reduce((sum, { bytes, rows, rowRange }) => {
    const [from = 0, to = rows] = rowRange ?? [];
    return sum + Math.floor(bytes / Math.max(1, rows)) * (to - from);
  }, 0);
}
