/** The prompt of a command: its argument, or what comes on stdin. */
import { addAbortSignal } from "node:stream";
import { text } from "node:stream/consumers";
import { OctavoError } from "../errors.ts";

/**
 * `-` and no argument read stdin; the newline that ends it is no part of the prompt. Throws `OCTAVO_EMPTY_PROMPT`, also when
 * stdin is a terminal, where waiting would look like a hang. The signal ends the waiting.
 */
export async function readPrompt(argument: string | undefined, signal: AbortSignal): Promise<string> {
  const fromStdin = argument === undefined || argument === "-";
  if (fromStdin && process.stdin.isTTY) {
    throw new OctavoError("OCTAVO_EMPTY_PROMPT", 'no prompt; give it in quotes, or on stdin: octavo run "..."');
  }
  const prompt = fromStdin ? (await text(addAbortSignal(signal, process.stdin))).replace(/\r?\n$/, "") : argument;
  if (prompt.trim() !== "") return prompt;
  throw new OctavoError("OCTAVO_EMPTY_PROMPT", "the prompt is empty; write something to answer or to continue");
}
