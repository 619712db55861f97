/** One of the devices that a trace is run on: its worker, the model's parameters there, and what its programs have written. */
import type { Sizes } from "../../protocol/messages.ts";
import { OPS, type OpSpec, PAGE_SIZE } from "../../protocol/ops.ts";
import { type Result, resultsOf } from "../deploy/bits.ts";
import { ResidentModel } from "../deploy/resident.ts";
import type { TracedProgram, TracedStep } from "../deploy/trace-file.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { Pool } from "../pool.ts";
import type { PoolOptions } from "../pool-options.ts";
import { inputArrays, TYPED_ARRAYS } from "../program/payload.ts";
import type { Program, ValueId } from "../program/program.ts";
import { contentBytes } from "../program/tensor-bytes.ts";
import type { Device } from "../tensor/device.ts";
import type { TensorHandle } from "../tensor/handle.ts";
import type { ProgramHandle } from "../tensor/program-handle.ts";

export interface SideOptions extends Pick<PoolOptions, "threads" | "python" | "signal"> {
  readonly onProgress?: ((step: number, steps: number) => void) | undefined;
}

/** A program here. `program` is what runs, which a test may have changed. */
export interface Defined {
  readonly program: Program;
  readonly handle: ProgramHandle;
  readonly limits: Sizes;
}

/** What an op writes into a parameter. */
export interface Written {
  readonly op: number;
  readonly operand: string;
  readonly parameter: string;
}

export class Side {
  readonly name: string;
  readonly #pool: Pool;
  readonly #change: (program: Program) => Program;
  #resident: ResidentModel | undefined;

  /** `change`: of every program before it runs here; tests plant differences with it. */
  private constructor(pool: Pool, change: (program: Program) => Program) {
    this.#pool = pool;
    this.#change = change;
    this.name = pool.devices[0]!.name;
  }

  static async open(device: string, options: SideOptions, change = (program: Program) => program): Promise<Side> {
    const { threads, python, signal } = options;
    return new Side(await Pool.start({ devices: device, threads, python, signal }), change);
  }

  get isReference(): boolean {
    return this.#device.description.backend === "reference";
  }

  get #device(): Device {
    return this.#pool.devices[0]!;
  }

  /** A model in place of the one before; nothing of it is loaded yet. */
  async use(manifest: Manifest): Promise<void> {
    await this.#resident?.free();
    this.#resident = new ResidentModel(this.#device, manifest, manifest.path, null);
  }

  async define({ program, file }: TracedProgram): Promise<Defined> {
    return this.defineExactly(this.#change(program), file.limits);
  }

  async defineExactly(program: Program, limits: Sizes): Promise<Defined> {
    const { program: handle } = await this.#resident!.defineProgram(program, limits);
    return { program, handle, limits };
  }

  /** What a step returns, by the names of the program's outputs. */
  async step({ program, handle }: Defined, { sizes, payload }: TracedStep): Promise<ReadonlyMap<string, Result>> {
    const answer = await handle.step(sizes, Uint8Array.from(Buffer.from(payload, "base64")));
    return resultsOf(program, handle, sizes, answer.payload);
  }

  /** Pages of a KV cache that a step has written, or the whole of another parameter. */
  async read({ program }: Defined, { parameter, operand }: Written, pages: readonly number[]): Promise<Result> {
    const { dtype, shape, source } = program.parameters.get(parameter)!;
    const handle = this.#handle(program, parameter);
    if (source.type !== "state" || source.kind !== "kv") return { operand, dtype, shape, data: await handle.read() };
    const bytes = contentBytes(dtype, shape.slice(1));
    const parts = pages.map(async (page) => {
      const { payload } = await this.#device.request({ kind: "read", handle: handle.id, offset: page * bytes, bytes });
      return payload!;
    });
    const own = Uint8Array.from(Buffer.concat(await Promise.all(parts))).buffer;
    return { operand, dtype, shape: [pages.length, ...shape.slice(1)], data: new TYPED_ARRAYS[dtype](own) };
  }

  /** What ops read and write in place, but for KV pages: to be put back before the same step runs again. */
  async save({ program }: Defined): Promise<() => Promise<void>> {
    const handles = new Set<TensorHandle>();
    for (const { parameter, mutated } of writtenBy(program)) {
      const { source } = program.parameters.get(parameter)!;
      if (mutated && source.type === "state" && source.kind === "io") handles.add(this.#handle(program, parameter));
    }
    const saved = await Promise.all([...handles].map(async (handle) => ({ handle, data: await handle.read() })));
    return async () => {
      await Promise.all(saved.map(({ handle, data }) => this.#device.write(handle, data)));
    };
  }

  #handle(program: Program, parameter: string): TensorHandle {
    return this.#resident!.handle(program.parameters.get(parameter)!);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#pool.dispose();
  }
}

/** What a program writes into parameters, in the order of its ops. `mutated`: it reads what is there. */
export function writtenBy(program: Program): (Written & { readonly mutated: boolean })[] {
  return program.ops.flatMap(({ op, inputs, outputs }, index) => {
    const spec: OpSpec = OPS[op];
    const all = [
      ...Object.entries(inputs).filter(([name]) => spec.inputs[name]!.mutated),
      ...Object.entries(outputs),
    ] as [string, ValueId][];
    return all.flatMap(([operand, id]) => {
      const { place } = program.values[id]!;
      if (place.type !== "parameter") return [];
      return [{ op: index, operand, parameter: place.name, mutated: Object.hasOwn(inputs, operand) }];
    });
  });
}

/** KV pages that a step writes, ascending; none for a program without the input `slots`. */
export function touchedPages(program: ProgramHandle, { sizes, payload }: TracedStep): number[] {
  const target = inputArrays(program, sizes);
  target.payload.set(Buffer.from(payload, "base64"));
  const slots = target.arrays.slots ?? [];
  const pages = new Set(Array.from(slots as Int32Array, (slot) => Math.floor(slot / PAGE_SIZE)));
  return [...pages].filter((page) => page >= 0).sort((a, b) => a - b);
}
