/** `octavo replay`: run what `OCTAVO_TRACE` has kept again, and name the first op whose bits differ. */
import { Command } from "commander";
import { messageOf } from "../errors.ts";
import type { Found, Replay } from "../replay/replay.ts";
import type { Side } from "../replay/side.ts";
import { interruptible } from "./interrupt.ts";
import { jsonOption, wholeNumber } from "./options.ts";
import { ProgressLine } from "./progress.ts";
import { print, printJson, say } from "./screen.ts";

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
    .option("--against <name>", "the device beside it, op by op where they differ, or none (default: the trace's)")
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
  if (trace.torn) say("the trace ends within a step, which is left out\n");
  const { device, threads, python } = flags;
  const progress = new ProgressLine();
  const options = {
    ...{ threads, python, signal },
    onProgress: (step: number, steps: number) => progress.show(`step ${step} of ${steps}`),
  };
  const origin = [...trace.programs.values()][0]?.device;
  const other = flags.against ?? (origin === device ? "none" : origin);
  const sides: Side[] = [];
  try {
    sides.push(await room.Side.open(device, options));
    if (other !== undefined && other !== "none") {
      await room.Side.open(other, options).then(
        (side) => sides.push(side),
        (error: unknown) => {
          if (flags.against !== undefined || signal.aborted) throw error;
          say(`${other}, where the trace is from: ${messageOf(error)}; comparing results only\n`);
        },
      );
    }
    const result = await replay(trace, sides, options);
    if (result.changed !== undefined || result.found !== undefined) process.exitCode = 1;
    progress.clear();
    const names = sides.map(({ name }) => name);
    if (flags.json) printJson({ devices: names, ...result });
    else print(`${describe(result, names)}\n`);
  } finally {
    progress.clear();
    await Promise.all(sides.map((side) => side[Symbol.asyncDispose]()));
  }
}

function describe({ steps, changed, found }: Replay, names: readonly string[]): string {
  const where = names.join(" and ");
  const compared = names.length > 1 ? "results and state have the same bits" : "the results are the trace's";
  if (changed === undefined && found === undefined) return `${steps} steps on ${where}: ${compared}`;
  const lines: string[] = [];
  if (changed !== undefined) {
    lines.push(`step ${changed.step}: ${changed.outputs.join(", ")} of ${changed.device} are not the trace's`);
  }
  if (found !== undefined) lines.push(describeFound(found, names));
  else if (names.length > 1) {
    lines.push(
      `${where} agree to the bit: the trace is of another version, other model files, or a fault that is gone`,
    );
  }
  return lines.join("\n");
}

function describeFound(found: Found, [a, b]: readonly string[]): string {
  const { step, sizes, op, ops, name, operand, difference } = found;
  const where = `step ${step} (T ${sizes.T}, S ${sizes.S}, B ${sizes.B})`;
  if (op === undefined || difference === undefined)
    return `${where}: ${a} and ${b} differ, but no op does by itself: it shows only in the program as a whole`;
  const { at, elements, differ, of } = difference;
  return (
    `the first op whose bits differ: ${where}, op ${op} of ${ops}: ${name}\n` +
    `  ${operand}[${at.join(", ")}]: ${elements[0]} on ${a}, ${elements[1]} on ${b}; ${differ} of ${of} elements differ`
  );
}
