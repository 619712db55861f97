/** `octavo chat`: a conversation on a terminal, or line by line through a pipe. */
import { Command } from "commander";
import { checkOptions } from "../arguments.ts";
import type { Engine } from "../engine/engine.ts";
import type { Completion } from "../engine/generation.ts";
import { badArgument, OctavoError } from "../errors.ts";
import type { ChatMessage } from "../model/chat/message.ts";
import { describeError } from "./describe-error.ts";
import { Interrupted, interruptible } from "./interrupt.ts";
import { MessageReader } from "./message-reader.ts";
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
import { printData, printJson, say } from "./screen.ts";
import { speedLine } from "./summary.ts";

interface ChatFlags extends LoadFlags, SamplingFlags {
  readonly system?: string;
  readonly json?: boolean;
}

const COMMANDS =
  "/clear forgets the conversation, /help, /exit or Ctrl-D leaves (after an answer, if one is on its way); a space before / makes it text";
const HELP = `${COMMANDS}. Ctrl-C stops an answer, and leaves when there is none`;

export function chatCommand(): Command {
  const command = new Command("chat").description(
    `Talk with a model. ${HELP}. A pasted text is one message. Without a terminal, each line of stdin is one.`,
  );
  return addSamplingOptions(addLoadOptions(command.argument("[model]", "as --model")))
    .option("--system <text>", "system message")
    .addOption(jsonOption("print one JSON document per answer and nothing else"))
    .action((model: string | undefined, flags: ChatFlags) => chat(model ? { ...flags, model } : flags));
}

async function chat(flags: ChatFlags): Promise<void> {
  const options = loadOptionsOf(flags);
  const { GENERATE_RULES } = await import("../engine/generate-options.ts");
  checkOptions(generateOptionsOf(flags), GENERATE_RULES);
  const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const screen = flags.json ? process.stderr : process.stdout;
  // From now on, so that what is typed or pasted while the model loads is a message too.
  const reader = new MessageReader({
    input: process.stdin,
    screen: terminal ? screen : undefined,
    onInterrupt: () => process.emit("SIGINT"),
  });
  try {
    const { Engine } = await import("../engine/engine.ts");
    const progress = new ProgressLine();
    const engine = await interruptible((signal) =>
      Engine.load(flags.model, { ...options, sequences: 1, signal, onProgress: progress.load }),
    ).finally(() => progress.clear());
    try {
      await new Conversation(engine, flags, reader, terminal).run();
    } finally {
      await engine.dispose();
    }
  } finally {
    reader.close();
  }
}

class Conversation {
  readonly #engine: Engine;
  readonly #flags: ChatFlags;
  readonly #reader: MessageReader;
  readonly #terminal: boolean;
  /** Complete turns, and the system message. */
  #messages: ChatMessage[] = [];
  #answer: AbortController | undefined;

  constructor(engine: Engine, flags: ChatFlags, reader: MessageReader, terminal: boolean) {
    this.#engine = engine;
    this.#flags = flags;
    this.#reader = reader;
    this.#terminal = terminal;
    this.#clear();
  }

  /** Until the end of input, `/exit`, or a Ctrl-C that has no answer to stop, which throws `Interrupted`. */
  async run(): Promise<void> {
    let leave: (reason: Interrupted) => void = () => {};
    const left = new Promise<never>((_, reject) => {
      leave = reject;
    });
    const interrupt = () => {
      const answer = this.#terminal ? this.#answer : undefined;
      if (answer === undefined || answer.signal.aborted) leave(new Interrupted("SIGINT"));
      else answer.abort(new Interrupted("SIGINT"));
    };
    const terminate = () => leave(new Interrupted("SIGTERM"));
    process.on("SIGINT", interrupt).on("SIGTERM", terminate);
    this.#say(
      `${this.#flags.model} on ${this.#engine.deployment.devices.map(({ name }) => name).join(", ")}. ${HELP}.\n`,
    );
    try {
      await Promise.race([this.#turns(), left]);
    } catch (error) {
      if (error instanceof Interrupted) this.#say("\n");
      throw error;
    } finally {
      process.off("SIGINT", interrupt).off("SIGTERM", terminate);
    }
  }

  async #turns(): Promise<void> {
    for (let text = await this.#reader.next(); text !== undefined; text = await this.#reader.next()) {
      // Commands are one line: a pasted program may begin with a comment.
      const command = text.startsWith("/") && !text.includes("\n") ? text.trim() : undefined;
      if (command === "/exit" || command === "/quit") return;
      if (command !== undefined) this.#command(command);
      else if (text.trim() !== "") await this.#reply(text);
    }
  }

  /** Throws `OCTAVO_BAD_ARGUMENT` for one that there is not, except on a terminal, where it can be typed again. */
  #command(command: string): void {
    if (command === "/clear") this.#clear();
    else if (command === "/help") this.#say(`${HELP}\n`);
    else {
      const error = badArgument(`there is no command ${command.slice(0, 40)}; ${COMMANDS}`);
      if (!this.#terminal) throw error;
      say(`${describeError(error)}\n`);
    }
  }

  async #reply(content: string): Promise<void> {
    this.#messages.push({ role: "user", content });
    this.#answer = new AbortController();
    let text = "";
    try {
      const completion = await this.#generate(this.#answer.signal, (piece) => {
        text += piece;
        if (!this.#flags.json) printData(piece);
      });
      this.#finish(completion);
    } catch (error) {
      const stopped = error instanceof Interrupted;
      this.#say(stopped ? "\n(stopped)\n" : "\n");
      if (!stopped && (!this.#terminal || !OctavoError.isInstance(error))) throw error;
      if (!stopped) this.#say(`${describeError(error)}\n`);
    } finally {
      this.#answer = undefined;
      // What was said so far stays in the conversation; a question without an answer does not.
      if (text === "") this.#messages.pop();
      else this.#messages.push({ role: "assistant", content: text });
    }
  }

  /** Forgets the oldest turns while the conversation is too long for the model, which of long ones only the generation tells. */
  async #generate(signal: AbortSignal, show: (text: string) => void): Promise<Completion> {
    const options = { ...generateOptionsOf(this.#flags), signal };
    const kept = this.#flags.system === undefined ? 0 : 1;
    while (true) {
      try {
        const generation = this.#engine.chat(this.#messages, options);
        for await (const { text } of generation) show(text);
        return await generation.complete();
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
    if (this.#flags.json) printJson({ text, ids, finishReason, usage });
    else process.stdout.write("\n");
    this.#say(`(${speedLine(completion)})\n`);
  }

  #clear(): void {
    this.#messages = this.#flags.system === undefined ? [] : [{ role: "system", content: this.#flags.system }];
  }

  /** For people only. */
  #say(text: string): void {
    if (this.#terminal && !this.#flags.json) say(text);
  }
}
