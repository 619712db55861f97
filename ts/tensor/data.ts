/** Host data of tensors: which typed array holds which dtype, and conversions. 16-bit floats are their bits in a Uint16Array. */
import type { DType } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";
import { TYPED_ARRAYS } from "../program/payload.ts";
import { elementCount } from "../program/tensor-bytes.ts";
import { kindOf, quoted } from "../quoted.ts";
import { toBfloat16, toFloat16 } from "./float16.ts";

export interface HostArrays {
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int8: Int8Array;
  int16: Int16Array;
  int32: Int32Array;
  int64: BigInt64Array;
}
type FloatType = "float32" | "float16" | "bfloat16";
type IntegerType = Exclude<DType, FloatType>;
export type HostArray<D extends DType = DType> = HostArrays[D];
/** What `tensor` takes. Numbers and Float32Array are converted to the dtype that is asked for. */
export type HostData = HostArray | readonly number[];

/** The bytes of a tensor as the typed array of its dtype, without a copy; `bytes` must begin at a multiple of 8. */
export function viewAs<D extends DType>(dtype: D, bytes: ArrayBuffer): HostArray<D> {
  return new TYPED_ARRAYS[dtype](bytes) as HostArray<D>;
}

/** The dtype of data when none is asked for. Throws `OCTAVO_DTYPE_MISMATCH` for a Uint16Array, which may be either. */
export function dtypeOf(data: HostData): DType {
  if (Array.isArray(data) || data instanceof Float32Array) return "float32";
  if (data instanceof Int32Array) return "int32";
  if (data instanceof Int8Array) return "int8";
  if (data instanceof Int16Array) return "int16";
  if (data instanceof BigInt64Array) return "int64";
  const hint =
    data instanceof Uint16Array ? "it takes dtype float16 or bfloat16" : `it takes ${TAKEN}, or a list of numbers`;
  throw new OctavoError("OCTAVO_DTYPE_MISMATCH", `no dtype follows from ${kindOf(data)}; ${hint}`);
}

const TAKEN = "a Float32Array, Uint16Array (16-bit floats as bits), Int8Array, Int16Array, Int32Array, BigInt64Array";

/** Throws `OCTAVO_DTYPE_MISMATCH` for a dtype that is none. */
export function checkDtype(dtype: unknown): asserts dtype is DType {
  if (typeof dtype === "string" && Object.hasOwn(TYPED_ARRAYS, dtype)) return;
  const text = `no dtype ${quoted(dtype)}; there are ${Object.keys(TYPED_ARRAYS).join(", ")}`;
  throw new OctavoError("OCTAVO_DTYPE_MISMATCH", text);
}

/**
 * `data` as the typed array of `dtype`, converted where nothing is lost but float precision (rounded to nearest even). NaN
 * and infinities stay what they are; a finite number beyond the dtype, and what is no number, are refused with their place.
 * Throws `OCTAVO_DTYPE_MISMATCH`, `OCTAVO_SHAPE_MISMATCH`, `OCTAVO_BAD_ARGUMENT`.
 */
export function convert<D extends DType>(data: HostData, dtype: D, shape: readonly number[]): HostArray<D> {
  checkShape(shape);
  checkDtype(dtype);
  const array = TYPED_ARRAYS[dtype];
  const converted = Array.isArray(data) || (data instanceof Float32Array && dtype.endsWith("float16"));
  if (!converted && !(data instanceof array))
    throw new OctavoError("OCTAVO_DTYPE_MISMATCH", `${kindOf(data)} is not ${dtype}; give a ${array.name} or numbers`);
  const wanted = elementCount(shape);
  if (data.length !== wanted) {
    const text = `${data.length} elements do not fill the shape [${shape.join(", ")}], which has ${wanted}`;
    throw new OctavoError("OCTAVO_SHAPE_MISMATCH", text);
  }
  if (!converted) return data as HostArray<D>;
  const numbers = data as readonly number[] | Float32Array;
  if (Array.isArray(numbers)) checkNumbers(numbers, dtype);
  if (!dtype.includes("float")) return integers(numbers as readonly number[], dtype as IntegerType) as HostArray<D>;
  return floats(numbers, dtype as FloatType) as HostArray<D>;
}

/** Each element is a number: not a string that looks like one, not `undefined`, not a hole. */
function checkNumbers(numbers: readonly unknown[], dtype: DType): void {
  for (let index = 0; index < numbers.length; index++) {
    const value = numbers[index];
    if (typeof value === "number") continue;
    const what = index in numbers ? quoted(value) : "not there";
    const hint = typeof value === "bigint" ? "; int64 takes a BigInt64Array, or numbers" : "";
    throw new OctavoError("OCTAVO_DTYPE_MISMATCH", `element ${index} is ${what}, and no number for ${dtype}${hint}`);
  }
}

/** Throws `OCTAVO_SHAPE_MISMATCH` for a shape that is none. */
export function checkShape(shape: readonly number[]): void {
  // Spread: `every` leaves holes out.
  const valid = Array.isArray(shape) && shape.length <= 8 && [...shape].every((n) => Number.isSafeInteger(n) && n >= 0);
  if (valid && Number.isSafeInteger(elementCount(shape) * 8)) return;
  if (valid)
    throw new OctavoError(
      "OCTAVO_SHAPE_MISMATCH",
      `shape ${quoted(shape)}: ${elementCount(shape)} elements are more than any device holds`,
    );
  throw new OctavoError("OCTAVO_SHAPE_MISMATCH", `shape ${quoted(shape)}: it takes up to 8 whole numbers from 0 on`);
}

/** 16-bit floats as bits: infinity, both signs. */
const INFINITIES = { float16: 0x7c00, bfloat16: 0x7f80 } as const;

function floats(numbers: readonly number[] | Float32Array, dtype: FloatType): Float32Array | Uint16Array {
  const rounded =
    dtype === "float16" ? toFloat16(numbers) : dtype === "bfloat16" ? toBfloat16(numbers) : Float32Array.from(numbers);
  for (let index = 0; index < rounded.length; index++) {
    const value = rounded[index]!;
    const infinite = dtype === "float32" ? Math.abs(value) === Infinity : (value & 0x7fff) === INFINITIES[dtype];
    if (infinite && Number.isFinite(numbers[index])) {
      throw new OctavoError(
        "OCTAVO_DTYPE_MISMATCH",
        `element ${index} is ${numbers[index]}, which ${dtype} does not reach`,
      );
    }
  }
  return rounded;
}

const LIMITS = { int8: 2 ** 7, int16: 2 ** 15, int32: 2 ** 31, int64: Number.MAX_SAFE_INTEGER } as const;

function integers(numbers: readonly number[], dtype: IntegerType) {
  const limit = LIMITS[dtype];
  const wrong = numbers.findIndex((n) => !Number.isInteger(n) || n < -limit || n >= limit);
  if (wrong >= 0)
    throw new OctavoError("OCTAVO_DTYPE_MISMATCH", `element ${wrong} is ${numbers[wrong]}, not an ${dtype}`);
  if (dtype === "int64") return BigInt64Array.from(numbers, (n) => BigInt(n));
  return TYPED_ARRAYS[dtype].from(numbers);
}
