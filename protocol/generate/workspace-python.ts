/** `kernels/octavo_kernels/generated/workspace.py`: the formulas of scratch memory as Python reads them. */
import { SCRATCH_ROWS, SPLIT_BYTES, TICKET_BYTES, WORKSPACE } from "../workspace.ts";
import { HEADER, text } from "./python.ts";

export function workspacePython(): string {
  const entries = Object.entries(WORKSPACE).flatMap(([op, formulas]) => [
    `    ${text(op)}: {`,
    ...Object.entries(formulas).map(([name, formula]) => `        ${text(name)}: ${text(formula)},`),
    "    },",
  ]);
  return [
    `"""${HEADER}`,
    "",
    "protocol/workspace.ts says what the formulas mean.",
    `"""`,
    "",
    `SPLIT_BYTES = ${SPLIT_BYTES}`,
    `SCRATCH_ROWS = ${SCRATCH_ROWS}`,
    `TICKET_BYTES = ${TICKET_BYTES}`,
    "",
    "#: Op -> name -> formula, in the order in which they use each other.",
    "WORKSPACE: dict[str, dict[str, str]] = {",
    ...entries,
    "}",
    "",
  ].join("\n");
}
