/** Runs a text through a model with 16-bit weights and counts the outliers among the inputs of its linears. */
import type { Sizes } from "../../protocol/messages.ts";
import { PAGE_SIZE } from "../../protocol/ops.ts";
import { NO_SIZES } from "../../protocol/sizes.ts";
import type { StepProgram } from "../deploy/group.ts";
import type { ResidentModel } from "../deploy/resident.ts";
import { blame, nonfinite } from "../engine/diagnosis.ts";
import { badArgument } from "../errors.ts";
import { assertRoom, CHUNK, chunkInputs, eachChunk, loadingOf, openText, type TextOptions } from "../eval/open.ts";
import type { Chunk } from "../eval/windows.ts";
import { rankPrograms } from "../plan/programs.ts";
import { segmentBytes } from "../plan/segment.ts";
import { MODEL_DEFAULTS } from "../plan/settings.ts";
import { packInputs } from "../program/payload.ts";
import type { Program } from "../program/program.ts";
import { type Observation, type ProjectionOutliers, summarize } from "./outliers.ts";

export interface InspectOptions extends Omit<TextOptions, "head" | "headThreshold" | "kv"> {
  /** From this magnitude on a number is an outlier. Default 6, the paper's. */
  readonly threshold?: number | undefined;
}

export interface Inspection {
  readonly model: string;
  readonly threshold: number;
  readonly tokens: number;
  readonly window: number;
  readonly layers: number;
  readonly projections: readonly ProjectionOutliers[];
}

/** Also what was counted, for `heatMap`. Throws what `Engine.load` throws, and `OCTAVO_BAD_ARGUMENT` for an empty text. */
export async function inspectOutliers(
  model: string,
  text: string,
  options: InspectOptions = {},
): Promise<{ readonly inspection: Inspection; readonly observations: readonly Observation[] }> {
  const { threshold = 6 } = options;
  if (!Number.isFinite(threshold) || threshold <= 0)
    throw badArgument(`threshold is ${threshold}; it takes a positive number`);
  await using opened = await openText(model, text, options);
  const { manifest, description, window, tokens, chunks, residence, shares } = opened;
  const pages = Math.ceil(window / PAGE_SIZE);
  const observed = { weights: "16bit", threshold: 0, observe: threshold, output: { type: "logits" } } as const;
  const built = { ...MODEL_DEFAULTS, ...observed, context: window, pages, rows: 1 };
  const programs = rankPrograms(manifest, built, shares);
  const limits: Sizes = { ...NO_SIZES, T: Math.min(CHUNK, window), S: 1, B: 1, J: pages };
  const keeps = "inspect keeps the model with 16-bit weights";
  assertRoom(residence, [programs], limits, keeps, (missing) => `Free ${missing}`);
  await residence.meet(segmentBytes(programs, limits));
  const { group: defined } = await residence.define(programs, limits, loadingOf(options));
  await eachChunk(opened, options, (chunk) => runChunk(defined, chunk, tokens));
  // Inputs of linears are whole on every rank.
  const observations = await readObservations(programs[0]!, residence.ranks[0]!);
  const counted = chunks.reduce((sum, { from, to }) => sum + to - from, 0);
  const projections = summarize(observations, counted);
  return {
    inspection: { model, threshold, tokens: counted, window, layers: description.layers, projections },
    observations,
  };
}

async function runChunk(program: StepProgram, chunk: Chunk, tokens: readonly number[]): Promise<void> {
  const { from, to } = chunk;
  const { sizes: chunkSizes, arrays } = chunkInputs(chunk, tokens);
  const sizes = { ...chunkSizes, S: 1 };
  const rows = Int32Array.of(sizes.T - 1); // The output layer is nobody's concern here: one row of it.
  const payload = packInputs(program, sizes, { ...arrays, rows });
  // What is NaN is counted nowhere.
  const { nonfinite: op } = await program.step(sizes, payload, { check: true });
  if (op !== undefined) throw nonfinite(`tokens ${from} to ${to - 1} of the text: ${blame(op)}`);
}

/** What the program's `observe_outliers` have counted. Their states are named by layer and projection. */
async function readObservations(program: Program, resident: ResidentModel): Promise<Observation[]> {
  const observed = program.ops.filter(({ op }) => op === "observe_outliers");
  return Promise.all(
    observed.map(async ({ inputs }) => {
      const name = program.values[inputs.counts!]!.label;
      const read = (id: number) => resident.handle(program.parameters.get(program.values[id]!.label)!).read();
      const [counts, largest] = await Promise.all([read(inputs.counts!), read(inputs.largest!)]);
      const [, layer, projection] = /\.(\d+)\.(.+)\.outliers$/.exec(name)!;
      return {
        layer: Number(layer),
        projection: projection!,
        counts: counts as Int32Array,
        largest: largest as Float32Array,
      };
    }),
  );
}
