/** A model as one program per rank, ready for the arena. Pure. */
import { buildModel, type ModelOptions } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { fuse } from "../program/fuse.ts";
import type { Program } from "../program/program.ts";
import { shard } from "../program/shard.ts";

/**
 * Of as many ranks as there are shares, rank 0 first. Sharding stands between building and fusing: merged and fused ops would have
 * to be cut. Throws what `buildModel` and `shard` throw.
 */
export function rankPrograms(
  manifest: Manifest,
  options: ModelOptions,
  shares: readonly number[] = [1],
): readonly Program[] {
  return shard(buildModel(manifest, options), shares).map(fuse);
}
