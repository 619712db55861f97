/** The header of a safetensors file: 8 bytes of length, that much JSON, then the data. */
import { z } from "zod";
import type { SourceType } from "../../../protocol/source-types.ts";
import { OctavoError } from "../../errors.ts";
import { cut, quoted } from "../../quoted.ts";
import { openRegular } from "../../regular-file.ts";
import { sourceBytes } from "./element-types.ts";
import { parseObject } from "./json.ts";
import type { Manifest, TensorEntry } from "./manifest.ts";
import { checkRanges, invalid, type TensorRange } from "./ranges.ts";

/** The reference implementation's own limit. */
const MAX_HEADER_BYTES = 100_000_000;

const LOADABLE: ReadonlyMap<string, SourceType> = new Map([
  ["F64", "F64"],
  ["F32", "F32"],
  ["F16", "F16"],
  ["BF16", "BF16"],
]);
/**
 * Bytes of an element of the other types: buffers such as position ids, or the codes of somebody's quantisation. Whether a
 * model can do without them, its family knows.
 */
const UNLOADABLE: Readonly<Record<string, number>> = {
  BOOL: 1,
  I8: 1,
  U8: 1,
  I16: 2,
  U16: 2,
  I32: 4,
  U32: 4,
  I64: 8,
  U64: 8,
};

const size = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const entrySchema = z.object({
  dtype: z.string().max(16),
  shape: z.array(size).max(8),
  data_offsets: z.tuple([size, size]),
});

/** The tensors of one file, by name, each in one of the two. */
export type FileTensors = Required<Pick<Manifest, "tensors" | "unloadable">>;

/**
 * The tensors of one file. Reads the header only.
 * Throws `OCTAVO_MODEL_FILE_INVALID` when the header lies about itself or the file is truncated, `OCTAVO_UNSUPPORTED_MODEL`
 * for weights in an element type that workers cannot load, `OCTAVO_FILE_NOT_READABLE`.
 */
export async function readSafetensors(file: string): Promise<FileTensors> {
  const { header, dataStart, fileBytes } = await readHeader(file);
  const tensors = new Map<string, TensorEntry>();
  const unloadable = new Map<string, string>();
  const ranges: TensorRange[] = [];
  let end = dataStart;
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const parsed = entrySchema.safeParse(value);
    if (!parsed.success) throw invalid(file, `tensor ${cut(name)}: ${cut(z.prettifyError(parsed.error))}`);
    const { dtype, shape, data_offsets } = parsed.data;
    const [from, to] = data_offsets;
    const type = LOADABLE.get(dtype);
    const elementBytes = Object.hasOwn(UNLOADABLE, dtype) ? UNLOADABLE[dtype] : undefined;
    if (type === undefined && elementBytes === undefined) throw unknownType(file, name, dtype);
    const bytes = type ? sourceBytes(type, shape) : shape.reduce((product, n) => product * n, elementBytes ?? 0);
    if (bytes !== to - from) {
      throw invalid(
        file,
        `tensor ${cut(name)}: ${dtype} [${shape.join(", ")}] takes ${bytes} bytes, its range has ${to - from}`,
      );
    }
    const offset = dataStart + from;
    ranges.push({ name, offset, bytes });
    end = Math.max(end, offset + bytes);
    if (type) tensors.set(name, { name, file, offset, bytes, type, shape });
    else unloadable.set(name, dtype);
  }
  checkRanges(file, ranges, dataStart, fileBytes);
  // The format leaves no bytes over; bytes past the last tensor are a header of another file.
  if (end !== fileBytes) throw invalid(file, `its tensors end at byte ${end}, the file has ${fileBytes}`);
  return { tensors, unloadable };
}

async function readHeader(file: string): Promise<{ header: object; dataStart: number; fileBytes: number }> {
  const { handle, bytes: fileBytes } = await openRegular(file);
  try {
    const start = Buffer.alloc(8);
    const { bytesRead } = await handle.read(start, 0, 8, 0);
    if (bytesRead < 8) throw invalid(file, `${fileBytes} bytes are too few for a safetensors header`);
    const length = start.readBigUInt64LE();
    const room = Math.min(MAX_HEADER_BYTES, fileBytes - 8);
    if (length > BigInt(room)) {
      throw invalid(
        file,
        `its header says it has ${length} bytes; the file has room for ${room}: not safetensors, or truncated`,
      );
    }
    const text = Buffer.alloc(Number(length));
    const read = await handle.read(text, 0, text.length, 8);
    if (read.bytesRead < text.length) throw invalid(file, "it became shorter while it was read");
    return { header: parseObject(file, text), dataStart: 8 + text.length, fileBytes };
  } finally {
    await handle.close();
  }
}

function unknownType(file: string, name: string, dtype: string): OctavoError {
  return new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `${file}: tensor ${cut(name)} has the element type ${quoted(dtype)}; loadable are ${[...LOADABLE.keys()].join(", ")}`,
  );
}
