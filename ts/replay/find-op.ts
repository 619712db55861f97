/**
 * The first op of a step whose bits differ between two devices. The step runs again from its start as prefixes of its program
 * whose outputs are what their last ops write; no worker has to know of it.
 */
import type { Sizes } from "../../protocol/messages.ts";
import { type Difference, differenceOf, type Result } from "../deploy/bits.ts";
import type { TracedStep } from "../deploy/trace-file.ts";
import type { Operation, Program, ValueId } from "../program/program.ts";
import { compact } from "../program/rewrite.ts";
import { shapeAt } from "../program/shapes.ts";
import { allocatedBytes } from "../program/tensor-bytes.ts";
import { type Defined, type Side, touchedPages, writtenBy } from "./side.ts";

/** Outputs of a program, as the protocol bounds them, and what they may take: they live to the program's end. */
const MOST_OUTPUTS = 64;
const MOST_OUTPUT_BYTES = 64 * 2 ** 20;

export interface OpDifference {
  /** Index in the program; undefined when no op differs by itself, only the program as a whole. */
  readonly op?: number;
  readonly ops: number;
  readonly name?: string;
  readonly operand?: string;
  readonly difference?: Difference;
}

/** `restore` puts back on both sides what the step found before it ran. */
export async function findOp(
  sides: readonly [Side, Side],
  defined: readonly [Defined, Defined],
  step: TracedStep,
  restore: () => Promise<unknown>,
  compared: (result: Result) => boolean,
): Promise<OpDifference> {
  const [{ program, limits, handle }] = defined;
  const pages = touchedPages(handle, step);
  const written = writtenBy(program);
  const named = (op: number, operand: string, difference: Difference): OpDifference => {
    const { op: kind, label } = program.ops[op]!;
    return { op, ops: program.ops.length, name: `${kind} (${label})`, operand, difference };
  };
  for (const [from, to] of chunks(program, limits)) {
    await restore();
    const probes = await Promise.all(
      sides.map((side, i) => side.defineExactly(prefix(defined[i]!.program, from, to), limits)),
    );
    const results = await Promise.all(sides.map((side, i) => side.step(probes[i]!, step)));
    for (let op = from; op < to; op++) {
      for (const operand of Object.keys(program.ops[op]!.outputs)) {
        const [a, b] = results.map((all) => all.get(`${op}.${operand}`));
        const difference = a && b && compared(a) ? differenceOf(a, b) : undefined;
        if (difference !== undefined) return named(op, operand, difference);
      }
      for (const place of written.filter((each) => each.op === op)) {
        const [a, b] = await Promise.all(sides.map((side, i) => side.read(defined[i]!, place, pages)));
        const difference = differenceOf(a!, b!);
        if (difference !== undefined) return named(op, place.operand, difference);
      }
    }
    await Promise.all(probes.map((probe) => probe.handle.dispose()));
  }
  return { ops: program.ops.length };
}

/** What an op writes into the arena. */
function intermediates(program: Program, { outputs }: Operation): [string, ValueId][] {
  return Object.entries(outputs).filter(([, id]) => program.values[id]!.place.type === "intermediate");
}

/** Neighbouring ops [from, to) whose results one program can return. */
function chunks(program: Program, limits: Sizes): [number, number][] {
  const found: [number, number][] = [];
  let [from, outputs, bytes] = [0, 0, 0];
  for (const [index, op] of program.ops.entries()) {
    const own = intermediates(program, op);
    const size = own.reduce((sum, [, id]) => {
      const { dtype, layout, shape } = program.values[id]!;
      return sum + allocatedBytes(dtype, layout, shapeAt(shape, limits));
    }, 0);
    if (index > from && (outputs + own.length > MOST_OUTPUTS || bytes + size > MOST_OUTPUT_BYTES)) {
      found.push([from, index]);
      [from, outputs, bytes] = [index, 0, 0];
    }
    outputs += own.length;
    bytes += size;
  }
  return [...found, [from, program.ops.length]];
}

/** The ops before `to`, with the results of those from `from` on as outputs `index.operand`. */
function prefix(program: Program, from: number, to: number): Program {
  const ops = program.ops.slice(0, to);
  const outputs = ops
    .slice(from)
    .flatMap((op, index) =>
      intermediates(program, op).map(([operand, value]) => ({ name: `${from + index}.${operand}`, value })),
    );
  return compact({ ...program, ops, outputs });
}
