/** Messages -> the text that a model was trained to see. */
import { createContext, Script } from "node:vm";
import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { OctavoError } from "../errors.ts";
import { CHAT_GLOBALS } from "./chat-globals.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

export interface ChatOptions {
  /** Ends with the start of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
}

/** Templates are code of the model's author: a loop without end must not stop the process. */
const TIME_LIMIT_MS = 2000;

/**
 * Renders the model's chat template. Encode the result with `addSpecialTokens: false`: it has them.
 * Throws `OCTAVO_UNSUPPORTED_MODEL` when the model has no template or one that does not run, `OCTAVO_BAD_ARGUMENT` when there are
 * no messages or the template refuses them (many want user and assistant to alternate).
 */
export function renderChat(
  tokenizer: Pick<Tokenizer, "chatTemplate" | "specialTokens">,
  messages: readonly ChatMessage[],
  { addGenerationPrompt = true }: ChatOptions = {},
): string {
  checkMessages(messages);
  const template = compile(tokenizer.chatTemplate);
  let refusal: string | undefined;
  const variables = {
    ...CHAT_GLOBALS,
    ...tokenizer.specialTokens,
    messages,
    add_generation_prompt: addGenerationPrompt,
    raise_exception: (message: unknown) => {
      refusal = String(message);
      throw new Error(refusal);
    },
  };
  try {
    return limited(() => render(template, variables));
  } catch (cause) {
    if (refusal !== undefined) {
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", `the model's chat template refuses the messages: ${refusal}`, {
        cause,
      });
    }
    throw unusable(cause);
  }
}

/** `Template.render` with this module's globals: the library's own cannot be replaced. */
function render(template: Template, variables: Readonly<Record<string, unknown>>): string {
  const environment = new Environment();
  for (const [name, value] of Object.entries(variables)) environment.set(name, value);
  const result: unknown = new Interpreter(environment).run(template.parsed).value;
  return String(result);
}

function checkMessages(messages: readonly ChatMessage[]): void {
  if (messages.length === 0) throw new OctavoError("OCTAVO_BAD_ARGUMENT", "a chat without messages; give at least one");
  for (const [index, { role, content }] of messages.entries()) {
    if (typeof content !== "string" || !["system", "user", "assistant"].includes(role)) {
      throw new OctavoError(
        "OCTAVO_BAD_ARGUMENT",
        `message ${index}: role ${JSON.stringify(role)} with ${typeof content} content; roles are system, user and assistant, contents are strings`,
      );
    }
  }
}

const compiled = new Map<string, Template>();

function compile(source: string | undefined): Template {
  if (source === undefined) {
    throw new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      "the model has no chat template: it continues texts; give it a prompt (generate, or --raw on the command line)",
    );
  }
  const known = compiled.get(source);
  if (known) return known;
  try {
    const template = limited(() => new Template(source));
    if (compiled.size >= 16) compiled.clear();
    compiled.set(source, template);
    return template;
  } catch (cause) {
    throw unusable(cause);
  }
}

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
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `the model's chat template does not run: ${reason.slice(0, 300)}`,
    {
      cause,
    },
  );
}
