/** The payload of a step: arrays one after the other, each at the next multiple of 64 bytes. */
import { PAYLOAD_ALIGNMENT, type Sizes } from "../../protocol/messages.ts";
import { BYTES_PER_ELEMENT, type DType } from "../../protocol/ops.ts";
import { badArgument, OctavoError } from "../errors.ts";
import type { LoweredProgram, PayloadArray } from "./lower.ts";
import { elementsOf } from "./shapes.ts";

/** 16-bit floats are shown as their bits. */
export type PayloadData = Float32Array | Int32Array | Uint16Array | Int8Array | Int16Array | BigInt64Array;

/** How host memory holds each dtype; 16-bit floats as their bits. */
export const TYPED_ARRAYS = {
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
} as const satisfies Record<DType, unknown>;

function align(offset: number): number {
  return Math.ceil(offset / PAYLOAD_ALIGNMENT) * PAYLOAD_ALIGNMENT;
}

function bytesOf({ dtype, shape }: PayloadArray, sizes: Sizes): number {
  return elementsOf(shape, sizes) * BYTES_PER_ELEMENT[dtype];
}

/**
 * A new zeroed buffer for all inputs of a step, and its arrays by name, to be filled in place. New each time, because a
 * sent buffer must not be refilled.
 */
export function inputArrays(
  lowered: Pick<LoweredProgram, "inputs">,
  sizes: Sizes,
): { readonly payload: Uint8Array; readonly arrays: Record<string, PayloadData> } {
  let total = 0;
  for (const input of lowered.inputs) total = align(total) + bytesOf(input, sizes);
  const payload = new Uint8Array(total);
  const arrays: Record<string, PayloadData> = {};
  let offset = 0;
  for (const input of lowered.inputs) {
    offset = align(offset);
    const elements = elementsOf(input.shape, sizes);
    arrays[input.name] = new TYPED_ARRAYS[input.dtype](payload.buffer, offset, elements);
    offset += elements * BYTES_PER_ELEMENT[input.dtype];
  }
  return { payload, arrays };
}

/**
 * The same from arrays that exist already, copied.
 * Throws `OCTAVO_BAD_ARGUMENT` for a missing array, `OCTAVO_DTYPE_MISMATCH`, `OCTAVO_SHAPE_MISMATCH`.
 */
export function packInputs(
  lowered: Pick<LoweredProgram, "inputs">,
  sizes: Sizes,
  arrays: Readonly<Record<string, PayloadData>>,
): Uint8Array {
  const target = inputArrays(lowered, sizes);
  for (const input of lowered.inputs) {
    const data = arrays[input.name];
    if (!data) throw badArgument(`step: the input ${input.name} is missing`);
    if (!(data instanceof TYPED_ARRAYS[input.dtype]))
      throw new OctavoError(
        "OCTAVO_DTYPE_MISMATCH",
        `step: ${input.name} is a ${data.constructor.name}; ${input.dtype} takes ${TYPED_ARRAYS[input.dtype].name}`,
      );
    const place = target.arrays[input.name]!;
    if (data.length !== place.length)
      throw new OctavoError(
        "OCTAVO_SHAPE_MISMATCH",
        `step: ${input.name} has ${data.length} elements; [${input.shape.join(", ")}] has ${place.length}`,
      );
    (place as Float32Array).set(data as Float32Array);
  }
  return target.payload;
}

/** The outputs of a step by name, as views of the payload where its alignment allows that. */
export function unpackOutputs(
  lowered: Pick<LoweredProgram, "outputs">,
  sizes: Sizes,
  payload: Uint8Array,
): Record<string, PayloadData> {
  const arrays: Record<string, PayloadData> = {};
  let offset = 0;
  for (const output of lowered.outputs) {
    offset = align(offset);
    const bytes = bytesOf(output, sizes);
    if (offset + bytes > payload.byteLength)
      throw new OctavoError(
        "OCTAVO_PROTOCOL",
        `step: the reply has ${payload.byteLength} bytes; ${output.name} ends at ${offset + bytes}`,
      );
    const start = payload.byteOffset + offset;
    const size = BYTES_PER_ELEMENT[output.dtype];
    const aligned = start % size === 0;
    const buffer = aligned ? payload.buffer : payload.slice(offset, offset + bytes).buffer;
    arrays[output.name] = new TYPED_ARRAYS[output.dtype](buffer as ArrayBuffer, aligned ? start : 0, bytes / size);
    offset += bytes;
  }
  return arrays;
}
