/** `octavo program`: the program of a model, as text or as the JSON that proofs and `octavo replay` read. */
import { Command, Option } from "commander";
import { badArgument } from "../errors.ts";
import type { ModelOptions } from "../model/families/index.ts";
import {
  addParallelOptions,
  addSettingsOptions,
  jsonOption,
  type LoadFlags,
  parallelOf,
  settingsOf,
  wholeNumber,
} from "./options.ts";
import { print, printJson } from "./screen.ts";

interface ProgramFlags extends Omit<LoadFlags, "devices"> {
  readonly devices?: string;
  readonly output: "sample" | "logits" | "score";
  readonly unfused?: boolean;
  readonly constants?: boolean;
  readonly rank: number;
  readonly json?: boolean;
}

export function programCommand(): Command {
  const command = new Command("program").description(
    "Print the program of a model: ops, shapes, places. Reads headers only: a config.json is enough.",
  );
  return addParallelOptions(addSettingsOptions(command.argument("[model]", "as --model")))
    .option("--unfused", "as the model's family writes it, before ops are fused")
    .addOption(
      new Option("--output <what>", "what a step returns").choices(["sample", "logits", "score"]).default("sample"),
    )
    .option("--rank <n>", "of which rank, with --tp, --pp or --shares", wholeNumber(0), 0)
    .option("--devices <name>", "ask this device how many kernels it launches for each op, where its backend can say")
    .option("--constants", "with --json: also the data of constants, which a program needs to run")
    .addOption(jsonOption())
    .action((model: string | undefined, flags: ProgramFlags) => printModel(model ?? flags.model, flags));
}

async function printModel(model: string, flags: ProgramFlags): Promise<void> {
  const [{ openHeaders }, { resolveSettings }, { describeModel }, { cutPrograms }, { fuse }, { exportProgram }] =
    await Promise.all([
      import("../deploy/plan-model.ts"),
      import("../plan/settings.ts"),
      import("../model/families/index.ts"),
      import("../plan/programs.ts"),
      import("../program/fuse.ts"),
      import("../program/export.ts"),
    ]);
  const { equalShares, ranksOf } = await import("../plan/parallel.ts");
  const ranks = ranksOf(undefined, parallelOf(flags));
  if (flags.rank >= ranks) {
    const there =
      ranks === 1 ? "there is only rank 0; --tp cuts the program, and --pp" : `there are ranks 0 to ${ranks - 1}`;
    throw badArgument(`--rank ${flags.rank}: ${there}`);
  }
  const manifest = await openHeaders(model);
  const description = describeModel(manifest);
  const { modelOptions, limits, sequences } = resolveSettings(description, settingsOf(flags));
  const options: ModelOptions = { ...modelOptions, pages: sequences * limits.J, output: { type: flags.output } };
  const built = cutPrograms(manifest, options, flags.shares ?? equalShares(ranks), flags.pp)[flags.rank]!;
  const { family, architecture } = description;
  const program = flags.unfused ? built : fuse(built);
  const file = exportProgram(
    program,
    { model: { path: manifest.path, family, architecture }, options, limits },
    { constants: flags.constants ?? false },
  );
  if (flags.devices !== undefined) {
    const { launchesOn } = await import("../deploy/launches.ts");
    const launches = await launchesOn(flags.devices, program, limits);
    for (const [index, count] of (launches ?? []).entries()) file.ops[index]!.launches = count;
  }
  if (flags.json) return printJson(file);
  const { printProgram } = await import("../program/print.ts");
  print(printProgram(file));
}
