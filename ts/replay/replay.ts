/** Runs the steps of a trace again, on one device or on two side by side, and says where results first differ. */
import { type Difference, differenceOf, digestOf, type Result } from "../deploy/bits.ts";
import type { TraceContent, TracedProgram, TracedStep } from "../deploy/trace-file.ts";
import { openModel } from "../model/source/index.ts";
import { findOp, type OpDifference } from "./find-op.ts";
import { type Defined, type Side, type SideOptions, touchedPages, writtenBy } from "./side.ts";

/** A result that differs between two sides. */
export interface Found extends OpDifference {
  readonly step: number;
  readonly program: number;
  readonly sizes: TracedStep["sizes"];
}

export interface Replay {
  /** That were run, up to the one that differs. */
  readonly steps: number;
  /** The first step of which a device does not give the trace's results, and which of them. */
  readonly changed?: { readonly step: number; readonly device: string; readonly outputs: readonly string[] };
  /** With two sides: the first step in which they differ, and its first op. */
  readonly found?: Found;
}

/**
 * Not fixed to the bit where one side is the reference: it takes logarithms through float64 (docs/numerics.md). By their names
 * in the op table.
 */
const LOGARITHMS: ReadonlySet<string> = new Set(["logprob", "topLogprobs", "nll", "kl"]);

/** Stops at the first step that differs. Throws what models, workers and steps throw. */
export async function replay(trace: TraceContent, sides: readonly Side[], options: SideOptions = {}): Promise<Replay> {
  const reference =
    sides.some(({ isReference }) => isReference) ||
    [...trace.programs.values()].some(({ device }) => device.startsWith("reference:"));
  const compared = ({ operand }: Result) => !(reference && LOGARITHMS.has(operand));
  let done = 0;
  for (const residence of new Set([...trace.programs.values()].map((program) => program.residence))) {
    const programs = [...trace.programs].filter(([, program]) => program.residence === residence);
    const numbers = new Set(programs.map(([number]) => number));
    const defined = await defineAll(sides, programs);
    for (const step of trace.steps.filter(({ program }) => numbers.has(program))) {
      options.signal?.throwIfAborted();
      const here = defined.map((each) => each.get(step.program)!);
      const outcome = await runStep(sides, here, step, compared);
      done += 1;
      options.onProgress?.(done, trace.steps.length);
      if (outcome !== undefined) return { steps: done, ...outcome };
    }
  }
  return { steps: done };
}

async function defineAll(
  sides: readonly Side[],
  programs: readonly (readonly [number, TracedProgram])[],
): Promise<ReadonlyMap<number, Defined>[]> {
  const manifest = await openModel(programs[0]![1].file.model.path);
  return Promise.all(
    sides.map(async (side) => {
      await side.use(manifest);
      const defined = new Map<number, Defined>();
      for (const [number, program] of programs) defined.set(number, await side.define(program));
      return defined;
    }),
  );
}

/** Undefined when all is equal. */
async function runStep(
  sides: readonly Side[],
  defined: readonly Defined[],
  step: TracedStep,
  compared: (result: Result) => boolean,
): Promise<Omit<Replay, "steps"> | undefined> {
  const [a, b] = sides;
  const restore = b === undefined ? [] : await Promise.all(sides.map((side, i) => side.save(defined[i]!)));
  const results = await Promise.all(sides.map((side, i) => side.step(defined[i]!, step)));
  const changes = results.map((all) =>
    [...all].flatMap(([name, result]) => (compared(result) && digestOf(result) !== step.results[name] ? [name] : [])),
  );
  const at = changes.findIndex((outputs) => outputs.length > 0);
  const changed = at < 0 ? {} : { changed: { step: step.step, device: sides[at]!.name, outputs: changes[at]! } };
  if (b === undefined) return at < 0 ? undefined : changed;
  const pair = [a!, b] as const;
  const both = [defined[0]!, defined[1]!] as const;
  const different =
    [...results[0]!].some(([name, result]) => compared(result) && differenceOf(result, results[1]!.get(name)!)) ||
    (await stateDiffers(pair, both, step));
  if (!different) return at < 0 ? undefined : changed;
  const op = await findOp(pair, both, step, () => Promise.all(restore.map((put) => put())), compared);
  return { ...changed, found: { step: step.step, program: step.program, sizes: step.sizes, ...op } };
}

/** KV pages that the step wrote, and other parameters: what later steps read. */
async function stateDiffers(
  sides: readonly [Side, Side],
  defined: readonly [Defined, Defined],
  step: TracedStep,
): Promise<Difference | undefined> {
  const pages = touchedPages(defined[0].handle, step);
  for (const written of writtenBy(defined[0].program)) {
    const [a, b] = await Promise.all(sides.map((side, i) => side.read(defined[i]!, written, pages)));
    const difference = differenceOf(a!, b!);
    if (difference !== undefined) return difference;
  }
  return undefined;
}
