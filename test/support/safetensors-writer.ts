/** Writes safetensors files. */
import { writeFile } from "node:fs/promises";
import { toBfloat16, toFloat16 } from "./halves.ts";

export type FloatType = "F32" | "F16" | "BF16";

export interface FloatTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Row-major. */
  readonly data: Float32Array;
}

export async function writeSafetensors(file: string, type: FloatType, tensors: readonly FloatTensor[]): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    const bytes = encode(type, data);
    header[name] = { dtype: type, shape, data_offsets: [offset, offset + bytes.length] };
    parts.push(bytes);
    offset += bytes.length;
  }
  const json = JSON.stringify(header);
  // Spaces to a multiple of 8, so that the data is aligned.
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeFile(file, Buffer.concat([length, text, ...parts]));
}

function encode(type: FloatType, data: Float32Array): Uint8Array {
  if (type === "F32") return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const halves = Uint16Array.from(data, type === "F16" ? toFloat16 : toBfloat16);
  return new Uint8Array(halves.buffer);
}
