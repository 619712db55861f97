/** A model as one program per rank, ready for the arena. Pure. */
import { buildModel, type ModelOptions } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { fuse } from "../program/fuse.ts";
import type { Program } from "../program/program.ts";
import { shard } from "../program/shard.ts";

/** How a model is cut when it is not. */
export const WHOLE: readonly number[] = [1];

/** Rank 0 first, for relative shares. Throws what `buildModel` and `shard` throw. */
export function rankPrograms(manifest: Manifest, options: ModelOptions, shares = WHOLE): readonly Program[] {
  return cutPrograms(manifest, options, shares).map((program) => fuse(program));
}

/** The same before ops are fused: only there they can be cut, and what was cut be seen. */
export function cutPrograms(manifest: Manifest, options: ModelOptions, shares = WHOLE): readonly Program[] {
  return shard(buildModel(manifest, options), shares);
}
