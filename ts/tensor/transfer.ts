/** Bytes between this process and a worker's handles: small ones as frames, big ones through shared memory where there is some. */
import { readSync, writeSync } from "node:fs";
import { SHARED_MEMORY_THRESHOLD } from "../../protocol/messages.ts";
import type { Layout } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";
import { MAX_FRAME_BYTES } from "../workers/channel.ts";
import type { RequestBody } from "../workers/requests.ts";
import type { Segment, SharedMemory } from "../workers/shared-memory.ts";
import type { Worker } from "../workers/worker.ts";

/** One message's share of a big write: the worker copies one piece while this process fills the next. */
const PIECE_BYTES = 8 * 2 ** 20;
const PIECES_IN_FLIGHT = 3;

/** `data` must not change before this resolves. */
export async function writeTensor(
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
      const place = { offset: segment.offset, bytes: piece.byteLength };
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
      done += writeSync(segment.fd, piece, done, piece.byteLength - done, segment.offset + done);
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") return false;
    throw error;
  }
}

/** The whole content of a handle, `bytes` long, in memory of its own. A packed one comes in one message. */
export async function readTensor(
  worker: Worker,
  shared: SharedMemory | undefined,
  handle: number,
  bytes: number,
  layout: Layout,
): Promise<ArrayBuffer> {
  const target = new Uint8Array(bytes);
  if (layout === "packed" || bytes < SHARED_MEMORY_THRESHOLD) {
    await readPiece(worker, shared, { kind: "read", handle }, target);
    return target.buffer;
  }
  // The worker fills one piece while this process takes out another.
  const inFlight: Promise<void>[] = [];
  for (let offset = 0; offset < bytes; offset += PIECE_BYTES) {
    const piece = target.subarray(offset, offset + PIECE_BYTES);
    if (inFlight.length >= PIECES_IN_FLIGHT) await inFlight.shift();
    const taken = readPiece(worker, shared, { kind: "read", handle, offset, bytes: piece.byteLength }, piece);
    taken.catch(() => {}); // Whoever awaits it sees the error.
    inFlight.push(taken);
  }
  await Promise.all(inFlight);
  return target.buffer;
}

type ReadRequest = Extract<RequestBody, { kind: "read" }>;

async function readPiece(
  worker: Worker,
  shared: SharedMemory | undefined,
  request: ReadRequest,
  target: Uint8Array,
): Promise<void> {
  const bytes = target.byteLength;
  const segment = bytes < SHARED_MEMORY_THRESHOLD ? undefined : shared?.take(bytes);
  if (segment === undefined) return readFrame(worker, request, target);
  try {
    const { reply } = await worker.request({ ...request, shared: { offset: segment.offset, bytes } });
    checkSize(worker, request, reply.bytes, bytes);
    for (let done = 0; done < bytes; ) done += readSync(segment.fd, target, done, bytes - done, segment.offset + done);
  } catch (error) {
    // The worker could not write it: shared memory is full by now.
    if (!(error instanceof OctavoError) || error.code !== "OCTAVO_FILE_NOT_READABLE") throw error;
    await readFrame(worker, request, target);
  } finally {
    shared?.give(segment);
  }
}

async function readFrame(worker: Worker, request: ReadRequest, target: Uint8Array): Promise<void> {
  const bytes = target.byteLength;
  if (bytes > MAX_FRAME_BYTES) {
    const text = `${worker.name}: a packed weight of ${bytes} bytes is read as one message of at most ${MAX_FRAME_BYTES}, and /dev/shm has no room for it; make that larger (docker run --shm-size)`;
    throw new OctavoError("OCTAVO_OUT_OF_MEMORY", text);
  }
  const { payload } = await worker.request(request);
  checkSize(worker, request, payload?.byteLength, bytes);
  target.set(payload!);
}

function checkSize(worker: Worker, { handle }: ReadRequest, got: number | undefined, bytes: number): void {
  if (got === bytes) return;
  const text = `${worker.name}: read of handle ${handle} brought ${got ?? 0} bytes, not ${bytes}`;
  throw new OctavoError("OCTAVO_PROTOCOL", text);
}
