/** Messages -> the text that a model was trained to see. */
import { checkMessageList } from "../arguments.ts";
import { badArgument, messageOf, OctavoError } from "../errors.ts";
import { cut, quoted } from "../quoted.ts";
import { Budget } from "./chat/budget.ts";
import { escaped, fenceMessages } from "./chat/fenced-messages.ts";
import { chatFunctions, TemplateRefusal } from "./chat/globals.ts";
import { interpret } from "./chat/interpreter.ts";
import type { ChatMessage } from "./chat/message.ts";
import { type Node, parseTemplate } from "./chat/syntax.ts";
import type { Value } from "./chat/values.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface RenderOptions {
  /** Ends with the start of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean | undefined;
}

export interface PromptOptions extends RenderOptions {
  /** Control tokens that are written out in a message become those tokens. Default false: they are text. */
  readonly allowSpecialTokens?: boolean | undefined;
}

/** A rendered chat, to be encoded with `addSpecialTokens: false` (the template writes them) and this fence. */
export interface ChatPrompt {
  readonly text: string;
  /** The character of the text that is no part of it: no control token is found across it. */
  readonly fence: string | undefined;
}

type Model = Pick<Tokenizer, "chatTemplate" | "specialTokens">;

/**
 * The prompt that answers the last of `messages`. What the messages say is text, control tokens among it too, so that nobody can
 * open a turn by writing its mark; a template that looks at the content sees fences inside of such marks.
 * Throws what `renderChat` throws.
 */
export function chatPrompt(
  tokenizer: Model & Pick<Tokenizer, "addedTokens">,
  messages: readonly ChatMessage[],
  { allowSpecialTokens = false, ...options }: PromptOptions = {},
): ChatPrompt {
  checkMessages(messages);
  if (allowSpecialTokens) return { text: renderChat(tokenizer, messages, options), fence: undefined };
  const { fence, fenced } = fenceMessages(tokenizer, compile(tokenizer.chatTemplate), messages);
  const text = renderChat(tokenizer, fenced, options);
  // Some templates write a message as JSON or as Python would; an escaped fence would stay in the text.
  if (text.includes(escaped(fence))) {
    const reason = "it escapes a message that has a control token; leave the token out, or set allowSpecialTokens";
    throw unusable(new Error(reason));
  }
  return { text, fence: text.includes(fence) ? fence : undefined };
}

/**
 * Renders the model's chat template, to the character as transformers does, or not at all.
 * Throws `OCTAVO_UNSUPPORTED_MODEL` when the model has no template, or one that does not run, takes too much time or memory, or
 * uses what is not supported; `OCTAVO_BAD_ARGUMENT` when there are no messages, one is none, or the template refuses them (many
 * want user and assistant to alternate).
 */
export function renderChat(
  tokenizer: Model,
  messages: readonly ChatMessage[],
  { addGenerationPrompt = true }: RenderOptions = {},
): string {
  checkMessages(messages);
  const template = compile(tokenizer.chatTemplate);
  const budget = new Budget(
    messages.length,
    messages.reduce((sum, { content }) => sum + content.length, 0),
  );
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
    if (!(cause instanceof TemplateRefusal)) throw unusable(cause);
    const reason = `the model's chat template refuses the messages: ${cut(cause.message, 300)}`;
    throw badArgument(reason, { cause });
  }
}

const ROLES: readonly unknown[] = ["system", "user", "assistant"];

/** Throws `OCTAVO_BAD_ARGUMENT`. Messages come from callers' callers: nothing of them is taken for granted. */
export function checkMessages(messages: readonly ChatMessage[]): void {
  const refuse = (text: string): never => {
    throw badArgument(text);
  };
  checkMessageList(messages);
  if (messages.length === 0) refuse("a chat without messages; give at least one");
  for (const [index, message] of messages.entries()) {
    const { role, content, ...others } = message as unknown as Record<string, unknown>;
    if (!ROLES.includes(role))
      refuse(`message ${index} has the role ${quoted(role)}; roles are system, user and assistant`);
    if (typeof content !== "string") refuse(`message ${index} has the content ${quoted(content)}; it takes a text`);
    const [other] = Object.keys(others);
    if (other !== undefined) refuse(`message ${index} has ${quoted(other)}; it takes role and content`);
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
    const template = parseTemplate(source);
    if (compiled.size >= 16) compiled.clear();
    compiled.set(source, template);
    return template;
  } catch (cause) {
    throw unusable(cause);
  }
}

function unusable(cause: unknown): OctavoError {
  const text = `the model's chat template does not run: ${cut(messageOf(cause), 300)}`;
  return new OctavoError("OCTAVO_UNSUPPORTED_MODEL", text, { cause });
}
