/** `octavo inspect`: what a model's activations are like. */
import { writeFile } from "node:fs/promises";
import { Command } from "commander";
import { badArgument } from "../errors.ts";
import type { Inspection } from "../inspect/inspect.ts";
import { interruptible } from "./interrupt.ts";
import { addWorkerOptions, jsonOption, modelOption, type ParallelFlags, parallelOf, wholeNumber } from "./options.ts";
import { ProgressLine } from "./progress.ts";
import { percent, print, printJson, table } from "./screen.ts";

interface InspectFlags extends ParallelFlags {
  readonly model: string;
  readonly outliers?: boolean;
  readonly text?: string;
  readonly threshold: string;
  readonly window?: number;
  readonly tokens?: number;
  readonly svg?: string;
  readonly devices: string;
  readonly threads?: number;
  readonly python?: string;
  readonly json?: boolean;
}

export function inspectCommand(): Command {
  const command = new Command("inspect").description(
    "Outlier activations of a text, by layer and projection, and which are the paper's outlier features.",
  );
  return addWorkerOptions(command.argument("[model]", "as --model").addOption(modelOption()))
    .option("--outliers", "count the inputs of linears that are at least --threshold in magnitude")
    .option("--text <file>", "English or other text (default: four chapters of a novel, 8,400 tokens)")
    .option("--threshold <x>", "from this magnitude on a number is an outlier", "6")
    .option("--window <n>", "tokens per window (default: 512); windows do not overlap", wholeNumber(2))
    .option("--tokens <n>", "only the first n tokens of the text", wholeNumber(2))
    .option("--svg <file>", "also write a heat map, layers by dimensions")
    .addOption(jsonOption())
    .action((model: string | undefined, flags: InspectFlags) =>
      interruptible((signal) => inspect(model ?? flags.model, flags, signal)),
    );
}

async function inspect(model: string, flags: InspectFlags, signal: AbortSignal): Promise<void> {
  if (!flags.outliers) throw badArgument("inspect looks at outliers: add --outliers");
  const [{ inspectOutliers }, { heatMap }, { evaluationText }] = await Promise.all([
    import("../inspect/inspect.ts"),
    import("../inspect/heat-map.ts"),
    import("../eval/text.ts"),
  ]);
  const { threshold, window, tokens, devices, threads, python } = flags;
  const text = await evaluationText(flags.text);
  const progress = new ProgressLine();
  const { inspection, observations } = await inspectOutliers(model, text, {
    ...{ threshold: Number(threshold), window, tokens, devices, threads, python, signal },
    ...parallelOf(flags),
    onProgress: progress.judge,
  }).finally(() => progress.clear());
  if (flags.svg !== undefined) {
    const title = `${model}: outliers (magnitude at least ${inspection.threshold}) of ${inspection.tokens} tokens; layers by dimensions`;
    await write(flags.svg, heatMap(title, observations, inspection.tokens));
  }
  if (flags.json) printJson(inspection);
  else print(describe(inspection));
}

async function write(file: string, content: string): Promise<void> {
  try {
    await writeFile(file, content);
  } catch (cause) {
    throw badArgument(`--svg: ${file} cannot be written`, { cause });
  }
}

/** Dimensions listed for a projection. */
const MOST = 8;

function describe({ model, threshold, tokens, window, layers, projections }: Inspection): string {
  const lines = [`${model}: ${tokens} tokens in windows of ${window}, outliers from ${threshold} on`];
  for (const { projection, width, share, dimensions, layers: each } of projections) {
    const systematic = dimensions.filter((dimension) => dimension.systematic).length;
    lines.push(
      "",
      `${projection}: ${percent(share, 3)} of the elements, in ${dimensions.length} of ${width} dimensions; ` +
        `${systematic} by the paper's criterion (25 % of layers, 6 % of tokens)`,
      ...table([
        ["dimension", "layers", "tokens", "largest", ""],
        ...dimensions
          .slice(0, MOST)
          .map((d) => [
            String(d.dimension),
            percent(d.layers, 0),
            percent(d.tokens, 2),
            d.largest.toFixed(1),
            d.systematic ? "*" : "",
          ]),
      ]).map((line) => `  ${line}`.trimEnd()),
      `  largest by layer, 0 to ${layers - 1}: ${each.map(({ largest }) => largest.toFixed(0)).join(" ")}`,
      `  dimensions by layer: ${each.map(({ dimensions: found }) => found).join(" ")}`,
    );
  }
  return `${lines.join("\n")}\n`;
}
