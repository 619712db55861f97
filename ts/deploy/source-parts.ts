/** What parameters take of a model's tensors, as the byte ranges of files that a worker reads. */
import type { LoadItem } from "../../protocol/messages.ts";
import { OctavoError } from "../errors.ts";
import type { Manifest } from "../model/source/manifest.ts";
import type { Range, TensorPart } from "../program/program.ts";
import { elementCount } from "../program/tensor-bytes.ts";

/** Throws `OCTAVO_MODEL_INCOMPLETE` or `OCTAVO_SHAPE_MISMATCH` for what is not inside a tensor of the files. */
export function sourceParts(parts: readonly TensorPart[], { path, tensors }: Manifest): LoadItem["parts"] {
  return parts.map((part) => {
    const name = part.tensor;
    const entry = tensors.get(name);
    if (!entry) throw new OctavoError("OCTAVO_MODEL_INCOMPLETE", `${path}: the tensor ${name} is missing`);
    const { file, offset, bytes, type, shape } = entry;
    const rows = elementCount(shape.slice(0, -1));
    const columns = shape.at(-1) ?? 1;
    const inside = (what: string, [from, to]: Range, size: number) => {
      if (Number.isSafeInteger(from) && Number.isSafeInteger(to) && 0 <= from && from < to && to <= size) return;
      const text = `${path}: ${what} ${from} to ${to} are not inside ${name} [${shape.join(", ")}]: ${rows} rows of ${columns}`;
      throw new OctavoError("OCTAVO_SHAPE_MISMATCH", text);
    };
    if (part.rows) inside("rows", part.rows, rows);
    if (part.columns) inside("columns", part.columns, columns);
    return {
      ...{ file, name, offset, bytes, type, rows, columns },
      ...(part.rows && { rowRange: [...part.rows] }),
      ...(part.columns && { columnRange: [...part.columns] }),
    };
  });
}
