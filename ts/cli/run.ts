/** `octavo run`: one prompt, one answer. */
import { Command } from "commander";
import { checkOptions } from "../arguments.ts";
import type { Engine } from "../engine/engine.ts";
import type { Completion } from "../engine/generation.ts";
import { badArgument } from "../errors.ts";
import type { LedgerReport } from "../memory/ledger.ts";
import type { ChatMessage } from "../model/chat/message.ts";
import type { SamplingDefaults } from "../model/source/generation-config.ts";
import { quoted } from "../quoted.ts";
import { interruptible } from "./interrupt.ts";
import {
  addLoadOptions,
  addSamplingOptions,
  generateOptionsOf,
  jsonOption,
  type LoadFlags,
  loadOptionsOf,
  type SamplingFlags,
} from "./options.ts";
import { ProgressLine } from "./progress.ts";
import { readPrompt } from "./prompt.ts";
import { printData, printJson, say } from "./screen.ts";

interface RunFlags extends LoadFlags, SamplingFlags {
  readonly raw?: boolean;
  readonly system?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function runCommand(): Command {
  const command = new Command("run")
    .description(
      "Answer one prompt. Without PROMPT, or with -, it is read from stdin; with it, what is piped in comes after it.",
    )
    .argument("[prompt]", "what to answer, in quotes")
    .allowExcessArguments(); // They get a message of their own.
  return addSamplingOptions(addLoadOptions(command))
    .option("--raw", "continue the prompt as text, without the model's chat template")
    .option("--system <text>", "system message")
    .option("-q, --quiet", "print the answer only")
    .addOption(jsonOption())
    .action((prompt: string | undefined, flags: RunFlags) => {
      checkArguments(command.args);
      return interruptible((signal) => run(prompt, flags, signal));
    });
}

/** Other engines take the model first. */
function checkArguments(args: readonly string[]): void {
  const [first = ""] = args;
  if (args.length < 2 && !/^\S+\.gguf$/i.test(first)) return;
  const got =
    args.length === 1
      ? `the prompt is ${quoted(first)}`
      : `${args.length} arguments (${args.map((argument) => quoted(argument)).join(", ")})`;
  throw badArgument(`${got}; run takes one prompt, in quotes, and the model with -m: octavo run -m MODEL "PROMPT"`);
}

async function run(argument: string | undefined, flags: RunFlags, signal: AbortSignal): Promise<void> {
  const options = loadOptionsOf(flags);
  const prompt = await readPrompt(argument, signal);
  const { GENERATE_RULES } = await import("../engine/generate-options.ts");
  checkOptions(generateOptionsOf(flags), GENERATE_RULES); // Before seconds are spent on loading.
  const { Engine } = await import("../engine/engine.ts");
  const progress = new ProgressLine();
  const start = performance.now();
  let engine: Engine;
  try {
    engine = await Engine.load(flags.model, { ...options, sequences: 1, signal, onProgress: progress.load });
  } finally {
    progress.clear();
  }
  const loadMs = performance.now() - start;
  try {
    const request = { ...generateOptionsOf(flags), signal };
    const generation = flags.raw
      ? engine.generate(prompt, request)
      : engine.chat(messages(prompt, flags.system), request);
    const firstTokenAt = flags.json ? 0 : await stream(generation);
    const completion = await generation.complete();
    const memory = await engine.memory();
    if (flags.json) printJson(document(flags.model, completion, loadMs, memory));
    else if (!flags.quiet) await printSummary(completion, memory, engine.defaults, { loadMs, firstTokenAt });
  } finally {
    await engine.dispose();
  }
}

function messages(prompt: string, system: string | undefined): ChatMessage[] {
  const user: ChatMessage = { role: "user", content: prompt };
  return system === undefined ? [user] : [{ role: "system", content: system }, user];
}

/** Prints pieces as they come. Returns the milliseconds from the start of the process to the first one. */
async function stream(generation: AsyncIterable<{ text: string }>): Promise<number> {
  let first = 0;
  try {
    for await (const { text } of generation) {
      first ||= performance.now();
      printData(text);
    }
  } finally {
    if (first > 0) process.stdout.write("\n");
  }
  return first;
}

/** The document of `--json`. */
function document(model: string, completion: Completion, loadMs: number, memory: readonly LedgerReport[]) {
  const { text, ids, usage, finishReason, timings } = completion;
  return {
    model,
    text,
    ids,
    promptTokens: usage.promptTokens,
    completionTokens: usage.completionTokens,
    finishReason,
    timings: {
      loadMs,
      firstTokenMs: timings.firstTokenMs,
      prefillTokensPerSecond: timings.prefillTokensPerSecond,
      decodeTokensPerSecond: timings.decodeTokensPerSecond,
    },
    memory: memory.map(({ device, planned, measured, unattributed }) => ({ device, planned, measured, unattributed })),
  };
}

async function printSummary(
  completion: Completion,
  memory: readonly LedgerReport[],
  defaults: SamplingDefaults,
  { loadMs, firstTokenAt }: { readonly loadMs: number; readonly firstTokenAt: number },
): Promise<void> {
  const { defaultsLine, memoryLines, seconds, speedLine } = await import("./summary.ts");
  const lines = [
    "",
    speedLine(completion),
    `loaded in ${seconds(loadMs)}; from the start of the process to the first token ${seconds(firstTokenAt)}`,
    ...[defaultsLine(defaults)].filter((line) => line !== undefined),
    ...memory.flatMap(memoryLines),
  ];
  say(`${lines.join("\n")}\n`);
}
