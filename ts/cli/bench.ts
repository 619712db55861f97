/** `octavo bench`: how fast a model is here; with `--ops`, where the time goes. Peers: `make bench`. */
import { Command } from "commander";
import type { OpReport, StepProfile } from "../bench/ops.ts";
import type { JobOptions, Speed } from "../bench/speed.ts";
import { interruptible } from "./interrupt.ts";
import { addLoadOptions, jsonOption, type LoadFlags, loadOptionsOf, wholeNumber, wholeNumbers } from "./options.ts";
import { ProgressLine } from "./progress.ts";
import { percent, print, printJson } from "./screen.ts";

interface BenchFlags extends LoadFlags, JobOptions {
  readonly ops?: boolean;
  readonly repeats?: number;
  readonly json?: boolean;
}

export function benchCommand(): Command {
  return addLoadOptions(
    new Command("bench").description(
      "Measure prefill of a prompt and decode of several sequences. `make bench` in the repository measures peers too.",
    ),
  )
    .argument("[model]", "as --model")
    .option("--ops", "time every op, against what the machine can do at best")
    .option("--prefill <n>", "tokens of the prompt (default: 512)", wholeNumber(1))
    .option("--batches <list>", "sequences that decode together (default: 1,8,32)", wholeNumbers(1))
    .option("--depth <n>", "tokens that each has behind it then (default: 32; with --ops 64)", wholeNumber(1))
    .option("--repeats <n>", "measurements of each kind (default: 5; with --ops 15)", wholeNumber(1))
    .addOption(jsonOption())
    .action((model: string | undefined, flags: BenchFlags) =>
      interruptible((signal) => (flags.ops ? ops : speed)({ ...flags, model: model ?? flags.model }, signal)),
    );
}

async function speed(flags: BenchFlags, signal: AbortSignal): Promise<void> {
  const [{ Engine }, { contextOf, measureSpeed, speedJob }] = await Promise.all([
    import("../engine/engine.ts"),
    import("../bench/speed.ts"),
  ]);
  const progress = new ProgressLine();
  // The sizes of the job are known before its text is.
  const sizes = speedJob(() => [0], 0, flags);
  const sequences = Math.max(...sizes.decode.map(({ prompts }) => prompts.length));
  const options = { context: contextOf(sizes), ...loadOptionsOf(flags), sequences, signal };
  const engine = await Engine.load(flags.model, { ...options, onProgress: progress.load });
  try {
    const { tokenizer, deployment } = engine;
    const { devices } = deployment;
    const { model: machine, isa } = devices[0]!.description;
    const threads = devices.reduce((sum, { description }) => sum + description.threads, 0);
    const ranks = devices.map(({ name }) => name);
    const job = speedJob((text) => tokenizer.encode(text), flags.repeats ?? 5, flags);
    const onProgress = (done: number, total: number) => progress.show(`measuring ${done} of ${total}`);
    const result = await measureSpeed(engine, job, { signal, onProgress });
    progress.clear();
    if (flags.json) printJson({ model: flags.model, machine, isa, threads, devices: ranks, ...result });
    else
      print(
        `${machine}, ${isa}, ${threads} threads, ${ranks.join(", ")}\n${speedLines(result, job.prefill.length).join("\n")}\n`,
      );
  } finally {
    progress.clear();
    await engine.dispose();
  }
}

async function ops(flags: BenchFlags, signal: AbortSignal): Promise<void> {
  const { profileOps } = await import("../bench/ops.ts");
  const progress = new ProgressLine();
  try {
    const { batches, prefill, depth, repeats } = flags;
    const sizes = { batches, prefill, depth, repeats };
    const options = { ...loadOptionsOf(flags), ...sizes, signal, onProgress: progress.load };
    const report = await profileOps(flags.model, options);
    progress.clear();
    if (flags.json) printJson(report);
    else print(`${opLines(report).join("\n")}\n`);
  } finally {
    progress.clear();
  }
}

function speedLines({ prefill, decode }: Speed, prompt: number): string[] {
  const line = (name: string, values: readonly number[]) => {
    const sorted = [...values].sort((a, b) => a - b);
    const spread = `${sorted[0]!.toFixed(0)} to ${sorted.at(-1)!.toFixed(0)}`;
    return `${name.padEnd(18)} ${sorted[sorted.length >> 1]!.toFixed(0).padStart(6)} tokens/s   (${spread})`;
  };
  return [line(`prefill ${prompt}`, prefill), ...Object.entries(decode).map(([b, v]) => line(`decode, batch ${b}`, v))];
}

function opLines({ machine, isa, threads, ceiling, steps }: OpReport): string[] {
  const giga = (perSecond: number) => (perSecond / 1e9).toFixed(0);
  return [
    `${machine}, ${isa}, ${threads} threads; at best ${giga(ceiling.readBytes)} GB/s from memory, ` +
      `${giga(ceiling.int8Operations)} GOPS int8, ${giga(ceiling.float32Operations)} GOPS float32`,
    ...steps.flatMap(stepLines),
  ];
}

function stepLines({ name, tokens, microseconds, carries, ops }: StepProfile): string[] {
  const rate = (tokens / microseconds) * 1e6;
  const header = `${name}: ${(microseconds / 1000).toFixed(2)} ms, ${rate.toFixed(0)} tokens/s, carries ${percent(carries, 2)}`;
  const columns = ["op", "calls", "us", "share", "GB/s", "GOPS", "of ceiling"];
  const rows = ops.map((op) => [
    op.op,
    String(op.calls),
    op.microseconds.toFixed(0),
    percent(op.share, 1),
    op.gigabytesPerSecond.toFixed(1),
    op.gigaoperationsPerSecond.toFixed(0),
    percent(op.ofCeiling, 0),
  ]);
  const widths = [20, 6, 9, 8, 8, 8, 11];
  const text = [columns, ...rows].map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(""),
  );
  return ["", header, ...text.map((line) => `  ${line}`)];
}
