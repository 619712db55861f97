/** Parts of parameters: what of a file's tensor, of a constant, of a state a rank has. Pure. */
import type { Parameter, Range, TensorPart } from "../program.ts";

/**
 * Whether programs have one form of it only: memory that ops write, and codes with their scales, which one load writes together.
 * Of others a program may have several parts, such as an embedding's columns and, for the head, its rows.
 */
export function hasOneForm({ source }: Parameter): boolean {
  return source.type === "state" || source.type === "scale" || (source.type === "tensors" && source.form === "int8");
}

/** Whether a part along this dimension can be said. */
export function canBeCut({ shape, source }: Parameter, dimension: number): boolean {
  if (dimension >= shape.length) return false;
  if (source.type !== "tensors") return true;
  const rank = shape.length;
  if (rank === 1) return source.parts.length === 1;
  // Which row comes from which of several tensors, a program does not say.
  return rank === 2 && (dimension === 1 || source.parts.length === 1);
}

/** "w[0..288]", "w[, 0..288]": a name of its own, so that no other program of the same rank takes it for the whole or for another part. */
function partName(name: string, dimension: number, [from, to]: Range): string {
  return `${name}[${", ".repeat(dimension)}${from}..${to}]`;
}

/** The elements `range` along a dimension. */
export function cutParameter(parameter: Parameter, dimension: number, range: Range): Parameter {
  const { name, shape, source } = parameter;
  const cut = { ...parameter, shape: shape.with(dimension, range[1] - range[0]) };
  const named = (other: string) => partName(other, dimension, range);
  switch (source.type) {
    case "state":
      return cut; // Each rank has its own, and fills it.
    case "scale":
      return { ...cut, name: named(name), source: { ...source, of: named(source.of) } };
    case "constant":
      return { ...cut, name: named(name), source: { ...source, data: elements(source.data, shape, dimension, range) } };
    case "tensors": {
      // A vector is one row of its tensor.
      const along = shape.length > 1 && dimension === 0 ? "rows" : "columns";
      const parts = source.parts.map((part): TensorPart => ({ ...part, [along]: inside(part[along], range) }));
      const scale = source.scale === undefined ? {} : { scale: named(source.scale) };
      return { ...cut, name: named(name), source: { ...source, parts, ...scale } };
    }
  }
}

function inside(whole: Range | undefined, [from, to]: Range): Range {
  const first = whole?.[0] ?? 0;
  return [first + from, first + to];
}

function elements<T extends Float32Array | Int32Array>(
  data: T,
  shape: readonly number[],
  dimension: number,
  [from, to]: Range,
): T {
  const inner = shape.slice(dimension + 1).reduce((product, size) => product * size, 1);
  const row = shape[dimension]! * inner;
  const width = (to - from) * inner;
  const result = data.slice(0, (data.length / row) * width) as T;
  for (let at = 0; at * width < result.length; at++) {
    const start = at * row + from * inner;
    result.set(data.subarray(start, start + width), at * width);
  }
  return result;
}
