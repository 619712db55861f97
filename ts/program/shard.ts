/**
 * One program per rank: tensor parallel by columns. A pass over programs before `fuse`; it knows ops and no family.
 *
 * A value is whole on every rank, or each rank has consecutive columns of it: those that it computes from its rows of a weight,
 * its heads, its columns of an embedding. Where an op needs all columns, a `gather` copies those of all ranks together, once per
 * value. Numbers are copied and never added, and each is computed by one rank as one device would: bits do not change.
 *
 * `shard/columns.ts` says what ops do with columns, `shard/cuts.ts` what is cut and where; here a rank's program is written,
 * through the builder, so that every shape, attribute and rule is checked again.
 */
import type { OpName } from "../../protocol/ops.ts";
import { badArgument } from "../errors.ts";
import type { AttributesOf } from "./attributes.ts";
import { type InputsOf, ProgramBuilder } from "./builder.ts";
import type { AttributeValue, Operation, Program, ValueId } from "./program.ts";
import { type Axis, columnRule } from "./shard/columns.ts";
import { type Cuts, findCuts } from "./shard/cuts.ts";
import { cutParameter } from "./shard/parameters.ts";
import { type Cut, checkShares, rangeOf } from "./shard/units.ts";

/**
 * The programs of as many ranks as there are shares, rank 0 first. A share is how much of what is cut a rank gets, beside the others'.
 * All have the same inputs; rank 0 alone has outputs. One share: the program as it is.
 * Throws `OCTAVO_BAD_ARGUMENT` for shares that are no positive numbers, for more ranks than attention has heads, and for a program
 * that has been cut before.
 */
export function shard(program: Program, shares: readonly number[]): readonly Program[] {
  checkShares(shares);
  if (shares.length === 1) return [program];
  if (program.ops.some(({ op }) => op === "gather"))
    throw badArgument("shard: the program is one of several ranks already");
  const cuts = findCuts(program, shares);
  return shares.map((_, rank) => new RankWriter(program, cuts, rank).write());
}

/** What a rank has of a value. */
interface Part {
  readonly value: ValueId;
  readonly cut: Cut;
}

class RankWriter {
  readonly #builder = new ProgramBuilder();
  readonly #program: Program;
  readonly #cuts: Cuts;
  readonly #rank: number;
  /** By the values of the whole program. */
  readonly #whole = new Map<ValueId, ValueId>();
  readonly #parts = new Map<ValueId, Part>();

  constructor(program: Program, cuts: Cuts, rank: number) {
    this.#program = program;
    this.#cuts = cuts;
    this.#rank = rank;
  }

  write(): Program {
    const { values, inputs, outputs, ops } = this.#program;
    for (const id of inputs) {
      const { label, dtype, shape } = values[id]!;
      this.#whole.set(id, this.#builder.input(label, dtype, shape));
    }
    for (const op of ops) this.#operation(op);
    // Gathered on every rank: those that do not return it have a part of it. What only rank 0 needs, the others compute as well
    // (scores): they would wait for rank 0 otherwise, and all programs have the same ops.
    const returned = outputs.map(({ name, value }) => ({ name, value: this.#readWhole(value) }));
    if (this.#rank === 0) for (const { name, value } of returned) this.#builder.output(name, value);
    return this.#builder.build();
  }

  #operation(op: Operation): void {
    const { values } = this.#program;
    const rule = columnRule(op.op, op.attributes);
    const cutOf = (axis: Axis | undefined) => (axis === undefined ? undefined : this.#cuts(op, axis));
    const inputs = Object.entries(op.inputs).map(([name, id]) => {
      const cut = cutOf(rule[name]?.axis);
      return [name, cut === undefined ? this.#readWhole(id) : this.#readPart(id, cut, rule[name]!.dimension)] as const;
    });
    const attributes = Object.entries(op.attributes).map(([name, value]) => {
      const counts = Object.values(rule).some(({ axis }) => axis === name);
      const cut = counts ? cutOf(name as Axis) : undefined;
      return [name, cut === undefined ? value : this.#count(cut, value as number)] as const;
    });
    const made = Object.entries(op.outputs).map(([name, id]) => ({ name, id, cut: cutOf(rule[name]?.axis) }));
    const targets = made.flatMap(({ name, id, cut }) =>
      cut === undefined && values[id]!.place.type === "parameter" ? [[name, this.#readWhole(id)] as const] : [],
    );
    const results = this.#call(
      op,
      Object.fromEntries(inputs),
      Object.fromEntries(attributes),
      Object.fromEntries(targets),
    );
    for (const { name, id, cut } of made) {
      const value = results[name]!;
      if (cut === undefined) this.#whole.set(id, value);
      else if (values[id]!.place.type === "parameter") this.#gather(id, { value, cut }, this.#readWhole(id));
      else this.#parts.set(id, { value, cut });
    }
  }

  #call(
    { op, label }: Operation,
    inputs: Readonly<Record<string, ValueId>>,
    attributes: Readonly<Record<string, AttributeValue>>,
    into: Readonly<Record<string, ValueId>>,
  ): Readonly<Record<string, ValueId>> {
    // The op is of the whole program: the builder checks that what it is given here is its operands and attributes.
    return this.#builder.call<OpName>(op, inputs as InputsOf<OpName>, attributes as AttributesOf<OpName>, {
      label,
      into,
    });
  }

  #count(cut: Cut, pieces: number): number {
    const [from, to] = rangeOf(cut, this.#rank, pieces);
    return to - from;
  }

  #readPart(id: ValueId, cut: Cut, dimension: number): ValueId {
    const { values, parameters } = this.#program;
    const { place, shape } = values[id]!;
    if (place.type !== "parameter") return this.#parts.get(id)!.value;
    const range = rangeOf(cut, this.#rank, shape[dimension] as number);
    return this.#builder.parameter(cutParameter(parameters.get(place.name)!, dimension, range));
  }

  #readWhole(id: ValueId): ValueId {
    const known = this.#whole.get(id);
    if (known !== undefined) return known;
    const { values, parameters } = this.#program;
    const { place, shape, label } = values[id]!;
    const part = this.#parts.get(id);
    let value: ValueId;
    if (place.type === "parameter") value = this.#builder.parameter(parameters.get(place.name)!);
    else if (place.type === "columns")
      value = this.#builder.columns(this.#readWhole(place.of), place.column, shape[1] as number, label);
    else if (part !== undefined) value = this.#gather(id, part);
    else throw new RangeError(`${label} is read before an op writes it`);
    this.#whole.set(id, value);
    return value;
  }

  /** The columns of all ranks, in a value of its own or in the parameter that the whole program's op writes. */
  #gather(id: ValueId, { value, cut }: Part, into?: ValueId): ValueId {
    const { label, shape } = this.#program.values[id]!;
    const columns = shape[1] as number;
    const [first] = rangeOf(cut, this.#rank, columns);
    const options = { label: `${label}.gather`, ...(into === undefined ? {} : { into: { y: into } }) };
    return this.#builder.call("gather", { x: value }, { columns, first }, options).y;
  }
}
