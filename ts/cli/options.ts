/** Options that several commands share, and how their values are read. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { parseBytes } from "../bytes.ts";
import type { LoadOptions } from "../engine/load-options.ts";
import { badArgument, OctavoError } from "../errors.ts";
import type { KvType } from "../model/families/index.ts";
import type { ParallelOptions } from "../plan/parallel.ts";
import { KV_INSTEAD, KV_TYPES, type SettingsOptions } from "../plan/settings.ts";
import { parseThreshold, type Threshold } from "../program/threshold.ts";

export interface LoadFlags extends SettingsOptions, ParallelFlags {
  readonly model: string;
  readonly devices: string;
  readonly threads?: number;
  readonly python?: string;
}

export interface SamplingFlags {
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly repetitionPenalty?: number;
  readonly stop?: string[];
}

export function modelOption(): Option {
  return new Option("-m, --model <model>", "folder, .gguf file, hub id in the local cache, or smollm2")
    .env("OCTAVO_MODEL")
    .default("smollm2");
}

/** The output layer, of the int8 runs where there are others. */
export function addHeadOptions(command: Command, what = "the output layer"): Command {
  const form = `${what}: auto (default; int8, but 16bit with 16-bit weights), int8 or 16bit`;
  return command
    .addOption(new Option("--head <form>", form).choices(["auto", "int8", "16bit"]))
    .option("--head-threshold <t>", "outliers for an int8 output layer, as --threshold (default: all)", headThreshold);
}

export function kvOption(what: string): Option {
  return new Option("--kv <type>", what).argParser(kvType);
}

export function addParallelOptions(command: Command): Command {
  return command
    .option("--tp <n>", "devices that each have a part of every layer (default: as many as --devices)", wholeNumber(1))
    .option(
      "--pp <n>",
      "stages, one after the other, each with some of the layers (default: 1; not to look at ops)",
      wholeNumber(1),
    )
    .option("--shares <list>", "how much of the model each device has, such as 2,1 (default: by its memory)", numbers);
}

export interface ParallelFlags {
  readonly tp?: number;
  readonly pp?: number;
  readonly shares?: number[];
}

/** The options that these flags stand for. */
export function parallelOf({ tp: tensorParallel, pp: pipelineParallel, shares }: ParallelFlags): ParallelOptions {
  return given({ tensorParallel, pipelineParallel, shares }, ["tensorParallel", "pipelineParallel", "shares"]);
}

export function memoryLimitOption(): Option {
  return new Option("--memory-limit <bytes>", "what each worker may use, such as 2GiB").argParser(parseBytes);
}

/** Where a worker runs. */
export function addWorkerOptions(command: Command): Command {
  command.option(
    "--devices <list>",
    "auto (cuda:0 where there is a GPU, else cpu:0), cpu:0, cuda:0, or several: cuda:0,cuda:1",
    "auto",
  );
  return addParallelOptions(command)
    .option("--threads <n>", "threads of all workers (default and most: the CPUs they may use)", wholeNumber(1))
    .option("--python <path>", "Python of the workers");
}

/** How a model is built. */
function addModelOptions(command: Command): Command {
  const weights = new Option("--weights <form>", "int8 (LLM.int8()) or 16bit").choices(["int8", "16bit"]);
  return addHeadOptions(command.addOption(modelOption()).addOption(weights))
    .addOption(kvOption("K and V in memory: int16 (default), or int8, half as large"))
    .option("--threshold <t>", "outliers: 0, a number such as 6, adaptive, all, or ABSOLUTE:RELATIVE", parseThreshold)
    .option("--context <n>", "tokens of prompt and answer together", wholeNumber(1));
}

/** How a model is built and run, for commands that only look at that. */
export function addSettingsOptions(command: Command): Command {
  return addModelOptions(command)
    .option("--sequences <n>", "sequences that run at the same time", wholeNumber(1))
    .option("--token-budget <n>", "tokens of a step", wholeNumber(1));
}

