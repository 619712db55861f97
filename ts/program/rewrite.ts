/** What rewriting passes share: who uses a value, and a clean renumbering afterwards. */
import type { Operation, Parameter, Program, Value, ValueId } from "./program.ts";

/** Indices of the ops that read each value, views not followed. */
export function usesOf(ops: readonly Operation[]): Map<ValueId, number[]> {
  const uses = new Map<ValueId, number[]>();
  for (const [index, op] of ops.entries())
    for (const id of Object.values(op.inputs)) {
      const known = uses.get(id);
      if (known) known.push(index);
      else uses.set(id, [index]);
    }
  return uses;
}

/** Values of which another one shows columns. */
export function shownOf(values: readonly Value[]): ReadonlySet<ValueId> {
  return new Set(values.flatMap(({ place }) => (place.type === "columns" ? [place.of] : [])));
}

/** Drops values and parameters that nothing uses, and renumbers so that a view comes after the value it shows. */
export function compact(program: Program): Program {
  const needed = new Set<ValueId>(program.inputs);
  const need = (id: ValueId): void => {
    needed.add(id);
    const { place } = program.values[id]!;
    if (place.type === "columns") need(place.of);
  };
  for (const op of program.ops) for (const id of [...Object.values(op.inputs), ...Object.values(op.outputs)]) need(id);
  for (const { value } of program.outputs) need(value);

  const values: Value[] = [];
  const renumbered = new Map<ValueId, ValueId>();
  const place = (id: ValueId): ValueId => {
    const known = renumbered.get(id);
    if (known !== undefined) return known;
    const value = program.values[id]!;
    const moved =
      value.place.type === "columns" ? { ...value, place: { ...value.place, of: place(value.place.of) } } : value;
    const fresh = (values.push(moved) - 1) as ValueId;
    renumbered.set(id, fresh);
    return fresh;
  };
  for (const id of [...needed].sort((a, b) => a - b)) place(id);
  const mapped = (operands: Operation["inputs"]) =>
    Object.fromEntries(Object.entries(operands).map(([name, id]) => [name, place(id)]));
  const ops = program.ops.map((op) => ({ ...op, inputs: mapped(op.inputs), outputs: mapped(op.outputs) }));
  const parameters = new Map<string, Parameter>();
  for (const value of values)
    if (value.place.type === "parameter") parameters.set(value.place.name, program.parameters.get(value.place.name)!);
  return {
    values,
    ops,
    inputs: program.inputs.map(place),
    outputs: program.outputs.map(({ name, value }) => ({ name, value: place(value) })),
    parameters,
  };
}
