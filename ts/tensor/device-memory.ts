/**
 * Memory of one device and the messages about it: handles are reserved, committed and released here, and here only.
 * `Device` is the same with what users ask of it.
 */
import type { Allocation, DeviceDescription } from "../../protocol/messages.ts";
import type { DType, OpName } from "../../protocol/ops.ts";
import { badArgument, OctavoError } from "../errors.ts";
import { DeviceLedger, type HandleKind, type LedgerEntry } from "../memory/ledger.ts";
import type { AttributesOf } from "../program/attributes.ts";
import { kindOf } from "../quoted.ts";
import type { Answer, SendOptions } from "../workers/connection.ts";
import type { RequestBody } from "../workers/requests.ts";
import type { SharedMemory } from "../workers/shared-memory.ts";
import type { Worker } from "../workers/worker.ts";
import { checkDtype, checkShape } from "./data.ts";
import {
  type HandleDevice,
  type LinearOptions,
  type OperandHandles,
  type ResultHandles,
  TensorHandle,
  type TensorSpec,
  type WeightHandles,
} from "./handle.ts";
import { readTensor, writeTensor } from "./transfer.ts";

export abstract class DeviceMemory implements HandleDevice {
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

  /** @internal Settles when the worker's process has ended. */
  get exited(): Promise<unknown> {
    return this.#worker.exited;
  }

  abstract run<N extends OpName>(
    op: N,
    operands: OperandHandles<N>,
    attributes?: AttributesOf<N>,
  ): Promise<ResultHandles<N>>;
  abstract linear(
    x: TensorHandle,
    weight: TensorHandle | WeightHandles,
    options?: LinearOptions,
  ): Promise<TensorHandle<"float32">>;

  // For the rooms of this package; not part of the public surface.

  /** @internal `PoolOptions.stepDeadlineMs`. */
  get stepDeadlineMs(): number | undefined {
    return this.#worker.stepDeadlineMs;
  }

  /** @internal One message to the worker; sent before this returns. */
  async request(body: RequestBody, payload?: Uint8Array, options?: SendOptions): Promise<Answer> {
    const answer = await this.#worker.request(body, payload, options);
    const { workspace } = answer.reply;
    if (workspace !== undefined) this.ledger.workspace(workspace);
    return answer;
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
    const wanted = handles.map(({ id: handle, dtype, layout, shape }) => ({
      handle,
      dtype,
      layout,
      shape: [...shape],
    }));
    await this.settle(
      handles.map(({ id }) => id),
      this.request({ kind: "allocate", handles: wanted }),
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
    if (!(handle instanceof TensorHandle))
      throw badArgument(`${this.name}: a tensor handle is needed, not ${kindOf(handle)}`);
    if (handle.device !== this) throw this.#foreign(handle);
    if (handle.disposed) throw new OctavoError("OCTAVO_DISPOSED", `${handle.label} was disposed`);
    return handle;
  }

  /** @internal Frees tensors and programs, all or none. A lost or stopped worker has freed everything already. */
  async free(handles: readonly { readonly id: number }[]): Promise<void> {
    const ids = handles.map(({ id }) => id).filter((id) => this.ledger.has(id));
    if (ids.length === 0) return;
    try {
      await this.request({ kind: "free", handles: ids });
    } catch (error) {
      // With the worker, its memory is gone: what the caller wanted.
      if (this.ledger.has(ids[0]!) && !this.#worker.ended) throw error;
    }
    for (const id of ids) if (this.ledger.has(id)) this.ledger.release(id);
  }

  /** @internal `bytes` into a plain handle from `offset` on. */
  async writeInto(handle: TensorHandle, bytes: Uint8Array, offset: number): Promise<void> {
    if (bytes.length > 0) await writeTensor(this.#worker, this.#shared, this.own(handle).id, bytes, offset);
  }

  /** @internal */
  async readBytes(handle: TensorHandle, bytes: number): Promise<ArrayBuffer> {
    return readTensor(this.#worker, this.#shared, this.own(handle).id, bytes, handle.layout);
  }

  #foreign({ label, device }: TensorHandle): OctavoError {
    const samePool = device instanceof DeviceMemory && device.#newHandle === this.#newHandle;
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

  /** @internal Commits reserved handles when the answer is there, or releases them. */
  async settle<T>(ids: readonly number[], answer: Promise<T>): Promise<T> {
    try {
      const value = await answer;
      for (const id of ids) this.ledger.commit(id);
      return value;
    } catch (error) {
      // A loss has released everything already.
      for (const id of ids) if (this.ledger.has(id)) this.ledger.release(id);
      throw error;
    }
  }
}

function entryOf({ id, dtype, layout, shape, bytes, kind, owner }: TensorHandle): LedgerEntry {
  return { handle: id, dtype, layout, shape, bytes, kind, owner };
}