export function settingsOf(flags: SettingsOptions): SettingsOptions {
  const names = [
    ...(["weights", "head", "headThreshold", "kv", "threshold"] as const),
    ...(["context", "sequences", "tokenBudget", "memoryLimit"] as const),
  ];
  return given(flags, names);
}

/** What `Engine.load` takes. */
export function addLoadOptions(command: Command): Command {
  return addWorkerOptions(addModelOptions(command)).addOption(memoryLimitOption());
}

/** `Engine.load`'s options from the flags. */
export function loadOptionsOf(flags: LoadFlags): LoadOptions {
  return { ...settingsOf(flags), ...parallelOf(flags), ...given(flags, ["devices", "threads", "python"]) };
}

/** What `engine.generate` takes. */
export function addSamplingOptions(command: Command): Command {
  return command
    .option("-n, --max-tokens <n>", "most tokens to draw (default: the model's own setting, else 512)", wholeNumber(1))
    .option(
      "--temperature <x>",
      "0: always the likeliest token (default: as generation_config.json, else 0)",
      decimal(0, 1000),
    )
    .option("--top-k <n>", "draw from the n likeliest tokens; 0: all", wholeNumber(0))
    .option("--top-p <x>", "draw from the likeliest tokens that reach this probability", decimal(0, 1))
    .option("--min-p <x>", "draw from tokens at least x times as probable as the likeliest", decimal(0, 1))
    .option("--seed <n>", "the same seed draws the same tokens (default: another each time)", wholeNumber(0))
    .option("--repetition-penalty <x>", "1: off", decimal(0.01, 100))
    .option("--stop <text>", "end before this text; may be given several times", collect);
}

/** The flags that `engine.generate` takes, without the others. */
export function generateOptionsOf(flags: SamplingFlags): SamplingFlags {
  return given(flags, ["maxTokens", "temperature", "topK", "topP", "minP", "seed", "repetitionPenalty", "stop"]);
}

function given<T, K extends keyof T>(flags: T, names: readonly K[]): Pick<T, K> {
  const found = names.filter((name) => flags[name] !== undefined);
  return Object.fromEntries(found.map((name) => [name, flags[name]])) as Pick<T, K>;
}

export function jsonOption(what = "print one JSON document and nothing else"): Option {
  return new Option("--json", what);
}

export function wholeNumber(from: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= from) return value;
    throw new InvalidArgumentError(`It takes a whole number from ${from} on.`);
  };
}

/** A list of them, with commas, each once. */
export function wholeNumbers(from: number): (text: string) => number[] {
  const read = wholeNumber(from);
  return (text) => {
    const values = text.split(",").map((part) => {
      try {
        return read(part.trim());
      } catch {
        throw new InvalidArgumentError(`It takes whole numbers from ${from} on, with commas between them.`);
      }
    });
    if (new Set(values).size < values.length) throw new InvalidArgumentError("It has a number twice.");
    return values;
  };
}

/** Above 0, with commas between them; the options' own check says the rest. */
function numbers(text: string): number[] {
  const values = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (values.every((value) => value > 0 && Number.isFinite(value))) return values;
  throw new InvalidArgumentError("It takes numbers above 0, with commas between them.");
}

function headThreshold(text: string): Threshold {
  try {
    return parseThreshold(text);
  } catch (error) {
    throw OctavoError.isInstance(error) ? badArgument(`--head-threshold: ${error.message}`) : error;
  }
}

function kvType(text: string): KvType {
  const type = KV_TYPES.find((known) => known === text);
  if (type !== undefined) return type;
  throw new InvalidArgumentError(`It takes ${KV_TYPES.join(" or ")}; ${KV_INSTEAD}.`);
}

function decimal(from: number, to: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= from && value <= to) return value;
    throw new InvalidArgumentError(`It takes a number from ${from} to ${to}.`);
  };
}

function collect(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text];
}
