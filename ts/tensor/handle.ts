/** A tensor that lives on a device: an id, what is known about it, and the ops that take it first. */
import type { DType, Layout } from "../../protocol/ops.ts";
import { OctavoError } from "../errors.ts";
import { allocatedBytes, contentBytes } from "../memory/bytes.ts";
import type { HandleKind } from "../memory/ledger.ts";
import { type HostArray, viewAs } from "./data.ts";
import type { Device } from "./device.ts";
import { fromBfloat16, fromFloat16 } from "./float16.ts";

export interface TensorSpec<D extends DType = DType> {
  readonly dtype: D;
  /** `packed` is the backend's own layout of a linear weight [N, K]. */
  readonly layout: Layout;
  readonly shape: readonly number[];
  readonly kind: HandleKind;
  /** Who asked for it, for the ledger. */
  readonly owner: string;
}

export class TensorHandle<D extends DType = DType> implements TensorSpec<D> {
  /** Unique for the life of the pool. */
  readonly id: number;
  readonly device: Device;
  readonly dtype: D;
  readonly layout: Layout;
  readonly shape: readonly number[];
  readonly kind: HandleKind;
  readonly owner: string;
  #disposed: Promise<void> | undefined;

  /** Made by `Device`, never by users. */
  constructor(device: Device, id: number, spec: TensorSpec<D>) {
    this.device = device;
    this.id = id;
    this.dtype = spec.dtype;
    this.layout = spec.layout;
    this.shape = [...spec.shape];
    this.kind = spec.kind;
    this.owner = spec.owner;
  }

  /** Bytes on the device, padding included. */
  get bytes(): number {
    return allocatedBytes(this.dtype, this.layout, this.shape);
  }

  get disposed(): boolean {
    return this.#disposed !== undefined;
  }

  /** "tensor 12 (float32 [4, 8], cpu:0)": for messages. */
  get label(): string {
    return `tensor ${this.id} (${this.dtype} [${this.shape.join(", ")}], ${this.device.name})`;
  }

  /** The elements, row-major whatever the layout; 16-bit floats as their bits (`readFloats` converts). */
  async read(): Promise<HostArray<D>> {
    const content = await this.device.readBytes(this, contentBytes(this.dtype, this.shape));
    return viewAs(this.dtype, content);
  }

  /** The elements of a float tensor as float32. Throws `OCTAVO_DTYPE_MISMATCH` for integers. */
  async readFloats(): Promise<Float32Array> {
    if (!this.dtype.includes("float")) {
      throw new OctavoError("OCTAVO_DTYPE_MISMATCH", `${this.label}: readFloats takes a float tensor; use read`);
    }
    const content: HostArray = await this.read();
    if (content instanceof Float32Array) return content;
    return this.dtype === "float16" ? fromFloat16(content as Uint16Array) : fromBfloat16(content as Uint16Array);
  }

  /** Frees the memory. What was asked for before still happens; later uses throw `OCTAVO_DISPOSED`. Twice is once. */
  dispose(): Promise<void> {
    this.#disposed ??= this.device.free([this]).catch((error) => {
      this.#disposed = undefined; // Refused, for example because a program works on it.
      throw error;
    });
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** For `using`: does not wait, and a failure stays unseen; prefer `await using`. */
  [Symbol.dispose](): void {
    this.dispose().catch(() => {});
  }
}
