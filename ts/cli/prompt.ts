/** The prompt of a command: its argument, what comes on stdin, or both. */
import { fstatSync } from "node:fs";
import { addAbortSignal } from "node:stream";
import { messageOf, OctavoError } from "../errors.ts";

/** A pipe that stays open without a word looks like a hang. */
const NOTICE_MS = 3000;
/** No model takes as much; a device or a runaway command on stdin does not end by itself. */
const MAX_STDIN_BYTES = 64 * 2 ** 20;

/**
 * The argument, then an empty line and what is piped in, if anything is. `-` and no argument read stdin alone; the newline that
 * ends it is no part of the prompt. Throws `OCTAVO_EMPTY_PROMPT`, also when stdin is a terminal, where waiting would look like a
 * hang, and `OCTAVO_FILE_NOT_READABLE` for a stdin that cannot be read (a directory) or does not end. The signal ends the waiting.
 */
export async function readPrompt(argument: string | undefined, signal: AbortSignal): Promise<string> {
  const given = argument === "-" ? undefined : argument;
  if (given === undefined && process.stdin.isTTY)
    throw new OctavoError("OCTAVO_EMPTY_PROMPT", 'no prompt; give it in quotes, or on stdin: octavo run "..."');
  const piped = given === undefined || isPiped() ? await readStdin(given, signal) : "";
  const prompt = piped.trim() === "" ? (given ?? "") : given === undefined ? piped : `${given}\n\n${piped}`;
  if (prompt.trim() !== "") return prompt;
  throw new OctavoError("OCTAVO_EMPTY_PROMPT", "the prompt is empty; write something to answer or to continue");
}

/** A pipe or a file: neither a terminal nor /dev/null, and open. */
function isPiped(): boolean {
  try {
    const stdin = fstatSync(0);
    return stdin.isFIFO() || stdin.isFile() || stdin.isSocket();
  } catch {
    return false;
  }
}

async function readStdin(given: string | undefined, signal: AbortSignal): Promise<string> {
  const aside = given === undefined ? "" : "; to use the argument alone, close stdin: < /dev/null";
  const notice = setTimeout(
    () => process.stderr.write(`reading the prompt from stdin until it ends${aside}\n`),
    NOTICE_MS,
  );
  try {
    return (await readAll(addAbortSignal(signal, process.stdin))).replace(/\r?\n$/, "");
  } catch (cause) {
    signal.throwIfAborted();
    if (OctavoError.isInstance(cause)) throw cause;
    throw new OctavoError("OCTAVO_FILE_NOT_READABLE", `stdin cannot be read: ${messageOf(cause)}`, { cause });
  } finally {
    clearTimeout(notice);
  }
}

async function readAll(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_STDIN_BYTES)
      throw new OctavoError("OCTAVO_FILE_NOT_READABLE", `stdin goes on past ${MAX_STDIN_BYTES} bytes; no prompt does`);
  }
  return Buffer.concat(chunks).toString("utf8");
}
