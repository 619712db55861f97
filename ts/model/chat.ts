/** Messages -> the text that a model was trained to see. */
import { createContext, Script } from "node:vm";
import { messageOf, OctavoError } from "../errors.ts";
import { cut, quoted } from "../quoted.ts";
import { Budget } from "./chat/budget.ts";
import { chatFunctions, TemplateRefusal } from "./chat/globals.ts";
import { interpret } from "./chat/interpreter.ts";
import { type Node, parseTemplate } from "./chat/syntax.ts";
import type { Value } from "./chat/values.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

export interface ChatOptions {
  /** Ends with the start of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
}

/**
 * Renders the model's chat template, to the character as transformers does, or not at all.
 * Throws `OCTAVO_UNSUPPORTED_MODEL` when the model has no template, or one that does not run, takes too much time or memory, or
 * uses what is not supported; `OCTAVO_BAD_ARGUMENT` when there are no messages, one is none, or the template refuses them (many
 * want user and assistant to alternate).
 */
export function renderChat(
  tokenizer: Pick<Tokenizer, "chatTemplate" | "specialTokens">,
  messages: readonly ChatMessage[],
  { addGenerationPrompt = true }: ChatOptions = {},
): string {
  checkMessages(messages);
  const template = compile(tokenizer.chatTemplate);
  const budget = new Budget(messages.reduce((sum, { content }) => sum + content.length + 1, 0));
  const variables = new Map<string, Value>([
    ...Object.entries(tokenizer.specialTokens),
    ...chatFunctions(budget),
    ["messages", messages.map(({ role, content }) => new Map(Object.entries({ role, content })))],
    // transformers gives these as none, which is not undefined.
    ["tools", null],
    ["documents", null],
    ["add_generation_prompt", addGenerationPrompt],
  ]);
  try {
    return interpret(template, variables, budget);
  } catch (cause) {
    if (cause instanceof TemplateRefusal) {
      const reason = cause.message.slice(0, 300);
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `the model's chat template refuses the messages: ${reason}`, {
        cause,
      });
    }
    throw unusable(cause);
  }
}

function checkMessages(messages: readonly ChatMessage[]): void {
  if (messages.length === 0) throw new OctavoError("OCTAVO_BAD_ARGUMENT", "a chat without messages; give at least one");
  for (const [index, { role, content }] of messages.entries()) {
    if (typeof content !== "string" || !["system", "user", "assistant"].includes(role)) {
      throw new OctavoError(
        "OCTAVO_BAD_ARGUMENT",
        `message ${index}: role ${quoted(role)} with ${typeof content} content; roles are system, user and assistant, contents are strings`,
      );
    }
  }
}

const compiled = new Map<string, Node>();

function compile(source: string | undefined): Node {
  if (source === undefined) {
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      "the model has no chat template: it continues texts; give it a prompt (generate, or --raw on the command line)",
    );
  }
  const known = compiled.get(source);
  if (known) return known;
  try {
    const template = limited(() => parseTemplate(source));
    if (compiled.size >= 16) compiled.clear();
    compiled.set(source, template);
    return template;
  } catch (cause) {
    throw unusable(cause);
  }
}

/** Reading a template takes milliseconds; one that was made to take hours must not stop the process. */
const TIME_LIMIT_MS = 2000;
const context = createContext(Object.create(null));
const call = new Script("run()");

/** Runs it with a limit of time; throws when it takes longer. */
function limited<T>(task: () => T): T {
  let result: { value: T } | undefined;
  context.run = () => {
    result = { value: task() };
  };
  call.runInContext(context, { timeout: TIME_LIMIT_MS });
  if (!result) throw new Error("it did not run");
  return result.value;
}

function unusable(cause: unknown): OctavoError {
  const text = `the model's chat template does not run: ${cut(messageOf(cause), 300)}`;
  return new OctavoError("OCTAVO_UNSUPPORTED_MODEL", text, { cause });
}
