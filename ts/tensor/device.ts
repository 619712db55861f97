/** One device of a pool: memory for tensors, programs over them, and the books about both. */
import type { Ceiling, Statistics } from "../../protocol/messages.ts";
import type { DType, OpName } from "../../protocol/ops.ts";
import { checkKeys } from "../arguments.ts";
import { badArgument, OctavoError } from "../errors.ts";
import type { LedgerReport } from "../memory/ledger.ts";
import type { AttributesOf } from "../program/attributes.ts";
import type { LoweredProgram } from "../program/lower.ts";
import { contentBytes } from "../program/tensor-bytes.ts";
import type { RequestBody } from "../workers/requests.ts";
import { runOp } from "./bridge.ts";
import { type CallOptions, callFunction } from "./call.ts";
import { convert, dtypeOf, type HostData } from "./data.ts";
import { checkContent, checkSpecs, checkTensorOptions } from "./device-arguments.ts";
import { DeviceMemory } from "./device-memory.ts";
import {
  type LinearOptions,
  type OperandHandles,
  type ResultHandles,
  TensorHandle,
  type TensorSpec,
  type WeightHandles,
} from "./handle.ts";
import { linear } from "./linear.ts";
import { type LoadRequest, type LoadTensorsOptions, loadTensors } from "./load.ts";
import { ProgramHandle } from "./program-handle.ts";
import { type QuantizedWeight, quantizeWeight } from "./quantized.ts";

type GroupRank = Omit<Extract<RequestBody, { kind: "group" }>, "kind" | "group">;

export interface TensorOptions<D extends DType> {
  readonly shape: readonly number[];
  readonly dtype?: D;
}

export class Device extends DeviceMemory {
  /** Zeroed memory for all of `specs`, in one message: all or nothing. Throws `OCTAVO_OUT_OF_MEMORY`. */
  async allocate<D extends DType>(specs: readonly TensorSpec<D>[]): Promise<TensorHandle<D>[]> {
    checkSpecs(specs);
    if (specs.length === 0) return [];
    const handles = specs.map((spec) => this.newHandle(spec));
    await this.obtain(handles);
    return handles;
  }

  /** Fills handles from files, in order. Throws `OCTAVO_FILE_NOT_READABLE`, `OCTAVO_MODEL_FILE_INVALID`, the signal's reason. */
  load(items: readonly LoadRequest[], options: LoadTensorsOptions = {}): Promise<void> {
    return loadTensors(this, items, options);
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
    await this.writeInto(handle, bytes, byteOffset);
  }

  /**
   * Makes a program ready. `options.arena` has at least `lowered.arenaBytes` bytes when that is not 0. The device's workspace
   * grows to what the program's ops need, and to `options.workspace` bytes at least. `options.group`, from `join`: with whom the
   * program gathers. Throws `OCTAVO_OUT_OF_MEMORY`.
   */
  async define(
    lowered: LoweredProgram,
    owner: string,
    options: {
      readonly arena?: TensorHandle | undefined;
      readonly workspace?: number | undefined;
      readonly group?: number | undefined;
    } = {},
  ): Promise<ProgramHandle> {
    const { arena, workspace, group } = options;
    if (arena !== undefined) this.own(arena);
    const program = new ProgramHandle(this, this.newIds(1)[0]!, lowered);
    const place = {
      ...(arena && { arena: arena.id }),
      ...(workspace !== undefined && { workspace }),
      ...(group !== undefined && { group }),
    };
    await this.#make(program.id, owner, { kind: "define", program: program.id, ...place, ...lowered.message });
    return program;
  }

  /** @internal Makes it a rank of a group, for `define`. Gives the group's handle on this device, which `free` frees. */
  async join(rank: GroupRank, owner: string): Promise<number> {
    const group = this.newIds(1)[0]!;
    await this.#make(group, owner, { kind: "group", group, ...rank });
    return group;
  }

  /** What has no memory of its own (a program's scratch is the workspace's): the entry says that the handle lives. */
  async #make(id: number, owner: string, body: RequestBody): Promise<void> {
    const sent = this.request(body);
    const entry = { handle: id, dtype: "int8", layout: "plain", shape: [0], bytes: 0 } as const;
    this.ledger.reserve({ ...entry, kind: "program", owner });
    await this.settle([id], sent);
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
  override run<N extends OpName>(
    op: N,
    operands: OperandHandles<N>,
    attributes?: AttributesOf<N>,
  ): Promise<ResultHandles<N>> {
    return runOp(this, op, operands, attributes === undefined ? ({} as AttributesOf<N>) : attributes);
  }

  /** `x.linear(weight, options)`. */
  override linear(
    x: TensorHandle,
    weight: TensorHandle | WeightHandles,
    options: LinearOptions = {},
  ): Promise<TensorHandle<"float32">> {
    return linear(this, x, weight, options);
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
}
