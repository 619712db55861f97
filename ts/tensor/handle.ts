/** A tensor that lives on a device: an id, what is known about it, and the ops that take it first. */
import type { DType, Layout, OPS, OpName } from "../../protocol/ops.ts";
import { checkObject } from "../arguments.ts";
import { badArgument, OctavoError } from "../errors.ts";
import type { HandleKind } from "../memory/ledger.ts";
import type { AttributesOf } from "../program/attributes.ts";
import type { InputsOf } from "../program/builder.ts";
import { allocatedBytes, contentBytes } from "../program/tensor-bytes.ts";
import { DEFAULT_THRESHOLD, type Threshold, thresholdAttributes } from "../program/threshold.ts";
import { type HostArray, viewAs } from "./data.ts";
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

type OpTable = typeof OPS;
type OutputSpecs<N extends OpName> = OpTable[N]["outputs"];

/** The operands of an op as handles. */
export type OperandHandles<N extends OpName> = { readonly [K in keyof InputsOf<N>]: TensorHandle | undefined };
/** The results of an op, under the names of the op table. */
export type ResultHandles<N extends OpName> = {
  readonly [K in keyof OutputSpecs<N>]: TensorHandle<
    OutputSpecs<N>[K] extends { readonly dtypes: readonly (infer D extends DType)[] } ? D : DType
  >;
};

/** An int8 weight: `QuantizedWeight` is one. */
export interface WeightHandles {
  /** int8 [N, K], packed. */
  readonly codes: TensorHandle<"int8">;
  /** float32 [N]: the absmax of each row. */
  readonly scale: TensorHandle<"float32">;
  readonly shape: readonly number[];
}

export interface LinearOptions {
  /** float32 [N] */
  readonly bias?: TensorHandle | undefined;
  /** With an int8 weight: which activations get a second digit. Default "adaptive". */
  readonly threshold?: Threshold | undefined;
  /**
   * With an int8 weight. `exact` (default): one integer sum, a row does not depend on its neighbours. `published`: as the
   * paper and bitsandbytes do it; the threshold is then a number, 0 for none, by default 6.
   */
  readonly mode?: "exact" | "published" | undefined;
}

/** What a handle asks of the device that it lives on. `Device` is one. */
export interface HandleDevice {
  readonly name: string;
  /** Aborted when its worker is lost. */
  readonly lost: AbortSignal;
  run<N extends OpName>(op: N, operands: OperandHandles<N>, attributes?: AttributesOf<N>): Promise<ResultHandles<N>>;
  linear(x: TensorHandle, weight: TensorHandle | WeightHandles, options?: LinearOptions): Result;
  /** @internal */
  readBytes(handle: TensorHandle, bytes: number): Promise<ArrayBuffer>;
  /** @internal */
  free(handles: readonly { readonly id: number }[]): Promise<void>;
}

type Operands = Readonly<Record<string, TensorHandle | undefined>>;
type Result = Promise<TensorHandle<"float32">>;
/** Ops with the one result `y`. */
type OpWithY = { [N in OpName]: keyof (typeof OPS)[N]["outputs"] extends "y" ? N : never }[OpName];

export class TensorHandle<D extends DType = DType> implements TensorSpec<D> {
  /** Unique for the life of the pool. */
  readonly id: number;
  readonly device: HandleDevice;
  readonly dtype: D;
  readonly layout: Layout;
  readonly shape: readonly number[];
  readonly kind: HandleKind;
  readonly owner: string;
  /** Not finished yet. */
  readonly #reads = new Set<Promise<unknown>>();
  #disposed: Promise<void> | undefined;

