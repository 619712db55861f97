/** One device of a pool: memory for tensors, programs over them, and the books about both. */
import type { Allocation, Ceiling, DeviceDescription, LoadItem, Statistics } from "../../protocol/messages.ts";
import type { DType, OpName } from "../../protocol/ops.ts";
import { checkKeys } from "../arguments.ts";
import { OctavoError } from "../errors.ts";
import { DeviceLedger, type HandleKind, type LedgerEntry, type LedgerReport } from "../memory/ledger.ts";
import type { AttributesOf } from "../program/attributes.ts";
import type { LoweredProgram } from "../program/lower.ts";
import { contentBytes } from "../program/tensor-bytes.ts";
import { kindOf } from "../quoted.ts";
import type { Answer, RequestBody, RequestOptions } from "../workers/connection.ts";
import type { SharedMemory } from "../workers/shared-memory.ts";
import type { Worker } from "../workers/worker.ts";
import { type OperandHandles, type ResultHandles, runOp } from "./bridge.ts";
import { type CallOptions, callFunction } from "./call.ts";
import { badArgument, checkContent, checkLoad, checkSpecs, checkTensorOptions } from "./checks.ts";
import { checkDtype, checkShape, convert, dtypeOf, type HostData } from "./data.ts";
import { TensorHandle, type TensorSpec } from "./handle.ts";
import { ProgramHandle } from "./program-handle.ts";
import { type QuantizedWeight, quantizeWeight } from "./quantized.ts";
import { readBytes, writeBytes } from "./transfer.ts";

export interface LoadRequest {
  /** `int8` quantises rows into `target` (packed codes) and `scale` (float32 [rows]); `float` converts. */
  readonly form: "int8" | "float";
  readonly target: TensorHandle;
  readonly scale?: TensorHandle | undefined;
  /** Byte ranges of files, stacked by rows. */
  readonly parts: LoadItem["parts"];
}

