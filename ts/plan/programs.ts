/** A model as one program per rank, ready for the arena. Pure. */
import { buildModel, type ModelOptions } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { fuse } from "../program/fuse.ts";
import type { Program } from "../program/program.ts";
import { shard } from "../program/shard.ts";
import { cutStages } from "../program/stages.ts";
import { sharesByStage } from "./parallel.ts";

/** How a model is cut when it is not. */
export const WHOLE: readonly number[] = [1];

/**
 * Rank 0 first, for relative shares; `stages` of equally many ranks, one after the other. Throws what `buildModel`, `cutStages` and
 * `shard` throw.
 */
export function rankPrograms(
  manifest: Manifest,
  options: ModelOptions,
  shares = WHOLE,
  stages = 1,
): readonly Program[] {
  return cutPrograms(manifest, options, shares, stages).map((program) => fuse(program));
}

/** The same before ops are fused: only there they can be cut, and what was cut be seen. */
export function cutPrograms(manifest: Manifest, options: ModelOptions, shares = WHOLE, stages = 1): readonly Program[] {
  const byStage = sharesByStage(shares, stages);
  const ofStages = byStage.map((ranks) => ranks.reduce((sum, share) => sum + share, 0));
  return cutStages(buildModel(manifest, options), ofStages).flatMap((stage, index) => shard(stage, byStage[index]!));
}
