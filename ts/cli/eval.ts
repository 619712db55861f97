/** `octavo eval`: how far int8 is from 16-bit on a text. */
import { Command } from "commander";
import type { Evaluation } from "../eval/evaluate.ts";
import type { Head, KvType } from "../model/families/index.ts";
import { parseSchemes, type Scheme } from "../program/scheme.ts";
import { parseThreshold, type Threshold } from "../program/threshold.ts";
import { interruptible } from "./interrupt.ts";
import {
  addHeadOptions,
  addWorkerOptions,
  jsonOption,
  kvOption,
  modelOption,
  type ParallelFlags,
  parallelOf,
  wholeNumber,
} from "./options.ts";
import { ProgressLine } from "./progress.ts";
import { percent, print, printJson, table } from "./screen.ts";

interface EvalFlags extends ParallelFlags {
  readonly model: string;
  readonly text?: string;
  readonly window: number;
  readonly thresholds?: Threshold[];
  readonly scheme?: Scheme[];
  readonly tokens?: number;
  readonly devices: string;
  readonly threads?: number;
  readonly head?: Head;
  readonly headThreshold?: Threshold;
  readonly kv?: KvType;
  readonly python?: string;
  readonly json?: boolean;
}

export function evalCommand(): Command {
  const command = new Command("eval").description(
    "Perplexity, KL divergence from 16-bit weights and agreement of the first choice, per threshold or scheme.",
  );
  addWorkerOptions(command.argument("[model]", "as --model").addOption(modelOption()));
  return addHeadOptions(command, "the output layer of the int8 runs")
    .option("--text <file>", "English or other text (default: four chapters of a novel, 8,400 tokens)")
    .option("--window <n>", "tokens per window; windows do not overlap", wholeNumber(2), 512)
    .option("--thresholds <list>", "int8 runs, such as 0,6,adaptive,all (the default)", thresholdList)
    .option(
      "--scheme <list>",
      "instead of thresholds, or beside them: schemes of the LLM.int8() paper, such as absmax-tensor,zeropoint-vector," +
        "absmax-vector-decomposed; {absmax,zeropoint}-{tensor,row,vector}[-decomposed], or all",
      parseSchemes,
    )
    .option("--tokens <n>", "only the first n tokens of the text", wholeNumber(2))
    .addOption(kvOption("K and V of the int8 runs; the 16-bit run has int16"))
    .addOption(jsonOption())
    .action((model: string | undefined, flags: EvalFlags) =>
      interruptible((signal) => evaluateModel(model ?? flags.model, flags, signal)),
    );
}

async function evaluateModel(model: string, flags: EvalFlags, signal: AbortSignal): Promise<void> {
  const [{ evaluate }, { evaluationText }] = await Promise.all([
    import("../eval/evaluate.ts"),
    import("../eval/text.ts"),
  ]);
  const { window, thresholds, scheme: schemes, tokens } = flags;
  const { head, headThreshold, kv, devices, threads, python } = flags;
  const text = await evaluationText(flags.text);
  const progress = new ProgressLine();
  let result: Evaluation;
  try {
    result = await evaluate(model, text, {
      ...{ window, thresholds, schemes, tokens, head, headThreshold, kv, devices, threads, python, signal },
      ...parallelOf(flags),
      onProgress: progress.judge,
    });
  } finally {
    progress.clear();
  }
  if (flags.json) printJson(result);
  else print(describe(result));
}

function thresholdList(text: string): Threshold[] {
  return text.split(",").map(parseThreshold);
}

function describe({ model, tokens, scored, window, runs }: Evaluation): string {
  const rows = runs.map(({ weights, threshold, scheme, head, headThreshold, kv, perplexity, kl, top1, carries }) => [
    scheme ?? weights,
    threshold ?? "",
    headThreshold === null ? head : `${head} ${headThreshold}`,
    kv,
    perplexity.toFixed(3),
    kl.toFixed(5),
    percent(top1, 2),
    percent(carries, 3),
  ]);
  const all = [["weights", "threshold", "head", "kv", "perplexity", "KL", "same first", "carries"], ...rows];
  return `${model}: ${tokens} tokens in windows of ${window}, ${scored} scored\n${table(all).join("\n")}\n`;
}
