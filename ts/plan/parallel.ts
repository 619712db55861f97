/** Into how many ranks a model is cut, and how much of it each of them has. Pure. */
import { z } from "zod";
import { MAX_RANKS } from "../../protocol/messages.ts";
import type { Rules } from "../arguments.ts";
import { badArgument } from "../errors.ts";
import type { DeviceSize } from "./devices.ts";
import { MARGIN } from "./margin.ts";
import { processBytes } from "./process-bytes.ts";

export interface ParallelOptions {
  /**
   * Devices that each have a part of every layer of their stage ("ranks"), rank 0 on the first one. As many as `devices` lists, over
   * `pipelineParallel`; with "auto" so many are taken. Ids and logits are the same bits for any number of them.
   */
  readonly tensorParallel?: number | undefined;
  /**
   * Stages, one after the other, each with some of the layers (default: 1). Each has as many ranks as every other, which share its
   * layers: with 2 stages and 4 devices, the first two have the first layers. While a stage computes the next rows, the one behind
   * it goes on with those before.
   */
  readonly pipelineParallel?: number | undefined;
  /**
   * How much of the model each rank has, in relation to the others: [2, 1]. By default all have the same where the devices have
   * the same room (the smallest at least nine tenths of the largest); else each in proportion to its own, which is what its
   * memory has beyond the margin and the worker itself.
   */
  readonly shares?: readonly number[] | undefined;
}

/** How little a share may be of another: nobody means more than this, and what is cut has whole heads anyway. */
const MOST = 1e6;
/** Rooms that differ less are alike: a GPU that draws a screen is no reason for uneven heads. */
const ALIKE = 0.9;

export const PARALLEL_RULES: Rules<ParallelOptions> = {
  tensorParallel: [z.int().min(1).max(MAX_RANKS), `a whole number from 1 to ${MAX_RANKS}`],
  pipelineParallel: [z.int().min(1).max(MAX_RANKS), `a whole number from 1 to ${MAX_RANKS}`],
  shares: [
    z.array(z.number().gt(0).max(MOST)).min(1).max(MAX_RANKS),
    `a list of numbers above 0, up to ${MOST}, one for each rank, such as [2, 1]`,
  ],
};

/**
 * Ranks of a model. `listed`: how many devices were named; undefined when the choice is left to us. Throws `OCTAVO_BAD_ARGUMENT`
 * for numbers that do not agree.
 */
export function ranksOf(listed: number | undefined, options: ParallelOptions): number {
  const { tensorParallel, pipelineParallel: stages = 1, shares } = options;
  const ranks = listed ?? (tensorParallel === undefined ? (shares?.length ?? stages) : tensorParallel * stages);
  const devices = `${ranks} ${ranks === 1 ? "device" : "devices"}`;
  if (ranks > MAX_RANKS) throw badArgument(`${devices}; a model runs on at most ${MAX_RANKS}`);
  if (tensorParallel !== undefined && stages === 1 && tensorParallel !== ranks)
    throw badArgument(`tensorParallel is ${tensorParallel} for ${devices}; list as many devices, or leave it out`);
  if (tensorParallel !== undefined && tensorParallel * stages !== ranks) {
    const asked = `tensorParallel ${tensorParallel} and pipelineParallel ${stages} are ${tensorParallel * stages} ranks`;
    throw badArgument(`${asked}, for ${devices}; list as many devices, or leave one of them out`);
  }
  if (ranks % stages !== 0)
    throw badArgument(`pipelineParallel is ${stages} for ${devices}; each stage takes as many of them as every other`);
  if (shares !== undefined && shares.length !== ranks) {
    const given = `shares has ${shares.length} ${shares.length === 1 ? "number" : "numbers"}`;
    throw badArgument(`${given} for ${devices}; it takes one for each`);
  }
  return ranks;
}

/** Shares of the ranks of each stage; stages have equally many. */
export function sharesByStage(shares: readonly number[], stages: number): readonly (readonly number[])[] {
  const size = shares.length / stages;
  return Array.from({ length: stages }, (_, stage) => shares.slice(stage * size, (stage + 1) * size));
}

export function equalShares(ranks: number): readonly number[] {
  return new Array<number>(ranks).fill(1);
}

/** The rule of `ParallelOptions.shares` for who gives none. */
export function sharesOf(devices: readonly DeviceSize[]): readonly number[] {
  const rooms = devices.map((device) => {
    const { backend = "cpu", threads = 1, total, held = 0, baseline, memory } = device;
    const sharing = memory === undefined ? 1 : devices.filter((other) => other.memory === memory).length;
    const usable = Math.max(0, total - held) / sharing;
    return usable * (1 - MARGIN) - processBytes(backend, 0, threads, baseline);
  });
  const [least, most] = [Math.min(...rooms), Math.max(...rooms)];
  // Where one has no room at all, the plan says so, whatever the shares.
  if (least <= 0 || least >= ALIKE * most) return equalShares(devices.length);
  return rooms.map((room) => room / most);
}
