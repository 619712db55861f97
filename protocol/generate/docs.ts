/** `docs/ops.md` and `docs/errors.md`. */
import { ERRORS } from "../errors.ts";
import { type Attribute, OPS, type Operand, type OpSpec, type Rule } from "../ops.ts";
import { NOTICE } from "./python.ts";

/** Pipes would end a table cell. */
function cell(content: string): string {
  return content.replaceAll("|", "\\|");
}

function operandRow(role: string, name: string, spec: Operand): string {
  const notes = [
    spec.optional ? "optional" : "",
    spec.mutated ? "written in place" : "",
    spec.packed ? "packed or plain" : "",
  ].filter((note) => note !== "");
  return `| ${role} | \`${name}\` | ${spec.dtypes.join(", ")} | \`[${spec.shape.join(", ")}]\` | ${notes.join(", ")} |`;
}

function attributeRow(name: string, spec: Attribute): string {
  let accepted: string = spec.type;
  if (spec.type === "enum") accepted = spec.values.map((value) => `\`${value}\``).join(", ");
  else if (spec.type !== "boolean" && (spec.min !== undefined || spec.max !== undefined))
    accepted += `, ${spec.min ?? ""}..${spec.max ?? ""}`;
  const fallback = spec.default === undefined ? "required" : `\`${spec.default}\``;
  return `| \`${name}\` | ${accepted} | ${fallback} |`;
}

function opSection(name: string, spec: OpSpec): string {
  const lines = [`## ${name}`, "", spec.summary, "", `\`${spec.formula}\``, ""];
  if (spec.fuses) lines.push(`Equals ${spec.fuses.map((part) => `\`${part}\``).join(" then ")}, bit for bit.`, "");
  lines.push("| | name | dtypes | shape | |", "|---|---|---|---|---|");
  for (const [input, operand] of Object.entries(spec.inputs)) lines.push(operandRow("in", input, operand));
  for (const [output, operand] of Object.entries(spec.outputs)) lines.push(operandRow("out", output, operand));
  const attributes = Object.entries(spec.attributes);
  if (attributes.length > 0) {
    lines.push("", "| attribute | accepts | default |", "|---|---|---|");
    for (const [attribute, accepts] of attributes) lines.push(attributeRow(attribute, accepts));
  }
  if (spec.rules) {
    lines.push("", "| must hold | else |", "|---|---|");
    for (const rule of spec.rules) lines.push(`| ${relation(rule)} | \`${rule.code}\`: ${cell(rule.text)} |`);
  }
  return lines.join("\n");
}

function relation({ relation, left, right }: Rule): string {
  if (relation === "dtype") return `the dtypes of \`${left}\` and \`${right}\` are alike`;
  return `\`${left}\` is ${relation === "multiple" ? "a multiple of" : "at most"} \`${right}\``;
}

export function opsMarkdown(): string {
  const sections = Object.entries(OPS).map(([name, spec]) => opSection(name, spec));
  return `${NOTICE}
# Ops

A program is a list of these. Shapes are products of symbols, attributes and integers; \`pad64(K)\` is K rounded up to a
multiple of 64, \`blocks(K)\` is how many blocks of 64 columns a row has, \`carryWords(K)\` is 4 + pad64(K)/4 + pad64(K) - K (so the shapes of digits say their K). T tokens, S sampled rows, B sequences, J pages per sequence, G pages in
all, V vocabulary; the other letters are free. The arithmetic, to the bit, is in [numerics.md](numerics.md).

${sections.join("\n\n")}
`;
}

export function errorsMarkdown(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { retryable, summary }]) => `| \`${code}\` | ${retryable ? "yes" : "no"} | ${cell(summary)} |`,
  );
  return `${NOTICE}
# Errors

Everything that Octavo throws on purpose is an \`OctavoError\` with one of these codes. A code is never renamed and never
reused. \`error.retryable\` says that the same call may succeed later without a change by the caller; the table has what is
usual for a code, and says where an error may differ.

| code | retryable | meaning |
|---|---|---|
${rows.join("\n")}
`;
}