  /** Made by `Device`, never by users. */
  constructor(device: HandleDevice, id: number, spec: TensorSpec<D>) {
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

  /**
   * The elements, row-major whatever the layout; 16-bit floats as their bits (`readFloats` converts). A large tensor comes
   * in pieces: await it before anything changes the tensor.
   */
  async read(): Promise<HostArray<D>> {
    const reading = this.device.readBytes(this, contentBytes(this.dtype, this.shape));
    this.#reads.add(reading);
    try {
      return viewAs(this.dtype, await reading);
    } finally {
      this.#reads.delete(reading);
    }
  }

  /** The elements of a float tensor as float32. Throws `OCTAVO_DTYPE_MISMATCH` for integers. */
  async readFloats(): Promise<Float32Array> {
    if (!this.dtype.includes("float"))
      throw new OctavoError("OCTAVO_DTYPE_MISMATCH", `${this.label}: readFloats takes a float tensor; use read`);
    const content: HostArray = await this.read();
    if (content instanceof Float32Array) return content;
    return this.dtype === "float16" ? fromFloat16(content as Uint16Array) : fromBfloat16(content as Uint16Array);
  }

  // The ops of docs/ops.md, by the operand that comes first. Each gives new tensors, which the caller disposes of.

  /** x [T, K], w [N, K] -> float32 [T, N]: LLM.int8() with a weight of `device.quantize`, else a float product. */
  linear(weight: TensorHandle | WeightHandles, options: LinearOptions = {}): Result {
    return this.device.linear(this, weight, options);
  }

  /** Digits, carries and step of float32 rows [T, K], as `linear_int8` takes them. */
  async quantize(threshold: Threshold = DEFAULT_THRESHOLD): Promise<ResultHandles<"quantize">> {
    return this.device.run("quantize", { x: this }, thresholdAttributes(threshold));
  }

  /** float [T, K] in another float dtype, rounded to nearest even. */
  async cast<T extends "float32" | "float16" | "bfloat16">(dtype: T): Promise<TensorHandle<T>> {
    const { y } = await this.device.run("cast", { x: this }, { dtype });
    return y as TensorHandle<DType> as TensorHandle<T>;
  }

  /** Of a table [V, K]: the rows of int32 ids [T], as float32. A negative id -1-j is `sampled[j]`. */
  async embed(tokens: TensorHandle, options: AttributesOf<"embed"> & { sampled?: TensorHandle } = {}): Result {
    checkObject(options, "embed: options");
    const { sampled, ...attributes } = options;
    return this.#only("embed", { tokens, table: this, sampled }, attributes);
  }

  /** float32 rows [T, K], weight [K]. */
  async norm(weight: TensorHandle, options: AttributesOf<"norm"> & { bias?: TensorHandle } = {}): Result {
    checkObject(options, "norm: options");
    const { bias, ...attributes } = options;
    return this.#only("norm", { x: this, weight, bias }, attributes);
  }

  async rope(
    tables: { positions: TensorHandle; cos: TensorHandle; sin: TensorHandle },
    options: AttributesOf<"rope">,
  ): Result {
    return this.#only("rope", besides("rope", "x", this, tables), options);
  }

  /** Of k: writes k and v into their slots of `keys`, `values` and `steps`. */
  async append(rest: Omit<OperandHandles<"append">, "k">, options: AttributesOf<"append">): Promise<void> {
    await this.device.run("append", besides("append", "k", this, rest), options);
  }

  /** Of q: attention over KV pages. */
  async attention(rest: Omit<OperandHandles<"attention">, "q">, options: AttributesOf<"attention">): Result {
    return this.#only("attention", besides("attention", "q", this, rest), options);
  }

  /** activation(this) * up */
  glu(up: TensorHandle, options: AttributesOf<"glu"> = {}): Result {
    return this.#only("glu", { gate: this, up }, options);
  }

  activate(options: AttributesOf<"activate"> = {}): Result {
    return this.#only("activate", { x: this }, options);
  }

  add(other: TensorHandle): Result {
    return this.#only("add", { a: this, b: other }, {});
  }

  /** The rows with these int32 indices [S]. */
  rows(index: TensorHandle): Result {
    return this.#only("rows", { x: this, index }, {});
  }

  /** Of hidden rows [T, K]: one embedding per sequence; `starts` int32 [B+1]. */
  pool(starts: TensorHandle, options: AttributesOf<"pool"> = {}): Result {
    return this.#only("pool", { x: this, starts }, options);
  }

  /** Of logits [S, V]: one id per row. */
  async sample(
    rest: Omit<OperandHandles<"sample">, "logits">,
    options: AttributesOf<"sample">,
  ): Promise<ResultHandles<"sample">> {
    return this.device.run("sample", besides("sample", "logits", this, rest), options);
  }

  /** Of logits [S, V]: surprise of the targets, divergence from reference logits. */
  score(targets: TensorHandle, reference?: TensorHandle): Promise<ResultHandles<"score">> {
    return this.device.run("score", { logits: this, targets, reference }, {});
  }

  /** Frees the memory. What was asked for before still happens; later uses throw `OCTAVO_DISPOSED`. May be called again. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#free();
    return this.#disposed;
  }

  async #free(): Promise<void> {
    try {
      if (this.#reads.size > 0) await Promise.allSettled(this.#reads);
      await this.device.free([this]);
    } catch (error) {
      this.#disposed = undefined; // Refused, for example because a program works on it.
      throw error;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** For `using`: does not wait, and a failure stays unseen; prefer `await using`. */
  [Symbol.dispose](): void {
    this.dispose().catch(() => {});
  }

  async #only<N extends OpWithY>(op: N, operands: Operands, attributes: AttributesOf<N>): Result {
    const { y } = (await this.device.run(op, operands as OperandHandles<N>, attributes)) as {
      y: TensorHandle<"float32">;
    };
    return y;
  }
}

/** The operands of an op whose first is this tensor: the others come as an object, and cannot stand for it. */
function besides<N extends OpName>(op: N, name: string, first: TensorHandle, rest: Operands): OperandHandles<N> {
  checkObject(rest, `${op}: operands`);
  if (!Object.hasOwn(rest, name)) return { [name]: first, ...rest } as unknown as OperandHandles<N>;
  throw badArgument(`${op}: ${name} is the tensor itself and cannot be given again`);
}
