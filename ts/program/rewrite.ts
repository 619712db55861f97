/** What rewriting passes share: who uses a value, and a clean renumbering afterwards. */
import { OPS, type Operand, type OpName } from "../../protocol/ops.ts";
import type { Operation, Parameter, Program, Value, ValueId } from "./program.ts";

/** Who needs the values of a program. */
export class Uses {
  readonly #program: Program;
  readonly #readers = new Map<ValueId, number[]>();
  /** Values of which another one shows columns, or which steps return. */
  readonly #shown: ReadonlySet<ValueId>;

  constructor(program: Program) {
    this.#program = program;
    for (const [index, { inputs }] of program.ops.entries())
      for (const id of Object.values(inputs)) {
        const known = this.#readers.get(id);
        if (known) known.push(index);
        else this.#readers.set(id, [index]);
      }
    const views = program.values.flatMap(({ place }) => (place.type === "columns" ? [place.of] : []));
    this.#shown = new Set([...views, ...program.outputs.map(({ value }) => value)]);
  }

  /** Indices of the ops that read a value, once per operand, views not followed. */
  of(id: ValueId): readonly number[] {
    return this.#readers.get(id) ?? [];
  }

  /** Whether only ops see it, as it is: a pass may leave it out or put it elsewhere. */
  inside(id: ValueId): boolean {
    return this.#program.values[id]!.place.type === "intermediate" && !this.#shown.has(id);
  }
}

/** Whether an op writes into this operand. */
export function isMutated(op: OpName, input: string): boolean {
  const inputs: Readonly<Record<string, Operand>> = OPS[op].inputs;
  return inputs[input]?.mutated === true;
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
