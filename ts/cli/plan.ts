/** `octavo plan`: what a model would take on which devices, from headers alone. */
import { Command, Option } from "commander";
import type { Plan } from "../plan/types.ts";
import { parseThreshold } from "../program/threshold.ts";
import { jsonOption, type LoadFlags, modelOption, wholeNumber } from "./options.ts";
import { print, printJson } from "./screen.ts";

interface PlanFlags extends LoadFlags {
  readonly pp?: number;
  readonly sequences?: number;
  readonly json?: boolean;
}

export function planCommand(): Command {
  return new Command("plan")
    .description(
      "Say what a model takes on a device, or why it does not fit and what would (exit 1). Reads headers only: a config.json is enough.",
    )
    .argument("[model]", "as --model")
    .addOption(modelOption())
    .option(
      "--devices <list>",
      "a size (24GiB) or a name (cpu:0, cuda:0); auto: this machine. One: there is no sharding yet",
      "auto",
    )
    .option("--tp <n>", "tensor parallel ranks: 1 until there is sharding", wholeNumber(1))
    .option("--pp <n>", "pipeline parallel stages: 1 until there is sharding", wholeNumber(1))
    .option("--context <n>", "tokens of one sequence", wholeNumber(1))
    .option("--sequences <n>", "sequences that run at the same time", wholeNumber(1))
    .addOption(new Option("--weights <form>", "int8 (LLM.int8()) or 16bit").choices(["int8", "16bit"]))
    .addOption(new Option("--head <form>", "the output layer").choices(["16bit", "int8"]))
    .option("--threshold <t>", "outliers: 0, a number such as 6, adaptive, all", parseThreshold)
    .addOption(jsonOption())
    .action((model: string | undefined, flags: PlanFlags) => plan(model ?? flags.model, flags));
}

async function plan(model: string, flags: PlanFlags): Promise<void> {
  const { planModel } = await import("../deploy/plan-model.ts");
  const { devices, tp, pp, context, sequences, weights, head, threshold } = flags;
  const result = await planModel(model, {
    devices,
    context,
    sequences,
    weights,
    head,
    threshold,
    tensorParallel: tp,
    pipelineParallel: pp,
  });
  if (!result.fits) process.exitCode = 1;
  if (flags.json) {
    const { fits, refusal, kvTokens, wantedTokens, totals, devices } = result;
    const answer = { fits, ...(refusal ? { refusal } : {}), kvTokens, wantedTokens, totals, devices };
    printJson(answer);
  } else print(`${(await describe(model, result)).join("\n")}\n`);
}

const PARTS = ["weights", "kv", "activations", "context", "collectives", "margin", "free"] as const;

async function describe(model: string, plan: Plan): Promise<string[]> {
  const { fits, refusal, totals, devices } = plan;
  const { formatBytes } = await import("../bytes.ts");
  const table = devices.map((device) => [
    device.name,
    formatBytes(device.total),
    ...PARTS.map((part) => formatBytes(device[part])),
  ]);
  const rows = [["device", "total", ...PARTS], ...table];
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return [
    fits ? `${model} fits: ${roomLine(plan)}` : `${model} does not fit. ${refusal}`,
    `int8 codes ${formatBytes(totals.int8)}, scales ${formatBytes(totals.scales)}, 16-bit ${formatBytes(totals.sixteenBit)}`,
    "",
    ...rows.map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  ")),
  ];
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
