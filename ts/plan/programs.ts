/** A model as one program per rank, ready for the arena. Pure. */
import { buildModel, type ModelOptions } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { fuse } from "../program/fuse.ts";
import type { Program } from "../program/program.ts";

/** Rank 0 first. Sharding belongs between building and fusing: merged and fused ops would have to be cut. */
export function rankPrograms(manifest: Manifest, options: ModelOptions): readonly Program[] {
  return [fuse(buildModel(manifest, options))];
}
