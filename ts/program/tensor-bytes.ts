/** How many bytes a tensor takes. Pure. Workers use the same formula (`octavo_kernels/tensor.py`). */
import { BYTES_PER_ELEMENT, type DType, type Layout, PACKED_COLUMNS, PACKED_ROWS } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";

/** Every allocation starts at, and is rounded up to, a multiple of this many bytes: a cache line. */
export const ALLOCATION_ALIGNMENT = 64;

/** The smallest multiple of `multiple` that is at least `n`. */
export function roundUp(n: number, multiple: number): number {
  return Math.ceil(n / multiple) * multiple;
}

/** Product of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Bytes of the data itself, row-major and without padding: what `read` returns and `write` takes. */
export function contentBytes(dtype: DType, shape: readonly number[]): number {
  return elementCount(shape) * BYTES_PER_ELEMENT[dtype];
}

/** Bytes that a tensor takes on its device: padding included, a multiple of 64, at least 64. */
export function allocatedBytes(dtype: DType, layout: Layout, shape: readonly number[]): number {
  return Math.max(
    ALLOCATION_ALIGNMENT,
    roundUp(storedElements(dtype, layout, shape) * BYTES_PER_ELEMENT[dtype], ALLOCATION_ALIGNMENT),
  );
}

function storedElements(dtype: DType, layout: Layout, shape: readonly number[]): number {
  if (layout === "plain") return elementCount(shape);
  const [rows, columns] = shape;
  if (shape.length !== 2 || rows === undefined || columns === undefined)
    throw new OctavoError("OCTAVO_SHAPE_MISMATCH", `a packed tensor has the shape [N, K], not [${shape.join(", ")}]`);
  return roundUp(rows, PACKED_ROWS) * (dtype === "int8" ? roundUp(columns, PACKED_COLUMNS) : columns);
}
