/** Bytes between this process and a worker's handles: small ones as frames, big ones through shared memory where there is some. */
import { readSync, writeSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { SHARED_MEMORY_THRESHOLD } from "../../protocol/messages.ts";
import { OctavoError } from "../errors.ts";
import { MAX_FRAME_BYTES } from "../pool/channel.ts";
import type { Segment, SharedMemory } from "../pool/shared-memory.ts";
import type { Worker } from "../pool/worker.ts";

/** One message's share of a big write: the worker copies one piece while this process fills the next. */
const PIECE_BYTES = 8 * 2 ** 20;
const PIECES_IN_FLIGHT = 3;

/** `data` must not change before this resolves. */
export async function writeBytes(
  worker: Worker,
  shared: SharedMemory | undefined,
  handle: number,
  data: Uint8Array,
  offset: number,
): Promise<void> {
  if (data.byteLength < SHARED_MEMORY_THRESHOLD) {
    // A copy, because the socket reads it later.
    await worker.request({ kind: "write", handle, offset }, data.slice());
    return;
  }
  const inFlight: Promise<unknown>[] = [];
  for (let start = 0; start < data.byteLength; start += PIECE_BYTES) {
    const piece = data.subarray(start, start + PIECE_BYTES);
    if (inFlight.length >= PIECES_IN_FLIGHT) await inFlight.shift();
    const sent = writePiece(worker, shared, handle, piece, offset + start);
    sent.catch(() => {}); // Whoever awaits it sees the error.
    inFlight.push(sent);
  }
  await Promise.all(inFlight);
}

async function writePiece(
  worker: Worker,
  shared: SharedMemory | undefined,
  handle: number,
  piece: Uint8Array,
  offset: number,
): Promise<void> {
  const segment = shared?.take(piece.byteLength);
  try {
    if (segment !== undefined && fill(segment, piece)) {
      const place = { path: segment.path, offset: 0, bytes: piece.byteLength };
      await worker.request({ kind: "write", handle, offset, shared: place });
    } else {
      await worker.request({ kind: "write", handle, offset }, piece.slice());
    }
  } finally {
    if (segment !== undefined) shared?.give(segment);
  }
}

/** False when the machine's shared memory is full by now. */
function fill(segment: Segment, piece: Uint8Array): boolean {
  try {
    for (let done = 0; done < piece.byteLength; ) {
      done += writeSync(segment.fd, piece, done, piece.byteLength - done, done);
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") return false;
    throw error;
  }
}

/** The whole content of a handle, `bytes` long, in memory of its own. */
export async function readBytes(
  worker: Worker,
  shared: SharedMemory | undefined,
  handle: number,
  bytes: number,
): Promise<ArrayBuffer> {
  const segment = bytes < SHARED_MEMORY_THRESHOLD ? undefined : shared?.take(bytes);
  if (segment === undefined) return readFrame(worker, handle, bytes);
  try {
    await worker.request({ kind: "read", handle, shared: { path: segment.path, offset: 0, bytes } });
    return await takeOut(segment, bytes);
  } catch (error) {
    // The worker could not write it: shared memory is full by now.
    if (error instanceof OctavoError && error.code === "OCTAVO_FILE_NOT_READABLE") {
      return await readFrame(worker, handle, bytes);
    }
    throw error;
  } finally {
    shared?.give(segment);
  }
}

async function readFrame(worker: Worker, handle: number, bytes: number): Promise<ArrayBuffer> {
  if (bytes > MAX_FRAME_BYTES) {
    const text = `${worker.name}: ${bytes} bytes cannot be read as one message (at most ${MAX_FRAME_BYTES}), and /dev/shm has no room for them; make it larger (docker run --shm-size)`;
    throw new OctavoError("OCTAVO_OUT_OF_MEMORY", text);
  }
  const { payload } = await worker.request({ kind: "read", handle });
  if (payload?.byteLength !== bytes) {
    const text = `${worker.name}: read of handle ${handle} brought ${payload?.byteLength ?? 0} bytes, not ${bytes}`;
    throw new OctavoError("OCTAVO_PROTOCOL", text);
  }
  return new Uint8Array(payload).buffer; // A copy: a received frame is external memory.
}

async function takeOut(segment: Segment, bytes: number): Promise<ArrayBuffer> {
  const target = new Uint8Array(bytes);
  for (let done = 0; done < bytes; ) {
    done += readSync(segment.fd, target, done, Math.min(PIECE_BYTES, bytes - done), done);
    if (done < bytes) await setImmediate(); // Gigabytes must not hold up everything else.
  }
  return target.buffer;
}
