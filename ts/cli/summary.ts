/** Speed and memory of a run, for people. */
import { formatBytes } from "../bytes.ts";
import type { Completion } from "../engine/generation.ts";
import { HANDLE_KINDS, type LedgerReport } from "../memory/ledger.ts";
import type { SamplingDefaults } from "../model/source/generation-config.ts";

export function speedLine({ usage, timings }: Pick<Completion, "usage" | "timings">): string {
  const { promptTokens, completionTokens } = usage;
  const decode = timings.decodeTokensPerSecond > 0 ? ` at ${rate(timings.decodeTokensPerSecond)}` : "";
  return (
    `prompt ${promptTokens} tokens at ${rate(timings.prefillTokensPerSecond)}, first token after ` +
    `${seconds(timings.firstTokenMs)}, ${completionTokens} tokens in ${seconds(timings.totalMs)}${decode}`
  );
}

/** With what an answer was drawn that the user did not ask for; undefined where the model's files say nothing. */
export function defaultsLine(defaults: SamplingDefaults): string | undefined {
  const given = Object.entries(defaults).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  return given.length === 0 ? undefined : `the model's own settings, where none were given: ${given.join(", ")}`;
}

/**
 * One device: what was planned, what the worker measures, and where it is. The system counts a page when it is first
 * touched: KV that nothing was written to yet is not in `measured`.
 */
export function memoryLines(report: LedgerReport): string[] {
  const kinds = HANDLE_KINDS.filter((kind) => report.byKind[kind] > 0).map(
    (kind) => `${kind} ${formatBytes(report.byKind[kind])}`,
  );
  return [
    `${report.device}: planned ${formatBytes(report.planned)}, measured ${formatBytes(report.measured)}, ` +
      `of this the worker itself ${formatBytes(report.unattributed)}`,
    `  ${kinds.join(", ")}`,
  ];
}

export function seconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function rate(tokensPerSecond: number): string {
  return `${tokensPerSecond.toFixed(1)} tokens/s`;
}
