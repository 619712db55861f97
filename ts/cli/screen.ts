/**
 * What people read. Names of models, messages with text of files and workers, and what a model says are somebody else's, and
 * a terminal obeys control characters: they could retitle it, hide lines, or type into the shell.
 */

/** C0 but line ends and tabs, DEL, and C1. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** What JSON itself does not escape. */
const CONTROLS_OF_JSON = /[\u007f-\u009f]/g;

/** Control characters as they are written in code: `\x1b`. */
export function printable(text: string): string {
  return text.replaceAll("\r\n", "\n").replace(CONTROLS, (control) => `\\x${hex(control)}`);
}

/** Rows of cells as lines, columns as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => cell.padStart(widths[column]!)).join("  "));
}

export function percent(share: number, digits: number): string {
  return `${(100 * share).toFixed(digits)} %`;
}

/** Results, for people, on stdout. */
export function print(text: string): void {
  process.stdout.write(printable(text));
}

/** What is beside the results, on stderr. */
export function say(text: string): void {
  process.stderr.write(printable(text));
}

/** What scripts take as well: as it is, but for control characters on a terminal, which are left out. */
export function printData(text: string): void {
  process.stdout.write(process.stdout.isTTY ? text.replace(CONTROLS, "") : text);
}

/** The document of `--json`, on one line of stdout. */
export function printJson(document: object): void {
  const text = JSON.stringify(document).replace(CONTROLS_OF_JSON, (control) => `\\u00${hex(control)}`);
  process.stdout.write(`${text}\n`);
}

function hex(control: string): string {
  return control.charCodeAt(0).toString(16).padStart(2, "0");
}
