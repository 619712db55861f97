/** What the programs of a model's ranks take of their devices, whatever the devices. Pure. */
import type { Sizes } from "../../protocol/messages.ts";
import { kvLayout, pageBytes } from "../memory/kv/layout.ts";
import type { PlannedBytes } from "../memory/ledger.ts";
import { describeModel } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { arena } from "../program/arena.ts";
import { fuse } from "../program/fuse.ts";
import type { Parameter, Program, ValueId } from "../program/program.ts";
import { allocatedBytes } from "../program/tensor-bytes.ts";
import { cutOf, layersOf, ownLogits, type RankCut } from "./cut.ts";
import { threadBytes } from "./process-bytes.ts";
import { cutPrograms, WHOLE } from "./programs.ts";
import { segmentBytes } from "./segment.ts";
import { resolveSettings, type Settings, type SettingsOptions } from "./settings.ts";
import { type WorkspaceDevice, type WorkspaceNeeds, workspaceNeeds, workspaceOn } from "./workspace.ts";

export interface RankNeeds {
  readonly cut: RankCut;
  /** Bytes by kind; `kvPage` of one page in all layers. `sixteenBit` is every weight that is neither codes nor scales. */
  readonly bytes: {
    readonly int8: number;
    readonly scales: number;
    readonly sixteenBit: number;
    readonly kvPage: number;
    readonly io: number;
    readonly arena: number;
  };
  /** Bytes of the output layer, which are among these; 0 where it is the embedding. */
  readonly head: number;
  /** Bytes of a thread of the worker, beside these. */
  readonly threadBytes: number;
  /** Scratch memory of the ops. */
  readonly workspace: WorkspaceNeeds;
}

/** What a model takes on any devices: the part of a plan that takes time. */
export interface ModelNeeds {
  readonly settings: Settings;
  /** Relative shares of the ranks. */
  readonly shares: readonly number[];
  /** Of equally many ranks, one after the other. */
  readonly stages: number;
  /** Bytes of shared memory in which ranks meet, for all of them together. */
  readonly collectives: number;
  /** Rank 0 first. */
  readonly ranks: readonly RankNeeds[];
}

/** Of options that were checked. Throws what `resolveSettings`, the model's family, `cutStages` and `shard` throw. */
export function needsOf(manifest: Manifest, options: SettingsOptions, shares = WHOLE, stages = 1): ModelNeeds {
  const model = describeModel(manifest);
  const settings = resolveSettings(model, options);
  const programs = cutPrograms(manifest, { ...settings.modelOptions, pages: 1 }, shares, stages);
  const { limits } = settings;
  // Ranks with equal shares are alike: the same sizes, of other rows of the same tensors.
  const known = new Map<string, Omit<RankNeeds, "cut">>();
  const size = programs.length / stages;
  let before = 0;
  const ranks = programs.map((program, rank) => {
    if (rank > 0 && rank % size === 0) before += layersOf(programs[rank - 1]!);
    const sizes = program.values.map(({ shape }) => shape.join("x")).join();
    const key = `${program.outputs.length} ${program.ops.map(({ op }) => op)} ${sizes}`;
    const found = known.get(key) ?? rankNeeds(program, manifest, limits);
    known.set(key, found);
    return { ...found, cut: cutOf(program, before) };
  });
  return { settings, shares, stages, collectives: segmentBytes(programs, limits, stages), ranks };
}

function rankNeeds(cut: Program, { tensors }: Manifest, limits: Sizes): Omit<RankNeeds, "cut"> {
  const program = fuse(cut);
  const kvPage = pageBytes(kvLayout(program));
  const bytes = { int8: 0, scales: 0, sixteenBit: 0, io: 0, kvPage, arena: arena(program, limits).bytes };
  for (const parameter of program.parameters.values()) {
    const kind = kindOf(parameter);
    if (kind !== "kv") bytes[kind] += allocatedBytes(parameter.dtype, parameter.layout, parameter.shape);
  }
  return {
    bytes,
    head: headBytes(program),
    threadBytes: threadBytes(program.parameters.values(), tensors),
    workspace: workspaceNeeds(withLogits(program), limits),
  };
}

function headBytes(program: Program): number {
  const { ops, values, parameters } = program;
  const logits = ownLogits(program);
  const head = ops.find(({ outputs }) => Object.values(outputs).some((id) => id === logits));
  const others = new Set(ops.filter((op) => op !== head).flatMap(({ inputs }) => Object.values(inputs)));
  let bytes = 0;
  for (const id of Object.values(head?.inputs ?? {})) {
    const { place } = values[id]!;
    if (place.type !== "parameter" || others.has(id)) continue;
    const { dtype, layout, shape } = parameters.get(place.name)!;
    bytes += allocatedBytes(dtype, layout, shape);
  }
  return bytes;
}

/** What the engine defines when somebody asks for logits; its workspace is there from the beginning. The rank that has outputs returns them. */
function withLogits(program: Program): Program {
  const logits = logitsOf(program);
  if (logits === undefined || program.outputs.length === 0) return program;
  return { ...program, outputs: [...program.outputs, { name: "logits", value: logits }] };
}

function logitsOf({ ops }: Program): ValueId | undefined {
  return ops.find(({ op }) => op === "sample")?.inputs.logits;
}

/** What a device's ledger is told of a rank with so many KV pages. */
export function plannedBytes({ bytes, workspace }: RankNeeds, pages: number, device: WorkspaceDevice): PlannedBytes {
  return {
    weight: bytes.int8 + bytes.sixteenBit,
    scale: bytes.scales,
    kv: pages * bytes.kvPage,
    arena: bytes.arena,
    workspace: workspaceOn(workspace, device),
    io: bytes.io,
  };
}

function kindOf({ source }: Parameter): "int8" | "scales" | "sixteenBit" | "kv" | "io" {
  switch (source.type) {
    case "tensors":
      return source.form === "int8" ? "int8" : "sixteenBit";
    case "scale":
      return "scales";
    case "constant":
      return "sixteenBit";
    case "state":
      return source.kind;
  }
}
