/** `octavo plan`: what a model would take on which devices, from headers alone. */
import { Command } from "commander";
import type { Plan } from "../plan/types.ts";
import {
  addParallelOptions,
  addSettingsOptions,
  jsonOption,
  type LoadFlags,
  memoryLimitOption,
  parallelOf,
  settingsOf,
} from "./options.ts";
import { print, printJson, table } from "./screen.ts";

interface PlanFlags extends LoadFlags {
  readonly json?: boolean;
}

export function planCommand(): Command {
  const command = new Command("plan").description(
    "Say what a model takes on devices, or why it does not fit and what would (exit 1). Reads headers only: a config.json is enough.",
  );
  addSettingsOptions(command.argument("[model]", "as --model")).option(
    "--devices <list>",
    "sizes (24GiB, 8x24GiB, 24GiB,12GiB) or names (cpu:0, cuda:0,cuda:1); auto: this machine",
    "auto",
  );
  return addParallelOptions(command)
    .addOption(memoryLimitOption())
    .addOption(jsonOption())
    .action((model: string | undefined, flags: PlanFlags) => plan(model ?? flags.model, flags));
}

async function plan(model: string, flags: PlanFlags): Promise<void> {
  const { planModel } = await import("../deploy/plan-model.ts");
  const { devices } = flags;
  const result = await planModel(model, { ...settingsOf(flags), ...parallelOf(flags), devices });
  if (!result.fits) process.exitCode = 1;
  if (flags.json) {
    const { fits, refusal, kvTokens, wantedTokens, totals, devices, details } = result;
    const cut = details.ranks.length > 1 ? { cut: details.ranks.map((rank) => rank.cut) } : {};
    printJson({ fits, refusal, kvTokens, wantedTokens, totals, devices, ...cut });
  } else print(`${(await describe(model, result)).join("\n")}\n`);
}

const PARTS = ["total", "weights", "kv", "activations", "context", "collectives", "margin", "free"] as const;

async function describe(model: string, plan: Plan): Promise<string[]> {
  const { fits, refusal, totals, devices } = plan;
  const { formatBytes } = await import("../bytes.ts");
  const rows = devices.map((device) => [device.name, ...PARTS.map((part) => formatBytes(device[part]))]);
  return [
    fits ? `${model} fits: ${roomLine(plan)}` : `${model} does not fit. ${refusal}`,
    `int8 codes ${formatBytes(totals.int8)}, scales ${formatBytes(totals.scales)}, 16-bit ${formatBytes(totals.sixteenBit)}; ` +
      (totals.head === 0 ? "the embedding is the head" : `the head is ${formatBytes(totals.head)} of them`),
    "",
    ...table([["device", ...PARTS], ...rows]),
    ...(devices.length > 1 ? ["", ...cutLines(plan)] : []),
  ];
}

const CUTS = [
  ["heads", "heads"],
  ["kv heads", "kvHeads"],
  ["mlp columns", "mlp"],
  ["vocabulary", "vocabulary"],
] as const;

/** What each rank has of its stage's layers, and of the output layer. */
function cutLines({ devices, details }: Plan): string[] {
  const { ranks, stages } = details;
  const isStaged = stages > 1;
  const rows = ranks.map(({ cut }, rank) => [
    `rank ${rank}: ${devices[rank]!.name}`,
    ...(isStaged ? [String(Math.floor((rank * stages) / ranks.length)), `${cut.layers[0]}..${cut.layers[1] - 1}`] : []),
    ...CUTS.map(([, part]) => (cut[part] === undefined ? "" : String(cut[part]))),
  ]);
  const titles = isStaged ? ["stage", "layers"] : [];
  return table([["each has of the model", ...titles, ...CUTS.map(([title]) => title)], ...rows]);
}

/** What was asked for, and how much of it there is room for at a time. */
function roomLine({ kvTokens, wantedTokens, details }: Plan): string {
  const { context, sequences } = details.settings;
  const asked = sequences === 1 ? `1 sequence of ${context} tokens` : `${sequences} sequences of ${context} tokens`;
  if (kvTokens >= wantedTokens) return `room for ${asked}`;
  const full = Math.floor(kvTokens / (wantedTokens / sequences));
  return (
    `room for ${kvTokens} tokens of the ${wantedTokens} that ${asked} may reach; ${full} of that length ` +
    `run${full === 1 ? "s" : ""} at a time, and others wait`
  );
}
