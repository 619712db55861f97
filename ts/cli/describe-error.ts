/** What a user sees of an error, and the exit status that scripts see. */
import { CommanderError } from "commander";
import { variable } from "../environment.ts";
import { messageOf, OctavoError } from "../errors.ts";
import { cut } from "../quoted.ts";
import { Interrupted } from "./interrupt.ts";
import { printJson, say } from "./screen.ts";

/** Codes that say that the command was used wrongly. */
const USAGE = new Set(["OCTAVO_BAD_ARGUMENT", "OCTAVO_EMPTY_PROMPT"]);

/**
 * Prints the error to stderr, and with `json` its document to stdout. Returns the exit status.
 * 0: it was help or a version; 2: wrong usage; 128 + signal: interrupted; 1: anything else.
 */
export function reportError(error: unknown, json: boolean): number {
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  if (error instanceof Interrupted) return error.exitCode;
  if (json) printJson({ error: document(error) });
  if (error instanceof CommanderError) return 2; // Commander has printed it.
  say(`${describeError(error)}\n`);
  return OctavoError.isInstance(error) && USAGE.has(error.code) ? 2 : 1;
}

/** Whether the command line asks for JSON, which must be known of one that could not be parsed too. */
export function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end < 0 ? args.length : end).includes("--json");
}

/** The code is null for errors that are bugs. */
function document(error: unknown): { code: string | null; message: string; retryable: boolean } {
  if (error instanceof CommanderError) {
    const none = error.code === "commander.help"; // What commander throws after the help that a missing command gets.
    const message = none ? "no command was given; see octavo --help" : error.message.replace(/^error: /, "");
    return { code: "OCTAVO_BAD_ARGUMENT", message, retryable: false };
  }
  if (OctavoError.isInstance(error)) return { code: error.code, message: error.message, retryable: error.retryable };
  return { code: null, message: messageOf(error), retryable: false };
}

/** In place of Node's own words for warnings, which name the process and tell where to find a trace. */
export function reportWarning(warning: Error): void {
  const kind = warning.name === "OctavoWarning" ? "warning" : `warning ${warning.name}`;
  const clear = process.stderr.isTTY ? "\r\x1b[2K" : ""; // A progress line.
  process.stderr.write(clear);
  say(`${kind}: ${warning.message}\n`);
}

/** `error CODE: message`, with what caused it. The stack only for errors that are bugs, or with OCTAVO_DEBUG. */
export function describeError(error: unknown): string {
  if (typeof error !== "object" || error === null) return `error: ${String(error)}`;
  const known = OctavoError.isInstance(error);
  const message = messageOf(error);
  const line = known ? `error ${error.code}: ${message}` : `error: ${message}`;
  const { cause, stack: trace } = error as Partial<Error>;
  const reason = cause === undefined ? "" : messageOf(cause);
  const detail = reason === "" || message.includes(reason) ? "" : `\n  cause: ${cut(reason, 2000)}`;
  const stack = (known && !variable("OCTAVO_DEBUG")) || !trace ? "" : `\n${trace}`;
  return line + detail + stack;
}
