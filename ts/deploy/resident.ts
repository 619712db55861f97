/** What a rank of a model has on its device: parameters in handles, and programs over them, each made when it is needed. */
import type { Sizes } from "../../protocol/messages.ts";
import type { HandleKind } from "../memory/ledger.ts";
import type { ModelOptions } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { type WorkspaceDevice, workspaceNeeds, workspaceOn } from "../plan/workspace.ts";
import { arena } from "../program/arena.ts";
import { type LoweredProgram, lower } from "../program/lower.ts";
import type { Parameter, ParameterSource, Program } from "../program/program.ts";
import { allocatedBytes } from "../program/tensor-bytes.ts";
import type { Device } from "../tensor/device.ts";
import type { TensorHandle } from "../tensor/handle.ts";
import type { LoadRequest } from "../tensor/load.ts";
import type { ProgramHandle } from "../tensor/program-handle.ts";
import { sourceParts } from "./source-parts.ts";
import { type KeepProgram, processTrace, type Trace } from "./trace.ts";

export interface DefineOptions {
  /** In bytes of the model's files. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What a program was built with, for a trace. */
  readonly built?: ModelOptions | undefined;
  /** Bytes that the device's workspace is to have at least, for programs that follow. */
  readonly workspace?: number | undefined;
  /** Of the device: the ranks with which the program gathers. */
  readonly group?: number | undefined;
}

/** Milliseconds; `defineMs` is what the program takes beyond the load, during which it is made. */
export interface DefineTimings {
  readonly allocateMs: number;
  readonly loadMs: number;
  readonly defineMs: number;
}

export class ResidentModel {
  readonly device: Device;
  readonly #manifest: Manifest;
  /** Of its handles in the device's ledger; nobody else's there. */
  readonly owner: string;
  /** By `keyOf`: a model may be there with int8 and with 16-bit weights at once. */
  readonly #handles = new Map<string, TensorHandle>();
  readonly #keep: KeepProgram | undefined;
  #arena: TensorHandle | undefined;

  /** Nothing is allocated before the first `define`. Throws `OCTAVO_FILE_NOT_READABLE` for a trace that cannot be written. */
  constructor(device: Device, manifest: Manifest, owner: string, trace: Trace | null = processTrace()) {
    this.device = device;
    this.#manifest = manifest;
    this.owner = owner;
    this.#keep = trace?.residence(manifest);
  }

  /**
   * Makes a program over the model's tensors ready for steps up to `limits`; allocates and loads what no earlier one has.
   * Programs share parameters of the same name and type, KV pages and arena: the worker runs their steps one after the other.
   * Throws `OCTAVO_OUT_OF_MEMORY`, `OCTAVO_MODEL_FILE_INVALID`, the signal's reason.
   */
  async defineProgram(
    program: Program,
    limits: Sizes,
    options: DefineOptions = {},
  ): Promise<{ readonly program: ProgramHandle; readonly timings: DefineTimings }> {
    const begin = performance.now();
    const handle = (name: string) => this.handle(program.parameters.get(name)!);
    const missing = [...program.parameters.values()].filter((parameter) => !this.#handles.has(keyOf(parameter)));
    const parts = missing.map(({ source }) =>
      source.type === "tensors" ? sourceParts(source.parts, this.#manifest) : [],
    );
    await this.#allocate(missing);
    const lowered = lower(program, (name) => handle(name).id, limits);
    const arena = await this.#arenaFor(lowered);
    options.signal?.throwIfAborted();
    const allocated = performance.now();
    // The worker loads while the program is being encoded; it needs the handles, not what is in them.
    const filled = this.#fill(missing, parts, handle, options).then(() => performance.now());
    const [loaded, defined] = await Promise.all([
      filled,
      this.device.define(lowered, this.owner, { arena, workspace: options.workspace, group: options.group }),
    ]);
    this.#keep?.(defined, program, { options: options.built ?? {}, limits });
    const defineMs = performance.now() - loaded;
    return { program: defined, timings: { allocateMs: allocated - begin, loadMs: loaded - allocated, defineMs } };
  }

  /** Frees all of it, an attempt that failed halfway included; what others have on the device stays. */
  async free(): Promise<void> {
    const own = this.device.ledger.entries().filter(({ owner }) => owner === this.owner);
    await this.device.free(own.map(({ handle }) => ({ id: handle })));
    this.#handles.clear();
    this.#arena = undefined;
  }

  /** Where a parameter of a program lies that `defineProgram` has taken. */
  handle(parameter: Parameter): TensorHandle {
    return this.#handles.get(keyOf(parameter))!;
  }

  async #allocate(parameters: readonly Parameter[]): Promise<void> {
    const { owner } = this;
    const handles = await this.device.allocate(
      parameters.map(({ dtype, layout, shape, source }) => ({ dtype, layout, shape, kind: kindOf(source), owner })),
    );
    for (const [index, parameter] of parameters.entries()) this.#handles.set(keyOf(parameter), handles[index]!);
  }

  /** One arena serves all programs; a program that needs more gets a larger one of its own. */
  async #arenaFor(lowered: LoweredProgram): Promise<TensorHandle | undefined> {
    const { arenaBytes } = lowered;
    if (arenaBytes === 0) return undefined;
    if (this.#arena !== undefined && this.#arena.bytes >= arenaBytes) return this.#arena;
    const spec = { dtype: "int8", layout: "plain", shape: [arenaBytes], kind: "arena", owner: this.owner } as const;
    const [arena] = await this.device.allocate([spec]);
    this.#arena = arena;
    return arena;
  }

  async #fill(
    parameters: readonly Parameter[],
    parts: readonly LoadRequest["parts"][],
    handle: (name: string) => TensorHandle,
    { onProgress, signal }: DefineOptions,
  ): Promise<void> {
    const loads: LoadRequest[] = [];
    const constants: { readonly target: TensorHandle; readonly data: ArrayBufferView }[] = [];
    for (const [index, { name, source }] of parameters.entries()) {
      const target = handle(name);
      if (source.type === "constant") constants.push({ target, data: source.data });
      if (source.type !== "tensors") continue;
      const scale = source.scale === undefined ? undefined : handle(source.scale);
      loads.push({ form: source.form, target, scale, parts: parts[index]! });
    }
    const loaded = this.device.load(loads, { onProgress, signal });
    const written = constants.map(({ target, data }) => this.device.write(target, data));
    await Promise.all([loaded, ...written]);
  }
}

/** Bytes that these programs take on an empty device, defined in this order, for steps up to `limits`. */
export function residentBytes(programs: readonly Program[], limits: Sizes, device: WorkspaceDevice): number {
  const parameters = new Map<string, Parameter>();
  let arenas = 0;
  let largest = 0;
  for (const program of programs) {
    for (const parameter of program.parameters.values()) parameters.set(keyOf(parameter), parameter);
    const { bytes } = arena(program, limits);
    if (bytes > largest) {
      arenas += allocatedBytes("int8", "plain", [bytes]);
      largest = bytes;
    }
  }
  const workspaces = programs.map((program) => workspaceOn(workspaceNeeds(program, limits), device));
  let bytes = arenas + Math.max(0, ...workspaces);
  for (const { dtype, layout, shape } of parameters.values()) bytes += allocatedBytes(dtype, layout, shape);
  return bytes;
}

function keyOf({ name, dtype, shape }: Parameter): string {
  return `${name} ${dtype} ${shape.join("x")}`;
}

function kindOf(source: ParameterSource): HandleKind {
  switch (source.type) {
    case "tensors":
    case "constant":
      return "weight";
    case "scale":
      return "scale";
    case "state":
      return source.kind;
  }
}
