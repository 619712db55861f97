/** `octavo replay`: run what `OCTAVO_TRACE` has kept again, and name the first op whose bits differ. */
import { Command } from "commander";
import { messageOf, OctavoError } from "../errors.ts";
import type { Found, Replay } from "../replay/replay.ts";
import type { Side } from "../replay/side.ts";
import { interruptible } from "./interrupt.ts";
import { jsonOption, wholeNumber } from "./options.ts";
import { ProgressLine } from "./progress.ts";
import { print, printJson } from "./screen.ts";

interface ReplayFlags {
  readonly device: string;
  readonly against?: string;
  readonly threads?: number;
  readonly python?: string;
  readonly json?: boolean;
}

export function replayCommand(): Command {
  return new Command("replay")
    .description(
      "Run the steps of a trace (OCTAVO_TRACE=folder) again and compare the results; exit 1 when they differ, with the first op that does.",
    )
    .argument("<folder>", "of the trace")
    .option("--device <name>", "where to run it: reference:0 is the definition of every op, and slow", "reference:0")
    .option("--against <name>", "a second device, side by side (default: the trace's, once a result differs)")
    .option("--threads <n>", "threads of each worker", wholeNumber(1))
    .option("--python <path>", "Python of the workers")
    .addOption(jsonOption())
    .action((folder: string, flags: ReplayFlags) => interruptible((signal) => replayTrace(folder, flags, signal)));
}

async function replayTrace(folder: string, flags: ReplayFlags, signal: AbortSignal): Promise<void> {
  const [{ readTrace }, { replay }, room] = await Promise.all([
    import("../deploy/trace-file.ts"),
    import("../replay/replay.ts"),
    import("../replay/side.ts"),
  ]);
  const trace = await readTrace(folder);
  const { device, threads, python } = flags;
  const progress = new ProgressLine();
  const options = {
    ...{ threads, python, signal },
    onProgress: (step: number, steps: number) => progress.show(`step ${step} of ${steps}`),
  };
  const run = async (names: readonly string[]): Promise<Replay> => {
    const sides: Side[] = [];
    try {
      for (const name of names) sides.push(await room.Side.open(name, options));
      return await replay(trace, sides, options);
    } finally {
      progress.clear();
      await Promise.all(sides.map((side) => side[Symbol.asyncDispose]()));
    }
  };
  let result = await run(flags.against === undefined ? [device] : [device, flags.against]);
  const { changed } = result;
  let against = flags.against;
  if (changed !== undefined && against === undefined) {
    against = [...trace.programs.values()][0]!.device;
    try {
      result = { ...(await run([device, against])), changed };
    } catch (error) {
      const text = `${describe(result, device)}; the op was not found: ${against}: ${messageOf(error)}`;
      throw OctavoError.isInstance(error) ? new OctavoError(error.code, text, { cause: error }) : error;
    }
  }
  if (changed !== undefined || result.found !== undefined) process.exitCode = 1;
  if (flags.json) printJson({ device, ...(against === undefined ? {} : { against }), ...result });
  else print(`${describe(result, device, against)}\n`);
}

function describe({ steps, changed, found }: Replay, device: string, against?: string): string {
  const where = against === undefined ? device : `${device} and ${against}`;
  if (changed === undefined && found === undefined) return `${steps} steps on ${where}: the results are the trace's`;
  const lines: string[] = [];
  if (changed !== undefined) {
    lines.push(`step ${changed.step}: ${changed.outputs.join(", ")} of ${changed.device} are not the trace's`);
  }
  if (found !== undefined) lines.push(describeFound(found, device, against));
  else if (against !== undefined) {
    lines.push(
      `${where} agree to the bit: the trace is of another version, other model files, or a fault that is gone`,
    );
  }
  return lines.join("\n");
}

function describeFound(found: Found, device: string, against: string | undefined): string {
  const { step, sizes, op, ops, name, operand, difference } = found;
  const where = `step ${step} (T ${sizes.T}, S ${sizes.S}, B ${sizes.B})`;
  if (op === undefined || difference === undefined) {
    return `${where}: ${device} and ${against} differ, but no op does by itself: it shows only in the program as a whole`;
  }
  const { at, elements, differ, of } = difference;
  return (
    `the first op whose bits differ: ${where}, op ${op} of ${ops}: ${name}\n` +
    `  ${operand}[${at.join(", ")}]: ${elements[0]} on ${device}, ${elements[1]} on ${against}; ${differ} of ${of} elements differ`
  );
}
