/**
 * Linears over the same input become one linear over stacked weights; their results become column views.
 * Each output column is its own sum with its own scale and bias, so no bit changes.
 */
import type { Operation, Parameter, ParameterSource, Program, Value, ValueId } from "./program.ts";
import { compact, Uses } from "./rewrite.ts";

/** Operands whose kernels read rows by stride, so that a view of columns will do. */
const STRIDED: ReadonlySet<string> = new Set([
  "rope.x",
  "append.k",
  "append.v",
  "rope_append.q",
  "rope_append.k",
  "rope_append.v",
  "glu.gate",
  "glu.up",
  "glu_quantize.gate",
  "glu_quantize.up",
]);

/** The operands that are stacked; all others must be the same values. */
const STACKED = ["weight", "scale", "bias"] as const;

export function mergeLinears(program: Program): Program {
  const groups = new Map<string, Operation[]>();
  const uses = new Uses(program);
  for (const op of program.ops) {
    if (!mergeable(program, op, uses)) continue;
    const key = groupKey(program, op);
    groups.set(key, [...(groups.get(key) ?? []), op]);
  }
  const values = [...program.values];
  const parameters = new Map(program.parameters);
  const replacement = new Map<Operation, Operation | undefined>();
  for (const group of groups.values()) {
    if (group.length < 2) continue;
    for (const op of group) replacement.set(op, undefined);
    replacement.set(group[0]!, stack(group, values, parameters));
  }
  const ops = program.ops.flatMap((op) => (replacement.has(op) ? (replacement.get(op) ?? []) : op));
  return compact({ ...program, values, ops, parameters });
}

function mergeable(program: Program, op: Operation, uses: Uses): boolean {
  if (op.op !== "linear_int8" && op.op !== "linear_float") return false;
  const y = op.outputs.y!;
  if (!uses.inside(y)) return false;
  const strided = uses.of(y).every((index) => {
    const user = program.ops[index]!;
    return Object.entries(user.inputs).every(([name, id]) => id !== y || STRIDED.has(`${user.op}.${name}`));
  });
  // A weight that another op needs as well must keep its own name and place.
  return strided && STACKED.every((name) => stackable(program, op.inputs[name], uses));
}

function stackable(program: Program, id: ValueId | undefined, uses: Uses): boolean {
  if (id === undefined) return true;
  const { place } = program.values[id]!;
  if (place.type !== "parameter" || uses.of(id).length !== 1) return false;
  const { type } = program.parameters.get(place.name)!.source;
  return type === "tensors" || type === "scale";
}

function groupKey(program: Program, op: Operation): string {
  const shared = Object.entries(op.inputs).filter(([name]) => !(STACKED as readonly string[]).includes(name));
  const { dtype, layout } = program.values[op.inputs.weight!]!;
  return JSON.stringify([op.op, shared, dtype, layout, op.inputs.bias !== undefined]);
}

/** The merged op; adds its parameters and result to `values`, and turns the old results into views. */
function stack(group: readonly Operation[], values: Value[], parameters: Map<string, Parameter>): Operation {
  const first = group[0]!;
  const inputs: Record<string, ValueId> = { ...first.inputs };
  const add = (value: Value) => (values.push(value) - 1) as ValueId;
  const nameOf = (id: ValueId) => values[id]!.label;
  const weightName = group.map((op) => nameOf(op.inputs.weight!)).join("+");
  for (const operand of STACKED) {
    if (first.inputs[operand] === undefined) continue;
    const parts = group.map((op) => parameters.get(nameOf(op.inputs[operand]!))!);
    const { dtype, layout, shape: one, source } = parts[0]!;
    const shape = [parts.reduce((rows, part) => rows + part.shape[0]!, 0), ...one.slice(1)];
    const name = operand === "scale" ? `${weightName}.scale` : parts.map((part) => part.name).join("+");
    const taken = parts.flatMap((part) => (part.source.type === "tensors" ? part.source.parts : []));
    const stacked: ParameterSource =
      source.type === "tensors"
        ? { ...source, parts: taken, scale: source.scale && `${weightName}.scale` }
        : { type: "scale", of: weightName };
    parameters.set(name, { name, dtype, layout, shape, source: stacked });
    inputs[operand] = add({ dtype, layout, shape, place: { type: "parameter", name }, label: name });
  }
  const results = group.map((op) => op.outputs.y!);
  const rows = values[results[0]!]!.shape[0]!;
  const width = results.reduce((sum, id) => sum + (values[id]!.shape[1] as number), 0);
  const label = results.map((id) => values[id]!.label).join("+");
  const y = add({ dtype: "float32", layout: "plain", shape: [rows, width], place: { type: "intermediate" }, label });
  let column = 0;
  for (const id of results) {
    values[id] = { ...values[id]!, place: { type: "columns", of: y, column } };
    column += values[id]!.shape[1] as number;
  }
  return { ...first, inputs, outputs: { y }, label };
}
