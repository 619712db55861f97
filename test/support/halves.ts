/** float32 -> 16-bit floats, as bits. Written for tests alone, so that they do not check the product with itself. */

const word = new DataView(new ArrayBuffer(4));

/** Nearest, ties to even. For finite numbers. */
export function toBfloat16(value: number): number {
  word.setFloat32(0, value);
  const bits = word.getUint32(0);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Nearest, ties to even; what is too large becomes infinity. */
export function toFloat16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  // Below 2^-14 numbers are multiples of 2^-24; above, of 2^(exponent - 10).
  const exponent = size < 2 ** -14 ? -14 : Math.floor(Math.log2(size));
  const unit = 2 ** (exponent - 10);
  const steps = roundEven(size / unit);
  return sign | (steps + (size < 2 ** -14 ? 0 : (exponent + 14) * 1024));
}

function roundEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}
