/** 16-bit floats as bits, which JavaScript (before Float16Array) has no type for. Rounding is to nearest, ties to even. */

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

/** IEEE binary16. Beyond +-65504 (after rounding) it is infinite; subnormals are kept. */
export function toFloat16(values: ArrayLike<number>): Uint16Array {
  return Uint16Array.from(values, half);
}

export function fromFloat16(values: Uint16Array): Float32Array {
  return Float32Array.from(values, (value) => {
    const sign = value & 0x8000 ? -1 : 1;
    const exponent = (value >> 10) & 0x1f;
    const fraction = value & 0x3ff;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/** The upper half of a float32. */
export function toBfloat16(values: ArrayLike<number>): Uint16Array {
  return Uint16Array.from(values, (value) => {
    single[0] = value;
    const word = bits[0]!;
    if ((word & 0x7fff_ffff) > 0x7f80_0000) return (word >>> 16) | 0x40; // A NaN stays one.
    return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  });
}

export function fromBfloat16(values: Uint16Array): Float32Array {
  const words = Uint32Array.from(values, (value) => value << 16);
  return new Float32Array(words.buffer);
}

function half(value: number): number {
  single[0] = value;
  const word = bits[0]!;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fff_ffff;
  if (magnitude > 0x7f80_0000) return sign | 0x7e00;
  if (magnitude >= 0x4780_0000) return sign | 0x7c00; // 65536 and more
  if (magnitude >= 0x3880_0000) {
    // A normal half: drop 13 bits of the fraction, exponent bias 127 -> 15. A carry runs into the exponent, as it must.
    const shifted = magnitude - 0x3800_0000;
    return sign | ((shifted + 0xfff + ((shifted >>> 13) & 1)) >>> 13);
  }
  // Subnormal: a whole number of 2^-24.
  const scaled = Math.abs(single[0]!) * 2 ** 24;
  const down = Math.floor(scaled);
  const rest = scaled - down;
  return sign | (rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down);
}
