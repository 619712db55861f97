/** Steps of a program of one sequence, without the engine: what a kernel or a pass may not change is in these logits. */
import type { Sizes } from "../../protocol/messages.ts";
import { NO_SIZES } from "../../protocol/sizes.ts";
import { ResidentModel } from "../../ts/deploy/resident.ts";
import { buildModel, type ModelOptions } from "../../ts/model/families/index.ts";
import type { Manifest } from "../../ts/model/source/manifest.ts";
import { MODEL_DEFAULTS } from "../../ts/plan/settings.ts";
import { type PayloadData, packInputs, unpackOutputs } from "../../ts/program/payload.ts";
import type { Program } from "../../ts/program/program.ts";
import type { Device } from "../../ts/tensor/device.ts";
import { tokenIds } from "./random.ts";

/** KV pages of the program. */
const STEP_PAGES = 4;

/** What a test varies of a program. */
export type StepOptions = Partial<ModelOptions> & Pick<ModelOptions, "threshold">;

/** A model's program for `stepLogits`, not fused. */
export function logitsProgram(manifest: Manifest, options: StepOptions): Program {
  const output = { type: "logits" } as const;
  return buildModel(manifest, { ...MODEL_DEFAULTS, context: 64, pages: STEP_PAGES, rows: 1, output, ...options });
}

/**
 * Logits of every row. `ends`: after how many tokens each step ends; [37, 38, 39] is a prompt of 37 tokens (three pages, the
 * last one not full), then two more, one by one.
 */
export async function stepLogits(
  device: Device,
  manifest: Manifest,
  program: Program,
  ends: readonly number[],
): Promise<Float32Array[]> {
  const resident = new ResidentModel(device, manifest, "test");
  const longest = Math.max(...ends);
  const limits: Sizes = { ...NO_SIZES, T: longest, S: longest, B: 1, J: STEP_PAGES };
  const { program: handle } = await resident.defineProgram(program, limits);
  const tokens = tokenIds(3, longest, Number(manifest.config.vocab_size));
  const results: Float32Array[] = [];
  let from = 0;
  for (const to of ends) {
    const T = to - from;
    const sizes = { ...limits, T, S: T, J: Math.ceil(to / 16) };
    // Pages in descending order, so that a slot is not its position.
    const page = (position: number) => STEP_PAGES - 1 - Math.floor(position / 16);
    const range = (value: (i: number) => number) => Int32Array.from({ length: T }, (_, i) => value(from + i));
    const arrays: Record<string, PayloadData> = {
      tokens: Int32Array.from(tokens.slice(from, to)),
      positions: range((i) => i),
      slots: range((i) => page(i) * 16 + (i % 16)),
      pages: Int32Array.from({ length: sizes.J }, (_, j) => STEP_PAGES - 1 - j),
      lengths: Int32Array.of(to),
      starts: Int32Array.of(0, T),
      rows: range((i) => i - from),
    };
    const { payload } = await handle.step(sizes, packInputs(handle, sizes, arrays));
    results.push(Float32Array.from(unpackOutputs(handle, sizes, payload).logits as Float32Array));
    from = to;
  }
  return results;
}
