/** One device of a pool: memory for tensors, programs over them, and the books about both. */
import type { Allocation, DeviceDescription, LoadItem, Statistics } from "../../protocol/messages.ts";
import type { DType } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";
import { contentBytes } from "../memory/bytes.ts";
import { DeviceLedger, type LedgerReport } from "../memory/ledger.ts";
import type { Answer, RequestBody, RequestOptions } from "../pool/connection.ts";
import type { SharedMemory } from "../pool/shared-memory.ts";
import type { Worker } from "../pool/worker.ts";
import type { LoweredProgram } from "../program/lower.ts";
import { checkShape } from "./data.ts";
import { TensorHandle, type TensorSpec } from "./handle.ts";
import { ProgramHandle } from "./program-handle.ts";
import { readBytes, writeBytes } from "./transfer.ts";

export interface LoadRequest {
  /** `int8` quantises rows into `target` (packed codes) and `scale` (float32 [rows]); `float` converts. */
  readonly form: "int8" | "float";
  readonly target: TensorHandle;
  readonly scale?: TensorHandle | undefined;
  /** Byte ranges of files, stacked by rows. */
  readonly parts: LoadItem["parts"];
}

export interface LoadOptions {
  /** In bytes of the files. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Ends the load after the tensors that are being loaded. */
  readonly signal?: AbortSignal | undefined;
}

/** One `load` message has about this many bytes of files: small enough to stop soon, large enough to cost nothing. */
const LOAD_BATCH_BYTES = 32 * 2 ** 20;

export class Device {
  /** "cpu:0" */
  readonly name: string;
  readonly ledger: DeviceLedger;
  readonly #worker: Worker;
  readonly #newHandle: () => number;
  readonly #shared: SharedMemory | undefined;

  /** Made by `Pool.start`. */
  constructor(worker: Worker, newHandle: () => number, shared: SharedMemory | undefined) {
    this.name = worker.name;
    this.ledger = new DeviceLedger(worker.name);
    this.#worker = worker;
    this.#newHandle = newHandle;
    this.#shared = shared;
    worker.lost.addEventListener("abort", () => this.ledger.releaseAll(), { once: true });
  }

  get description(): DeviceDescription {
    return this.#worker.description;
  }

  /** Process id of the worker. */
  get pid(): number {
    return this.#worker.pid;
  }

  /** Aborted, with the `OctavoError` of the loss as its reason, when the worker is lost. */
  get lost(): AbortSignal {
    return this.#worker.lost;
  }

  /** Zeroed memory for all of `specs`, in one message: all or nothing. Throws `OCTAVO_OUT_OF_MEMORY`. */
  async allocate<D extends DType>(specs: readonly TensorSpec<D>[]): Promise<TensorHandle<D>[]> {
    if (specs.length === 0) return [];
    const handles = specs.map((spec) => this.newHandle(spec));
    await this.book(handles, this.request({ kind: "allocate", handles: handles.map(allocationOf) }));
    return handles;
  }

  /** Fills handles from files, in order. Throws `OCTAVO_FILE_NOT_READABLE`, `OCTAVO_MODEL_FILE_INVALID`, the signal's reason. */
  async load(items: readonly LoadRequest[], options: LoadOptions = {}): Promise<void> {
    const total = items.reduce((sum, item) => sum + bytesOf(item), 0);
    let finished = 0;
    let batch: LoadItem[] = [];
    let batchBytes = 0;
    const flush = async () => {
      options.signal?.throwIfAborted();
      if (batch.length > 0) {
        await this.request({ kind: "load", items: batch }, undefined, {
          onProgress: (done) => options.onProgress?.(finished + done, total),
        });
      }
      finished += batchBytes;
      options.onProgress?.(finished, total);
      batch = [];
      batchBytes = 0;
    };
    for (const item of items) {
      const { form, target, scale, parts } = item;
      const handle = this.own(target).id;
      batch.push({ form, handle, ...(scale === undefined ? {} : { scale: this.own(scale).id }), parts: [...parts] });
      batchBytes += bytesOf(item);
      if (batchBytes >= LOAD_BATCH_BYTES) await flush();
    }
    await flush();
  }

