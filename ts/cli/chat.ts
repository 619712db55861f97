/** `octavo chat`: a conversation on a terminal, or line by line through a pipe. */
import { createInterface, type Interface } from "node:readline/promises";
import { Command } from "commander";
import type { Engine } from "../engine/engine.ts";
import type { Completion } from "../engine/generation.ts";
import { OctavoError } from "../errors.ts";
import type { ChatMessage } from "../model/chat.ts";
import { Interrupted, interruptible } from "./interrupt.ts";
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
import { describeError } from "./report.ts";
import { speedLine } from "./summary.ts";

interface ChatFlags extends LoadFlags, SamplingFlags {
  readonly system?: string;
  readonly json?: boolean;
}

const HELP = "/clear forgets the conversation, /exit or Ctrl-D leaves, Ctrl-C stops an answer and, twice, leaves";

export function chatCommand(): Command {
  const command = new Command("chat").description(
    `Talk with a model. ${HELP}. Without a terminal, each line of stdin is a message.`,
  );
  return addSamplingOptions(addLoadOptions(command.argument("[model]", "as --model")))
    .option("--system <text>", "system message")
    .addOption(jsonOption("print one JSON document per answer and nothing else"))
    .action((model: string | undefined, flags: ChatFlags) => chat(model ? { ...flags, model } : flags));
}

async function chat(flags: ChatFlags): Promise<void> {
  const options = loadOptionsOf(flags);
  const { checkGenerateOptions } = await import("../engine/generate-options.ts");
  checkGenerateOptions(generateOptionsOf(flags));
  const { Engine } = await import("../engine/engine.ts");
  const progress = new ProgressLine();
  const engine = await interruptible((signal) =>
    Engine.load(flags.model, { ...options, sequences: 1, signal, onProgress: progress.load }),
  ).finally(() => progress.clear());
  try {
    await new Conversation(engine, flags).run();
  } finally {
    await engine.dispose();
  }
}

class Conversation {
  readonly #engine: Engine;
  readonly #flags: ChatFlags;
  readonly #terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  readonly #lines: Interface;
  /** Complete turns, and the system message. */
  #messages: ChatMessage[] = [];
  #answer: AbortController | undefined;
  #interrupted = false;

  constructor(engine: Engine, flags: ChatFlags) {
    this.#engine = engine;
    this.#flags = flags;
    this.#clear();
    this.#lines = createInterface({
      input: process.stdin,
      ...(this.#terminal ? { output: process.stdout } : {}),
      prompt: "> ",
    });
  }

  /** Until the end of input, `/exit`, or the second Ctrl-C, which throws `Interrupted`. */
  async run(): Promise<void> {
    let leave: (reason: Interrupted) => void = () => {};
    const left = new Promise<never>((_, reject) => {
      leave = reject;
    });
    const interrupt = () => {
      if (this.#interrupted || !this.#terminal) return leave(new Interrupted("SIGINT"));
      this.#interrupted = true;
      if (this.#answer) this.#answer.abort(new Interrupted("SIGINT"));
      else this.#say("\n(Ctrl-C again leaves)\n> ");
    };
    const terminate = () => leave(new Interrupted("SIGTERM"));
    this.#lines.on("SIGINT", interrupt); // A terminal in raw mode sends no signal: readline does.
    process.on("SIGINT", interrupt).on("SIGTERM", terminate);
    this.#say(`${this.#flags.model} on ${this.#engine.device.name}. ${HELP}.\n`);
    try {
      await Promise.race([this.#turns(), left]);
    } finally {
      this.#lines.close();
      process.off("SIGINT", interrupt).off("SIGTERM", terminate);
    }
  }

  async #turns(): Promise<void> {
    if (this.#terminal) this.#lines.prompt();
    for await (const line of this.#lines) {
      this.#interrupted = false;
      const text = line.trim();
      if (text === "/exit" || text === "/quit") return;
      if (text === "/clear") this.#clear();
      else if (text === "/help") this.#say(`${HELP}\n`);
      else if (text !== "") await this.#reply(line);
      if (this.#terminal) this.#lines.prompt();
    }
  }

  async #reply(content: string): Promise<void> {
    this.#messages.push({ role: "user", content });
    this.#answer = new AbortController();
    let text = "";
    try {
      const generation = this.#start(this.#answer.signal);
      for await (const piece of generation) {
        text += piece.text;
        if (!this.#flags.json) process.stdout.write(piece.text);
      }
      this.#finish(await generation.complete());
    } catch (error) {
      const stopped = error instanceof Interrupted;
      this.#say(stopped ? "\n(stopped; Ctrl-C again leaves)\n" : "\n");
      if (!stopped && (!this.#terminal || !OctavoError.isInstance(error) || error.code === "OCTAVO_WORKER_LOST"))
        throw error;
      if (!stopped) this.#say(`${describeError(error)}\n`);
    } finally {
      this.#answer = undefined;
      // What was said so far stays in the conversation; a question without an answer does not.
      if (text === "") this.#messages.pop();
      else this.#messages.push({ role: "assistant", content: text });
    }
  }

  /** Forgets the oldest turns when the conversation has become too long for the model. */
  #start(signal: AbortSignal) {
    const options = { ...generateOptionsOf(this.#flags), signal };
    const kept = this.#flags.system === undefined ? 0 : 1;
    while (true) {
      try {
        return this.#engine.chat(this.#messages, options);
      } catch (error) {
        const long = OctavoError.isInstance(error) && error.code === "OCTAVO_PROMPT_TOO_LONG";
        if (!long || this.#messages.length <= kept + 2) throw error;
        this.#messages.splice(kept, 2);
        this.#say("(the oldest turn no longer fits the context and is forgotten)\n");
      }
    }
  }

  #finish(completion: Completion): void {
    const { text, ids, finishReason, usage } = completion;
    if (this.#flags.json) process.stdout.write(`${JSON.stringify({ text, ids, finishReason, usage })}\n`);
    else process.stdout.write("\n");
    this.#say(`(${speedLine(completion)})\n`);
  }

  #clear(): void {
    this.#messages = this.#flags.system === undefined ? [] : [{ role: "system", content: this.#flags.system }];
  }

  /** For people only. */
  #say(text: string): void {
    if (this.#terminal && !this.#flags.json) process.stderr.write(text);
  }
}
