/** Byte ranges of tensors in one file, held against each other. */
import { OctavoError } from "../../errors.ts";
import { cut } from "../../quoted.ts";

export interface TensorRange {
  readonly name: string;
  /** Absolute, in bytes. */
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Every range inside [start, size) of the file, and no byte in two of them. Throws `OCTAVO_MODEL_FILE_INVALID`. A worker
 * maps these ranges; one that lies would read other data as weights, or end the process.
 */
export function checkRanges(file: string, ranges: readonly TensorRange[], start: number, size: number): void {
  const sorted = [...ranges].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = start;
  let before = "the header";
  for (const { name, offset, bytes } of sorted) {
    if (!Number.isSafeInteger(offset) || offset + bytes > size) {
      throw invalid(
        file,
        `tensor ${cut(name)} lies at bytes ${offset} to ${offset + bytes}, the file has ${size}: it is truncated or damaged; fetch it again`,
      );
    }
    if (offset < end)
      throw invalid(file, `tensor ${cut(name)} at byte ${offset} overlaps ${before}, which ends at ${end}`);
    end = offset + bytes;
    before = `tensor ${cut(name)}`;
  }
}

export function invalid(file: string, message: string, options?: ErrorOptions): OctavoError {
  return new OctavoError("OCTAVO_MODEL_FILE_INVALID", `${file}: ${message}`, options);
}
