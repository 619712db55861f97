/** The messages of a chat with fences in them, and the fence. */
import { badArgument } from "../../errors.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { Fences } from "./fence.ts";
import type { ChatMessage } from "./message.ts";
import type { Node } from "./syntax.ts";

type Model = Pick<Tokenizer, "chatTemplate" | "specialTokens" | "addedTokens">;

/** Throws `OCTAVO_BAD_ARGUMENT` for messages that cannot be fenced. */
export function fenceMessages(
  tokenizer: Model,
  template: Node,
  messages: readonly ChatMessage[],
): { readonly fence: string; readonly fenced: readonly ChatMessage[] } {
  const fence = freeFence(tokenizer, messages);
  const fences = fencesOf(tokenizer.addedTokens, template);
  const fenced = messages.map(({ role, content }, index) => {
    try {
      return { role, content: fences.fenced(role, content, fence) };
    } catch (cause) {
      const why = `${(cause as Error).message}, which cannot be text; leave it out, or set allowSpecialTokens`;
      throw badArgument(`message ${index}: ${why}`, { cause });
    }
  });
  return { fence, fenced };
}

const ofTokens = new WeakMap<Tokenizer["addedTokens"], { readonly template: Node; readonly fences: Fences }>();

function fencesOf(tokens: Tokenizer["addedTokens"], template: Node): Fences {
  const known = ofTokens.get(tokens);
  if (known?.template === template) return known.fences;
  const fences = new Fences(tokens, template);
  ofTokens.set(tokens, { template, fences });
  return fences;
}

/** Unicode's noncharacters, which no text should have, and then private ones. */
const FENCES = [...range(0xfdd0, 32), ...range(0xe000, 256)].map((code) => String.fromCharCode(code));

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** A character that neither the messages nor the model have, written out or escaped. */
function freeFence(tokenizer: Model, messages: readonly ChatMessage[]): string {
  const texts = [
    tokenizer.chatTemplate ?? "",
    ...Object.values(tokenizer.specialTokens),
    ...tokenizer.addedTokens.map(({ content }) => content),
    ...messages.map(({ content }) => content),
  ];
  const isFree = (fence: string) => texts.every((text) => !text.includes(fence) && !text.includes(escaped(fence)));
  const fence = FENCES.find(isFree);
  if (fence !== undefined) return fence;
  throw badArgument("the messages have every character that could keep control tokens apart");
}

/** As JSON and Python write it where they escape it. */
export function escaped(fence: string): string {
  return `\\u${fence.charCodeAt(0).toString(16)}`;
}
