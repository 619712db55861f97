/** `octavo plan`: what a model would take on which devices, from headers alone. */
import { Command, Option } from "commander";
import type { Plan } from "../memory/plan.ts";
import { parseThreshold } from "../program/threshold.ts";
import { jsonOption, type LoadFlags, modelOption, wholeNumber } from "./options.ts";

interface PlanFlags extends LoadFlags {
  readonly pp?: number;
  readonly sequences?: number;
  readonly json?: boolean;
}

export function planCommand(): Command {
  return new Command("plan")
    .description("Say what a model takes on each device, or why it does not fit and what would. Reads headers only.")
    .argument("[model]", "as --model")
    .addOption(modelOption())
    .option("--devices <list>", "sizes (8x24GiB, or 24GiB,12GiB) or names (cpu:0, cuda:0); auto: this machine", "auto")
    .option("--tp <n>", "tensor parallel ranks", wholeNumber(1))
    .option("--pp <n>", "pipeline parallel stages", wholeNumber(1))
    .option("--context <n>", "tokens of one sequence", wholeNumber(1))
    .option("--sequences <n>", "sequences that run at the same time", wholeNumber(1))
    .addOption(new Option("--weights <form>", "int8 (LLM.int8()) or 16bit").choices(["int8", "16bit"]))
    .addOption(new Option("--head <form>", "the output layer").choices(["16bit", "int8"]))
    .option("--threshold <t>", "outliers: 0, a number such as 6, adaptive, all", parseThreshold)
    .addOption(jsonOption())
    .action((model: string | undefined, flags: PlanFlags) => plan(model ?? flags.model, flags));
}

async function plan(model: string, flags: PlanFlags): Promise<void> {
  const { planModel } = await import("../memory/plan.ts");
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
  if (flags.json) {
    const { fits, refusal, kvTokens, totals, devices } = result;
    process.stdout.write(`${JSON.stringify({ fits, ...(refusal ? { refusal } : {}), kvTokens, totals, devices })}\n`);
  } else process.stdout.write(`${(await describe(model, result)).join("\n")}\n`);
}

const PARTS = ["weights", "kv", "activations", "context", "collectives", "margin", "free"] as const;

async function describe(model: string, { fits, refusal, kvTokens, totals, devices }: Plan): Promise<string[]> {
  const { formatBytes } = await import("../memory/bytes.ts");
  const table = devices.map((device) => [
    device.name,
    formatBytes(device.total),
    ...PARTS.map((part) => formatBytes(device[part])),
  ]);
  const rows = [["device", "total", ...PARTS], ...table];
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return [
    fits ? `${model} fits, with room for ${kvTokens} tokens of context` : `${model} does not fit. ${refusal}`,
    `int8 codes ${formatBytes(totals.int8)}, scales ${formatBytes(totals.scales)}, 16-bit ${formatBytes(totals.sixteenBit)}`,
    "",
    ...rows.map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  ")),
  ];
}
