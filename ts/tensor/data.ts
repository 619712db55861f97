/** Host data of tensors: which typed array holds which dtype, and conversions. 16-bit floats are their bits in a Uint16Array. */
import type { DType } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";
import { elementCount } from "../memory/bytes.ts";
import { TYPED_ARRAYS } from "../program/payload.ts";
import { toBfloat16, toFloat16 } from "./float16.ts";

export interface HostArrays {
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int8: Int8Array;
  int32: Int32Array;
  int64: BigInt64Array;
}
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
  if (data instanceof BigInt64Array) return "int64";
  const what = data instanceof Uint16Array ? "a Uint16Array" : nameOf(data);
  const text = `no dtype follows from ${what}; a Uint16Array takes dtype float16 or bfloat16`;
  throw new OctavoError("OCTAVO_DTYPE_MISMATCH", text);
}

/**
 * `data` as the typed array of `dtype`, converted where nothing is lost but float precision (rounded to nearest even).
 * Throws `OCTAVO_DTYPE_MISMATCH`, `OCTAVO_SHAPE_MISMATCH`, `OCTAVO_BAD_ARGUMENT`.
 */
export function convert<D extends DType>(data: HostData, dtype: D, shape: readonly number[]): HostArray<D> {
  checkShape(shape);
  const wanted = elementCount(shape);
  if (data?.length !== wanted) {
    const text = `${data?.length} elements do not fill the shape [${shape.join(", ")}], which has ${wanted}`;
    throw new OctavoError("OCTAVO_SHAPE_MISMATCH", text);
  }
  const array = TYPED_ARRAYS[dtype];
  if (array === undefined) {
    throw new OctavoError(
      "OCTAVO_DTYPE_MISMATCH",
      `no dtype ${dtype}; there are ${Object.keys(TYPED_ARRAYS).join(", ")}`,
    );
  }
  if (data instanceof array) return data as HostArray<D>;
  if (!Array.isArray(data) && !(data instanceof Float32Array && /^b?float16$/.test(dtype))) {
    throw new OctavoError("OCTAVO_DTYPE_MISMATCH", `${nameOf(data)} is not ${dtype}; give a ${array.name} or numbers`);
  }
  const numbers = data as readonly number[] | Float32Array;
  if (dtype === "float16") return toFloat16(numbers) as HostArray<D>;
  if (dtype === "bfloat16") return toBfloat16(numbers) as HostArray<D>;
  if (dtype === "float32") return Float32Array.from(numbers) as HostArray<D>;
  return integers(numbers as readonly number[], dtype) as HostArray<D>;
}

/** Throws `OCTAVO_SHAPE_MISMATCH` for a shape that is none. */
export function checkShape(shape: readonly number[]): void {
  const valid = Array.isArray(shape) && shape.length <= 8 && shape.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (valid && Number.isSafeInteger(elementCount(shape) * 8)) return;
  const text = `shape ${JSON.stringify(shape)}: it takes up to 8 whole numbers from 0 on`;
  throw new OctavoError("OCTAVO_SHAPE_MISMATCH", text);
}

const LIMITS = { int8: 2 ** 7, int32: 2 ** 31, int64: Number.MAX_SAFE_INTEGER } as const;

function integers(numbers: readonly number[], dtype: Exclude<DType, `${string}float${string}`>) {
  const limit = LIMITS[dtype];
  const wrong = numbers.find((n) => !Number.isInteger(n) || n < -limit || n >= limit);
  if (wrong !== undefined) throw new OctavoError("OCTAVO_DTYPE_MISMATCH", `${wrong} is not an ${dtype}`);
  if (dtype === "int64") return BigInt64Array.from(numbers, (n) => BigInt(n));
  return dtype === "int8" ? Int8Array.from(numbers) : Int32Array.from(numbers);
}

function nameOf(data: unknown): string {
  return data === null || data === undefined ? String(data) : `a ${(data as object).constructor?.name ?? typeof data}`;
}
