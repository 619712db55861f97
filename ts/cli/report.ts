/** What a user sees of an error, and the exit status that scripts see. */
import { CommanderError } from "commander";
import { OctavoError } from "../errors.ts";
import { Interrupted } from "./interrupt.ts";

/** Codes that say that the command was used wrongly. */
const USAGE = new Set(["OCTAVO_BAD_ARGUMENT", "OCTAVO_EMPTY_PROMPT"]);

/** Prints the error to stderr. 0: it was help or a version; 2: wrong usage; 128 + signal: interrupted; 1: anything else. */
export function reportError(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // Commander has printed it.
  if (error instanceof Interrupted) return error.exitCode;
  process.stderr.write(`${describeError(error)}\n`);
  return OctavoError.isInstance(error) && USAGE.has(error.code) ? 2 : 1;
}

/** `error CODE: message`, with what caused it. The stack only for errors that are bugs, or with OCTAVO_DEBUG. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return `error: ${String(error)}`;
  const known = OctavoError.isInstance(error);
  const line = known ? `error ${error.code}: ${error.message}` : `error: ${error.message}`;
  const cause = error.cause instanceof Error && !error.message.includes(error.cause.message) ? error.cause.message : "";
  const detail = cause === "" ? "" : `\n  cause: ${cause}`;
  const stack = (known && !process.env.OCTAVO_DEBUG) || !error.stack ? "" : `\n${error.stack}`;
  return line + detail + stack;
}