export interface TensorOptions<D extends DType> {
  readonly shape: readonly number[];
  readonly dtype?: D;
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
    checkSpecs(specs);
    if (specs.length === 0) return [];
    const handles = specs.map((spec) => this.newHandle(spec));
    await this.obtain(handles);
    return handles;
  }

  /** Fills handles from files, in order. Throws `OCTAVO_FILE_NOT_READABLE`, `OCTAVO_MODEL_FILE_INVALID`, the signal's reason. */
  async load(items: readonly LoadRequest[], options: LoadOptions = {}): Promise<void> {
    checkLoad(items, options);
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
    checkContent(handle, data);
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

  /**
   * A tensor with this content: a typed array of its dtype, or numbers. Float32Array and numbers are rounded to 16-bit
   * dtypes; a Uint16Array is bits. The dtype follows from the array when it can (numbers: float32). NaN and infinities stay;
   * what is no number, or a finite one beyond the dtype, is refused with its place.
   * Throws `OCTAVO_BAD_ARGUMENT`, `OCTAVO_SHAPE_MISMATCH`, `OCTAVO_DTYPE_MISMATCH`, `OCTAVO_OUT_OF_MEMORY`.
   */
  async tensor<D extends DType = DType>(data: HostData, options: TensorOptions<D>): Promise<TensorHandle<D>> {
    checkTensorOptions(options, "tensor", "device.tensor([1, 2], { shape: [2] })");
    const { shape } = options;
    const dtype = options.dtype ?? (dtypeOf(data) as D);
    const content = convert(data, dtype, shape);
    const handle = await this.zeros({ shape, dtype });
    try {
      await this.write(handle, content);
    } catch (error) {
      await handle.dispose().catch(() => {});
      throw error;
    }
    return handle;
  }

  /** A tensor of zeros. */
  async zeros<D extends DType = "float32">(options: TensorOptions<D>): Promise<TensorHandle<D>> {
    checkTensorOptions(options, "zeros", "device.zeros({ shape: [2] })");
    const { shape, dtype = "float32" as D } = options;
    const [handle] = await this.allocate([{ dtype, layout: "plain", shape, kind: "user", owner: "user" }]);
    return handle!;
  }

  /**
   * Rows [N, K] to int8 codes and one absmax scale per row, for `linear`. Data is float32 and comes with its shape; a handle
   * has one. Throws `OCTAVO_BAD_ARGUMENT`, also for NaN and infinity.
   */
  async quantize(
    weight: HostData | TensorHandle,
    options?: { readonly shape: readonly number[] },
  ): Promise<QuantizedWeight> {
    if (weight instanceof TensorHandle) {
      if (options !== undefined) throw badArgument("quantize: a tensor has its shape; leave the options out");
      return quantizeWeight(this, weight);
    }
    checkKeys(options ?? {}, ["shape"], "quantize");
    if (options?.shape === undefined)
      throw badArgument("quantize: a shape is needed: device.quantize(w, { shape: [N, K] })");
    const plain = await this.tensor(weight, { shape: options.shape, dtype: "float32" });
    try {
      return await quantizeWeight(this, plain);
    } finally {
      await plain.dispose(); // Not `await using`: another realm (node:vm) of Node 20 has no `Symbol.asyncDispose`.
    }
  }

  /**
   * Any op of the op table (docs/ops.md), fused ones too, on handles of this device: `run("norm", { x, weight }, { eps: 1e-6 })`.
   * Throws `OCTAVO_UNKNOWN_OP`, `OCTAVO_BAD_ARGUMENT`, `OCTAVO_SHAPE_MISMATCH`, `OCTAVO_DTYPE_MISMATCH`,
   * `OCTAVO_WRONG_DEVICE`, `OCTAVO_DISPOSED`, before any effect.
   */
  run<N extends OpName>(op: N, operands: OperandHandles<N>, attributes?: AttributesOf<N>): Promise<ResultHandles<N>> {
    return runOp(this, op, operands, attributes === undefined ? ({} as AttributesOf<N>) : attributes);
  }

  /**
   * Calls a PyTorch function of the pool's allow-list (`PoolOptions.ops`): "module:function". Its positional arguments
   * are torch tensors over the memory of `handles`, so writing to one in place changes the handle; `options` are keyword
   * arguments. Its results (a tensor, or a list of them, or None) become new handles; bool, other integers, float64, numpy
   * arrays and Python numbers are converted where a handle holds them exactly. `limits.deadlineMs`: how long it may take
   * (default 120,000) before the worker is stopped.
   * Throws `OCTAVO_FUNCTION_NOT_ALLOWED`, `OCTAVO_MISSING_DEPENDENCY` (torch), `OCTAVO_WORKER_FAILED` with the Python error
   * (whatever it raises, `SystemExit` too), `OCTAVO_DTYPE_MISMATCH` for a result that no handle holds.
   */
  async call(
    name: string,
    handles: readonly TensorHandle[] = [],
    options: CallOptions = {},
    limits: { readonly deadlineMs?: number } = {},
  ): Promise<TensorHandle[]> {
    checkKeys(limits, ["deadlineMs"], "call");
    return callFunction(this, name, handles, options, limits.deadlineMs);
  }

  /** What the worker measures of itself. */
  async stats(): Promise<Statistics> {
    const { reply } = await this.request({ kind: "stats" });
    return reply.statistics!; // `workers/answers.ts` takes no answer without what was asked for; so below.
  }

  /** Bytes of `description.memoryAvailable` now: this process may have taken memory of the same machine since the worker was ready. */
  async memoryAvailable(): Promise<number> {
    const { reply } = await this.request({ kind: "describe" });
    return reply.description!.memoryAvailable;
  }

  /** What the machine can do at best with this worker's threads; takes about a second. Only the `cpu` backend measures it. */
  async measure(): Promise<Ceiling> {
    const { reply } = await this.request({ kind: "measure" });
    return reply.ceiling!;
  }

  /** The ledger against what the worker measures. */
  async memory(): Promise<LedgerReport> {
    return this.ledger.report(await this.stats());
  }

  // For the rooms of this package; not part of the public surface.

  /** @internal `PoolOptions.stepDeadlineMs`. */
  get stepDeadlineMs(): number | undefined {
    return this.#worker.stepDeadlineMs;
  }

  /** @internal One message to the worker; sent before this returns. */
  request(body: RequestBody, payload?: Uint8Array, options?: RequestOptions): Promise<Answer> {
    return this.#worker.request(body, payload, options);
  }

  /** @internal A handle that the worker does not know yet. */
  newHandle<D extends DType>(spec: TensorSpec<D>): TensorHandle<D> {
    checkShape(spec.shape);
    checkDtype(spec.dtype);
    return new TensorHandle(this, this.#newHandle(), spec);
  }

  /** @internal Ids for tensors of which the worker will say what they are. */
  newIds(count: number): number[] {
    return Array.from({ length: count }, this.#newHandle);
  }

  /** @internal Memory for new handles: in the ledger, reserved now, and committed or released when the answer is there. */
  async obtain(handles: readonly TensorHandle[]): Promise<void> {
    for (const handle of handles) this.ledger.reserve(entryOf(handle));
    await this.#settle(
      handles.map(({ id }) => id),
      this.request({ kind: "allocate", handles: handles.map(allocationOf) }),
    );
  }

  /** @internal A handle under one of `newIds`, for memory that the worker has made. */
  adopt({ handle, dtype, layout, shape }: Allocation, kind: HandleKind, owner: string): TensorHandle {
    const adopted = new TensorHandle(this, handle, { dtype, layout, shape, kind, owner });
    this.ledger.reserve(entryOf(adopted));
    this.ledger.commit(handle);
    return adopted;
  }

  /** @internal The handle, if it is one of this device and alive; else `OCTAVO_WRONG_DEVICE` or `OCTAVO_DISPOSED`. */
  own<D extends DType>(handle: TensorHandle<D>): TensorHandle<D> {
    if (!(handle instanceof TensorHandle)) {
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `${this.name}: a tensor handle is needed, not ${kindOf(handle)}`);
    }
    if (handle.device !== this) throw this.#foreign(handle);
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
  async readBytes(handle: TensorHandle, bytes: number): Promise<ArrayBuffer> {
    return readBytes(this.#worker, this.#shared, this.own(handle).id, bytes, handle.layout);
  }

  #foreign({ label, device }: TensorHandle): OctavoError {
    const samePool = device.#newHandle === this.#newHandle;
    if (!samePool) {
      const text = `${label} belongs to another pool than this ${this.name}; read it there and make a tensor here`;
      return new OctavoError("OCTAVO_WRONG_DEVICE", text);
    }
    if (device.name === this.name) {
      const text = `${label} was lost with an earlier worker of ${this.name}; make it again`;
      return new OctavoError("OCTAVO_WORKER_LOST", text, { cause: device.lost.reason });
    }
    const text = `${label} cannot be used on ${this.name}; read it and make a tensor there`;
    return new OctavoError("OCTAVO_WRONG_DEVICE", text);
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

function entryOf({ id, dtype, layout, shape, bytes, kind, owner }: TensorHandle): LedgerEntry {
  return { handle: id, dtype, layout, shape, bytes, kind, owner };
}

function bytesOf(item: LoadRequest): number {
  return item.parts.reduce((sum, part) => sum + part.bytes, 0);
}
