/** An exported program as text for people: what each op reads and writes, of which shape, and where that lies. */
import { formatBytes } from "../bytes.ts";
import type { ProgramFile } from "./export.ts";
import type { TensorPart } from "./program.ts";
import { formatShape } from "./shapes.ts";

export function printProgram(file: ProgramFile): string {
  const { model, options, limits, arenaBytes, values, ops, inputs, outputs, parameters } = file;
  const pairs = (of: object) =>
    Object.entries(of)
      .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`)
      .join(", ");
  return [
    `${model.path}: ${model.architecture} (family ${model.family})`,
    `options: ${pairs(options)}`,
    `limits: ${pairs(limits)}`,
    `${ops.length} ops, ${parameters.length} parameters, arena of ${formatBytes(arenaBytes)}`,
    "",
    "inputs of a step",
    ...align(inputs.map((id) => [values[id]!.label, typeOf(values[id]!)])),
    "",
    "ops",
    ...ops.flatMap((op, index) => operationLines(file, op, index)),
    "",
    "outputs of a step",
    ...align(outputs.map(({ name, value }) => [name, typeOf(values[value]!), values[value]!.label])),
    "",
    "parameters",
    ...align(parameters.map((each) => [each.name, typeOf(each), sourceOf(each.source)])),
    "",
  ].join("\n");
}

function operationLines(file: ProgramFile, op: ProgramFile["ops"][number], index: number): string[] {
  const attributes = Object.entries(op.attributes).map(([name, value]) => ` ${name}=${value}`);
  const said = op.op === "gather" ? ownColumns(file, op) : attributes.join("");
  const launches = op.launches === undefined ? "" : `  ${op.launches} launch${op.launches === 1 ? "" : "es"}`;
  const rows = (operands: Readonly<Record<string, number>>, arrow: string) =>
    Object.entries(operands).map(([name, id]) => {
      const value = file.values[id]!;
      return [`${arrow} ${name}`, typeOf(value), placeOf(file, value)];
    });
  return [
    `${String(index).padStart(4)}  ${op.op}  ${op.label}${said}${launches}`,
    ...align([...rows(op.inputs, "<-"), ...rows(op.outputs, "->")]).map((line) => `    ${line}`),
  ];
}

/** "columns 384..576 of 576 are this rank's" */
function ownColumns({ values }: ProgramFile, { inputs, attributes }: ProgramFile["ops"][number]): string {
  const { first, columns } = attributes;
  const own = values[inputs.x!]?.shape[1];
  return ` columns ${first}..${Number(first) + Number(own)} of ${columns} are this rank's`;
}

function typeOf({ dtype, layout, shape }: Pick<ProgramFile["values"][number], "dtype" | "layout" | "shape">): string {
  return `${dtype} ${formatShape(shape)}${layout === "packed" ? " packed" : ""}`;
}

function placeOf(file: ProgramFile, { place, label }: ProgramFile["values"][number]): string {
  switch (place.type) {
    case "parameter":
      return `parameter ${place.name}`;
    case "input":
      return `input ${place.name}`;
    case "intermediate":
      return `arena ${place.offset ?? "?"}  ${label}`;
    case "columns": {
      const shown = file.values[place.of]!;
      return `columns from ${place.column} of ${placeOf(file, shown)}`;
    }
  }
}

/** "experts[3..6, 0..64]": rows, columns. */
function partOf({ tensor, rows, columns }: TensorPart): string {
  if (!rows && !columns) return tensor;
  return `${tensor}[${rows?.join("..") ?? ""}, ${columns?.join("..") ?? ""}]`;
}

function sourceOf(source: ProgramFile["parameters"][number]["source"]): string {
  switch (source.type) {
    case "tensors":
      return `${source.form} of ${source.parts.map(partOf).join(" + ")}`;
    case "scale":
      return `scales of ${source.of}`;
    case "constant":
      return "constant";
    case "state":
      return `state, ${source.kind}`;
  }
}

/** Wider cells than this, such as names of merged weights, do not push those of other rows aside. */
const WIDEST = 60;

/** Columns as wide as their widest cell. */
function align(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.min(WIDEST, Math.max(widths[i] ?? 0, cell.length));
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ")}`.trimEnd());
}
