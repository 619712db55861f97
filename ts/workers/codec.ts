/**
 * Headers between bytes and values: the only module that knows msgpack-lite.
 *
 * What comes in is walked once before msgpack-lite sees it, because msgpack-lite by itself ignores trailing bytes, lets a
 * key named `__proto__` replace a prototype, keeps the last of two equal keys, and does not tell 1.0 from 1. Then the
 * schema of `protocol/messages.ts` decides. Every refusal is `OCTAVO_PROTOCOL`, before any effect.
 */
import { Int64BE, Uint64BE } from "int64-buffer";
import msgpack from "msgpack-lite";
import type { z } from "zod";
import {
  type Hello,
  hello,
  MAX_HEADER_BYTES,
  type Reply,
  type RequestMessage,
  replies,
  requests,
} from "../../protocol/messages.ts";
import { OctavoError } from "../errors.ts";
import { checkStructure } from "./structure.ts";

/** No preset: nothing a peer sends may become a RegExp, an Error or a typed array. Maps keep `__proto__` an ordinary key. */
const codec = msgpack.createCodec({ usemap: true });

/** Validates and encodes; keys come in the schema's order, which lets the worker accept them without a second look. */
export function encodeRequest(request: RequestMessage): Buffer {
  const parsed = requests.safeParse(request);
  if (!parsed.success) throw refuse(`cannot send this ${String(request.kind)}`, parsed.error);
  const bytes = encodeValue(parsed.data);
  if (bytes.length > MAX_HEADER_BYTES)
    throw new OctavoError("OCTAVO_PROTOCOL", `a ${request.kind} of ${bytes.length} bytes; at most ${MAX_HEADER_BYTES}`);
  return bytes;
}

export function decodeReply(bytes: Uint8Array): Reply {
  return decode(bytes, replies, "reply");
}

export function decodeHello(bytes: Uint8Array): Hello {
  return decode(bytes, hello, "hello");
}

/** The bytes of a value that was made by zod and is ours to change. Exported for the golden vectors. */
export function encodeValue(value: unknown): Buffer {
  return msgpack.encode(widen(value), { codec });
}

function decode<T extends z.ZodType>(bytes: Uint8Array, schema: T, what: string): z.output<T> {
  if (bytes.length > MAX_HEADER_BYTES)
    throw new OctavoError("OCTAVO_PROTOCOL", `a ${what} of ${bytes.length} bytes; at most ${MAX_HEADER_BYTES}`);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries = checkStructure(buffer);
  const counted = { entries: 0 };
  const value = plain(msgpack.decode(buffer, { codec }), counted);
  // A Map holds one of two equal keys.
  if (counted.entries !== entries) throw new OctavoError("OCTAVO_PROTOCOL", `a ${what} with a key given twice`);
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw refuse(`a ${what} that does not fit its schema`, parsed.error);
  return parsed.data;
}

/** Maps to objects without a prototype. */
function plain(value: unknown, counted: { entries: number }): unknown {
  if (value instanceof Map) {
    const object: Record<string, unknown> = Object.create(null);
    counted.entries += value.size;
    for (const [key, item] of value) object[key as string] = plain(item, counted);
    return object;
  }
  return Array.isArray(value) ? value.map((item) => plain(item, counted)) : value;
}

/** msgpack-lite writes integers outside int32 and uint32 as floats unless they come as 64-bit objects. In place. */
function widen(value: unknown): unknown {
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || (value >= -0x8000_0000 && value <= 0xffff_ffff)) return value;
    return value > 0 ? new Uint64BE(value) : new Int64BE(value);
  }
  if (typeof value !== "object" || value === null) return value;
  const container = value as Record<string, unknown>;
  for (const key of Object.keys(container)) {
    const item = container[key];
    if (item === undefined) delete container[key];
    else if (typeof item === "number" || typeof item === "object") container[key] = widen(item);
  }
  return container;
}

function refuse(what: string, error: z.ZodError): OctavoError {
  const [first] = error.issues;
  const where = first === undefined || first.path.length === 0 ? "" : ` at ${first.path.join(".")}`;
  return new OctavoError("OCTAVO_PROTOCOL", `${what}${where}: ${first?.message ?? "invalid"}`, { cause: error });
}