  /** `data` into a plain handle from byte `byteOffset` on. Await it before the handle is used; until then keep `data` as it is. */
  async write(handle: TensorHandle, data: ArrayBufferView, byteOffset = 0): Promise<void> {
    this.own(handle);
    const size = contentBytes(handle.dtype, handle.shape);
    if (handle.layout !== "plain") {
      const text = `${handle.label} is packed; only load and quantize write packed weights`;
      throw new OctavoError("OCTAVO_DTYPE_MISMATCH", text);
    }
    if (!Number.isSafeInteger(byteOffset) || byteOffset < 0 || byteOffset + data.byteLength > size) {
      const text = `${data.byteLength} bytes at offset ${byteOffset} do not fit ${handle.label} of ${size} bytes`;
      throw new OctavoError("OCTAVO_SHAPE_MISMATCH", text);
    }
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (bytes.length > 0) await writeBytes(this.#worker, this.#shared, handle.id, bytes, byteOffset);
  }

  /** Makes a program ready. It allocates nothing: `options.arena` has at least `lowered.arenaBytes` bytes when that is not 0. */
  async define(
    lowered: LoweredProgram,
    owner: string,
    options: { readonly arena?: TensorHandle | undefined } = {},
  ): Promise<ProgramHandle> {
    const { arena } = options;
    if (arena !== undefined) this.own(arena);
    const program = new ProgramHandle(this, this.#newHandle(), lowered);
    const place = arena === undefined ? {} : { arena: arena.id };
    const { values, ops, inputs, outputs, limits } = lowered.message;
    const sent = this.request({ kind: "define", program: program.id, ...place, limits, values, ops, inputs, outputs });
    // Its memory is the worker's own business; the entry says that the handle lives.
    const entry = { handle: program.id, dtype: "int8", layout: "plain", shape: [0], bytes: 0 } as const;
    this.ledger.reserve({ ...entry, kind: "program", owner });
    await this.#settle([program.id], sent);
    return program;
  }

  /** What the worker measures of itself. */
  async stats(): Promise<Statistics> {
    const { reply } = await this.request({ kind: "stats" });
    if (reply.statistics === undefined) throw new OctavoError("OCTAVO_PROTOCOL", `${this.name}: stats without numbers`);
    return reply.statistics;
  }

  /** The ledger against what the worker measures. */
  async memory(): Promise<LedgerReport> {
    return this.ledger.report(await this.stats());
  }

  // For the rooms of this package; not part of the public surface.

  /** @internal One message to the worker; sent before this returns. */
  request(body: RequestBody, payload?: Uint8Array, options?: RequestOptions): Promise<Answer> {
    return this.#worker.request(body, payload, options);
  }

  /** @internal A handle that the worker does not know yet. */
  newHandle<D extends DType>(spec: TensorSpec<D>): TensorHandle<D> {
    checkShape(spec.shape);
    return new TensorHandle(this, this.#newHandle(), spec);
  }

  /** @internal Ids for tensors of which the worker will say what they are. */
  newIds(count: number): number[] {
    return Array.from({ length: count }, this.#newHandle);
  }

  /** @internal Records handles that `answer` makes: reserved now, committed or released when it is known. */
  async book<T>(handles: readonly TensorHandle[], answer: Promise<T>): Promise<T> {
    for (const { id, dtype, layout, shape, bytes, kind, owner } of handles) {
      this.ledger.reserve({ handle: id, dtype, layout, shape, bytes, kind, owner });
    }
    return this.#settle(
      handles.map(({ id }) => id),
      answer,
    );
  }

  /** @internal The handle, if it is one of this device and alive; else `OCTAVO_WRONG_DEVICE` or `OCTAVO_DISPOSED`. */
  own<D extends DType>(handle: TensorHandle<D>): TensorHandle<D> {
    if (!(handle instanceof TensorHandle)) {
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `${this.name}: a tensor handle is needed, not ${String(handle)}`);
    }
    if (handle.device !== this) {
      const text = `${handle.label} cannot be used on ${this.name}; read it and make a tensor there`;
      throw new OctavoError("OCTAVO_WRONG_DEVICE", text);
    }
    if (handle.disposed) throw new OctavoError("OCTAVO_DISPOSED", `${handle.label} was disposed`);
    return handle;
  }

  /** @internal Frees tensors and programs, all or none. A lost or stopped worker has freed everything already. */
  async free(handles: readonly { readonly id: number }[]): Promise<void> {
    const ids = handles.map(({ id }) => id).filter((id) => this.ledger.get(id) !== undefined);
    if (ids.length === 0) return;
    try {
      await this.request({ kind: "free", handles: ids });
    } catch (error) {
      // With the worker, its memory is gone: what the caller wanted.
      if (this.ledger.get(ids[0]!) !== undefined && !this.#worker.ended) throw error;
    }
    for (const id of ids) if (this.ledger.get(id) !== undefined) this.ledger.release(id);
  }

  /** @internal */
  readBytes(handle: TensorHandle, bytes: number): Promise<ArrayBuffer> {
    return readBytes(this.#worker, this.#shared, this.own(handle).id, bytes);
  }

  async #settle<T>(ids: readonly number[], answer: Promise<T>): Promise<T> {
    try {
      const value = await answer;
      for (const id of ids) this.ledger.commit(id);
      return value;
    } catch (error) {
      // A loss has released everything already.
      for (const id of ids) if (this.ledger.get(id) !== undefined) this.ledger.release(id);
      throw error;
    }
  }
}

function allocationOf({ id, dtype, layout, shape }: TensorHandle): Allocation {
  return { handle: id, dtype, layout, shape: [...shape] };
}

function bytesOf(item: LoadRequest): number {
  return item.parts.reduce((sum, part) => sum + part.bytes, 0);
}
