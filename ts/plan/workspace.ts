/**
 * What the workspace of a device will have: scratch memory of all ops of a program, as the device's worker takes it when
 * the program is defined. To the byte; pure.
 */
import type { Sizes } from "../../protocol/messages.ts";
import { OPS, type OpName } from "../../protocol/ops.ts";
import { TICKET_BYTES, WORKSPACE } from "../../protocol/workspace.ts";
import type { Operation, Program, ValueId } from "../program/program.ts";
import { isMutated } from "../program/rewrite.ts";
import { ShapeScope, shapeAt } from "../program/shapes.ts";
import { contentBytes, roundUp } from "../program/tensor-bytes.ts";
import type { DeviceBackend } from "./devices.ts";
import { evaluateFormula } from "./formula.ts";

/** int32 tensors up to here that a step writes (the ids that it has drawn) come back with its results: `triton/mirrors.py`. */
const MIRRORED_TO = 64 * 1024;
/** Sizes of a step, and those that are one more than another. */
const STEP_SIZES = 9;

/** What steps of a program need of the workspace, on any device; bytes. */
export interface WorkspaceNeeds {
  /** Of a CPU: each thread; all together, where there is one thread and where there are several. */
  readonly thread: number;
  readonly shared: readonly [one: number, several: number];
  /** Of a GPU: of one op; what goes to the GPU and comes back in a step. */
  readonly scratch: number;
  readonly blocks: number;
}

export interface WorkspaceDevice {
  readonly backend: DeviceBackend;
  readonly threads: number;
}

/** For steps up to `limits`. */
export function workspaceNeeds(program: Program, limits: Sizes): WorkspaceNeeds {
  const [one, several] = [scratchOf(program, limits, 1), scratchOf(program, limits, 2)];
  const { thread, scratch } = several;
  return { thread, scratch, shared: [one.shared, several.shared], blocks: stepBlocks(program, limits) };
}

/** Bytes of the workspace that a device has for these. */
export function workspaceOn(needs: WorkspaceNeeds, { backend, threads }: WorkspaceDevice): number {
  const { thread, shared, scratch, blocks } = needs;
  if (backend === "reference") return 0; // Its ops make what they need and drop it again: nobody can say how much.
  if (backend === "cpu") return threads * roundUp(thread, 64) + roundUp(shared[threads > 1 ? 1 : 0], 64);
  // The interpreter's memory is the host's, which has what goes to the device and comes back once more.
  return TICKET_BYTES + roundUp(scratch, 256) + (backend === "cuda" ? blocks : 2 * blocks);
}

interface Scratch {
  thread: number;
  shared: number;
  scratch: number;
}

/** The most of all ops; see `protocol/workspace.ts`. */
function scratchOf(program: Program, limits: Sizes, threads: number): Scratch {
  const most: Scratch = { thread: 0, shared: 0, scratch: 0 };
  const known = new Set<string>(); // The layers of a model are alike.
  for (const operation of program.ops) {
    const formulas = WORKSPACE[operation.op];
    if (formulas === undefined) continue;
    const shapes = shapesOf(program, operation, limits);
    const key = [operation.op, ...Object.values(shapes), ...Object.values(operation.attributes)].join();
    if (known.has(key)) continue;
    known.add(key);
    const names = { ...operation.attributes, ...symbolsOf(operation, shapes), threads } as Record<string, number>;
    for (const [name, formula] of Object.entries(formulas)) names[name] = evaluateFormula(formula, names);
    for (const name of ["thread", "shared", "scratch"] as const) most[name] = Math.max(most[name], names[name] ?? 0);
  }
  return most;
}

function shapesOf(program: Program, { inputs, outputs }: Operation, limits: Sizes): Record<string, number[]> {
  const shapes: Record<string, number[]> = {};
  for (const operands of [inputs, outputs])
    for (const name in operands) shapes[name] = shapeAt(program.values[operands[name]!]!.shape, limits);
  return shapes;
}

function symbolsOf({ op, attributes }: Operation, shapes: Readonly<Record<string, number[]>>): Record<string, number> {
  const scope = new ShapeScope(op, attributes);
  for (const [name, { shape }] of Object.entries({ ...OPS[op].inputs, ...OPS[op].outputs }))
    if (shapes[name] !== undefined) scope.bind(name, shape, shapes[name]);
  return scope.numbers();
}

/** What goes to a GPU and comes back in a step, each as one block: `triton/block.py`. */
function stepBlocks(program: Program, limits: Sizes): number {
  const { values, ops } = program;
  const rows = new Set(values.map(({ shape }) => shape[0]).filter((size) => typeof size === "number"));
  const inputs = blockBytes(program, program.inputs, limits, 4 * (STEP_SIZES + rows.size));
  const counting = ops.filter(({ op, outputs }) => "carries" in outputs || COUNTING.includes(op)).length;
  const returned = new Set([...program.outputs.map(({ value }) => value), ...mirrored(program)]);
  return roundUp(inputs, 256) + roundUp(blockBytes(program, [...returned], limits, 16 * (counting + 1)), 256);
}

const COUNTING: readonly OpName[] = ["sample", "score", "pool"];

/** Arrays at multiples of 64 behind `first` bytes, the largest one last. */
function blockBytes({ values }: Program, ids: readonly ValueId[], limits: Sizes, first: number): number {
  const sizes = ids.map((id) => {
    const { dtype, shape } = values[id]!;
    return contentBytes(dtype, shapeAt(shape, limits));
  });
  return sizes.sort((a, b) => a - b).reduce((end, bytes) => roundUp(end, 64) + bytes, roundUp(first, 64));
}

/** One value of each small int32 parameter that ops write. */
function mirrored({ values, ops }: Program): ValueId[] {
  const found = new Map<string, ValueId>();
  for (const { op, inputs, outputs } of ops) {
    const written = Object.entries(inputs).filter(([name]) => isMutated(op, name));
    for (const [, id] of [...written, ...Object.entries(outputs)]) {
      const { place } = values[id]!;
      if (place.type === "parameter") found.set(place.name, id);
    }
  }
  return [...found.values()].filter((id) => {
    const { dtype, shape } = values[id]!;
    const fixed = shape.filter((dimension) => typeof dimension === "number");
    return dtype === "int32" && fixed.length === shape.length && contentBytes(dtype, fixed) <= MIRRORED_TO;
  });
}
