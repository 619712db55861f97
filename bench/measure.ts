/** One run of a peer's process: its lines become timings; whatever ends it early is part of the outcome. */
import type { Timing } from "./cases.ts";
import type { Start } from "./peers.ts";
import { run } from "./processes.ts";

/** Precedes what peers print for us; their libraries may print too. */
const MARK = "@octavo-bench ";
/** The longest measurement of a slow peer takes a minute or two. */
const SILENCE_MS = 10 * 60_000;
const REASON = 300;

export interface Outcome {
  readonly version?: string;
  readonly timings: readonly Timing[];
  /** From the start of the process to the end of its first measurement. */
  readonly startSeconds?: number;
  readonly peakBytes?: number;
  /** Why there are not all timings, in a line. */
  readonly failure?: string;
}

/** A line that a peer printed: its version, a timing, or nothing of ours. Throws for a line of ours that is neither. */
export function readLine(line: string): { version: string } | Timing | undefined {
  if (!line.startsWith(MARK)) return undefined;
  const said = JSON.parse(line.slice(MARK.length));
  if (typeof said.version === "string") return said;
  const numbers = [said.first, said.made, said.seconds];
  if (typeof said.name === "string" && numbers.every(Number.isFinite) && Array.isArray(said.answer)) return said;
  throw new Error(`a peer printed ${line}`);
}

/** Throws only the signal's reason. */
export async function measurePeer(
  { command, args, env }: Start,
  options: { readonly cwd: string; readonly signal: AbortSignal; readonly onTiming?: (name: string) => void },
): Promise<Outcome> {
  const { cwd, signal, onTiming } = options;
  const timings: Timing[] = [];
  let version: string | undefined;
  let startSeconds: number | undefined;
  let odd: unknown;
  const onLine = (line: string, ms: number) => {
    try {
      const said = readLine(line);
      if (said === undefined) return;
      if ("version" in said) {
        version = said.version;
        return;
      }
      startSeconds ??= ms / 1000;
      timings.push(said);
      onTiming?.(said.name);
    } catch (error) {
      odd ??= error;
    }
  };
  const told = () => ({ timings, ...(version && { version }), ...(startSeconds && { startSeconds }) });
  try {
    const { peakBytes } = await run(command, args, { cwd, signal, onLine, silenceMs: SILENCE_MS, ...(env && { env }) });
    if (odd) throw odd;
    return { ...told(), peakBytes };
  } catch (error) {
    signal.throwIfAborted();
    return { ...told(), failure: reasonOf(error) };
  }
}

/** The last line that says something: of a traceback the exception, of a package client why it finds no solution. */
export function reasonOf(error: unknown): string {
  const lines = String((error as Error)?.message ?? error)
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  const last =
    lines.findLast((line) => /^cause:|error|exception|refused|killed|cannot|no such/i.test(line)) ?? lines.at(-1);
  return (last ?? "unknown").slice(0, REASON);
}
