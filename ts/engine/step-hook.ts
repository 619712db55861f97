/** A caller's `onStep`, so that what is wrong with it harms no request. */
import { emitWarning } from "../warnings.ts";
import type { LoadOptions } from "./load-options.ts";
import type { StepReport } from "./statistics.ts";

/** Told of in one warning when it throws or rejects, and not called again. */
export function stepHook(
  options: Pick<LoadOptions, "onStep" | "onWarning">,
): ((report: StepReport) => void) | undefined {
  let { onStep } = options;
  if (onStep === undefined) return undefined;
  const call = async (report: StepReport): Promise<void> => {
    try {
      await onStep?.(report);
    } catch (error) {
      if (onStep === undefined) return; // Of a call before the one that has failed.
      onStep = undefined;
      (options.onWarning ?? emitWarning)(`onStep has failed and is not called any more: ${error}`);
    }
  };
  // Also what `onWarning` throws.
  return (report) => void call(report).catch((error) => emitWarning(`onWarning has failed: ${error}`));
}
