/**
 * A program as a file: versioned JSON, written here and read back strictly. What proves, prints or replays a program reads
 * this instead of writing the model's layers a second time.
 */
import { z } from "zod";
import { sizes } from "../../protocol/messages.ts";
import { DTYPES, type DType, LAYOUTS, OPS, type OpName, type OpSpec } from "../../protocol/ops.ts";
import { SIZE_SYMBOLS } from "../../protocol/sizes.ts";
import { OctavoError } from "../errors.ts";
import { cut, quoted } from "../quoted.ts";
import { arena } from "./arena.ts";
import { checkAttributes } from "./attributes.ts";
import type { Operation, Parameter, ParameterSource, Place, Program, Value, ValueId } from "./program.ts";
import { contentBytes } from "./tensor-bytes.ts";

export const PROGRAM_FORMAT = "octavo-program";
/** Raised whenever a reader of an older version would misread, or refuse, what is written. */
export const PROGRAM_VERSION = 2;

const count = z.int().min(0);
const name = z.string().max(1024);
const typed = { dtype: z.enum(DTYPES), layout: z.enum(LAYOUTS) };
const place = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("parameter"), name }),
  z.strictObject({ type: z.literal("input"), name }),
  z.strictObject({ type: z.literal("intermediate"), offset: count.optional() }),
  z.strictObject({ type: z.literal("columns"), of: count, column: count }),
]);
const range = z.tuple([count, count]).readonly();
const source = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("tensors"),
    parts: z.array(z.strictObject({ tensor: name, rows: range.optional(), columns: range.optional() })).min(1),
    form: z.enum(["int8", "float"]),
    scale: name.optional(),
  }),
  z.strictObject({ type: z.literal("scale"), of: name }),
  /** `data`: base64 of the elements, little-endian; absent unless it was asked for. */
  z.strictObject({ type: z.literal("constant"), data: z.base64().optional() }),
  z.strictObject({ type: z.literal("state"), kind: z.enum(["kv", "io"]) }),
]);
const operands = z.record(name, count);
const programFile = z.strictObject({
  format: z.literal(PROGRAM_FORMAT),
  version: z.literal(PROGRAM_VERSION),
  model: z.strictObject({ path: z.string().max(4096), family: name, architecture: name }),
  /** What the family was asked for: `ModelOptions`. */
  options: z.record(z.string(), z.json()),
  /** Largest sizes of a step; the offsets of intermediates are for these. */
  limits: sizes,
  /** Bytes that all intermediates take at `limits`. */
  arenaBytes: count,
  values: z.array(
    z.strictObject({ label: name, ...typed, shape: z.array(z.union([count, z.enum(SIZE_SYMBOLS)])).max(8), place }),
  ),
  ops: z.array(
    z.strictObject({
      op: z.enum(Object.keys(OPS) as [OpName, ...OpName[]]),
      label: name,
      /** Indices of `values`, by the op table's names. */
      inputs: operands,
      outputs: operands,
      attributes: z.record(name, z.union([z.number(), z.boolean(), z.string()])),
      /** Kernel launches of a step at `limits`, where a backend was asked. */
      launches: count.optional(),
    }),
  ),
  inputs: z.array(count),
  outputs: z.array(z.strictObject({ name, value: count })),
  parameters: z.array(z.strictObject({ name, ...typed, shape: z.array(count).max(8), source })),
});

export type ProgramFile = z.infer<typeof programFile>;

/** What a file says beside the program. */
export type ProgramOrigin = Pick<ProgramFile, "model" | "limits"> & { readonly options: object };

/** `constants`: with the data of constants, which a program needs to run and not to be looked at. */
export function exportProgram(
  program: Program,
  { model, options, limits }: ProgramOrigin,
  { constants = false }: { readonly constants?: boolean } = {},
): ProgramFile {
  const { program: placed, bytes } = arena(program, limits);
  return {
    format: PROGRAM_FORMAT,
    version: PROGRAM_VERSION,
    model,
    options: JSON.parse(JSON.stringify(options)),
    limits: { ...limits },
    arenaBytes: bytes,
    values: placed.values.map(({ label, dtype, layout, shape, place }) => ({
      ...{ label, dtype, layout, shape: [...shape], place },
    })),
    ops: placed.ops.map(({ op, label, inputs, outputs, attributes }) => ({ op, label, inputs, outputs, attributes })),
    inputs: [...placed.inputs],
    outputs: [...placed.outputs],
    parameters: [...placed.parameters.values()].map(({ name, dtype, layout, shape, source }) => ({
      ...{ name, dtype, layout, shape: [...shape] },
      source: exportSource(source, constants),
    })),
  };
}

function exportSource(source: ParameterSource, constants: boolean): ProgramFile["parameters"][number]["source"] {
  if (source.type === "tensors") return { ...source, parts: [...source.parts] };
  if (source.type !== "constant") return source;
  if (!constants) return { type: "constant" };
  const { buffer, byteOffset, byteLength } = source.data;
  return { type: "constant", data: Buffer.from(buffer, byteOffset, byteLength).toString("base64") };
}

/**
 * The program of a file, ready for `lower`, with what the file says beside it. Data of a constant that was exported without it
 * throws when it is asked for. `where` names the file in messages.
 * Throws `OCTAVO_MODEL_FILE_INVALID` for another version, an unknown field and whatever contradicts the op table or itself.
 */
export function readProgram(
  document: unknown,
  where: string,
): { readonly program: Program; readonly file: ProgramFile } {
  const { format, version } = (document ?? {}) as Partial<ProgramFile>;
  if (format !== PROGRAM_FORMAT) throw invalid(where, `no ${PROGRAM_FORMAT}: its format is ${quoted(format)}`);
  if (version !== PROGRAM_VERSION) {
    throw invalid(
      where,
      `version ${quoted(version)} of ${PROGRAM_FORMAT}; this Octavo reads version ${PROGRAM_VERSION}`,
    );
  }
  const parsed = programFile.safeParse(document);
  if (!parsed.success) throw invalid(where, cut(z.prettifyError(parsed.error), 1000));
  const file = parsed.data;
  const parameters = new Map(file.parameters.map((each) => [each.name, readParameter(where, each)]));
  // What the schema cannot say: indices that are there, and operands and attributes of the op table.
  const valueId = (id: number, what: string): ValueId => {
    if (id < file.values.length) return id as ValueId;
    throw invalid(where, `${what}: there is no value ${id}; there are ${file.values.length}`);
  };
  const placeOf = (place: ProgramFile["values"][number]["place"], id: number): Place => {
    if (place.type === "parameter" && !parameters.has(place.name))
      throw invalid(where, `value ${id}: no parameter ${place.name}`);
    if (place.type !== "columns") return place;
    if (place.of < id) return { ...place, of: place.of as ValueId };
    throw invalid(where, `value ${id} shows columns of ${place.of}, which is no earlier one`);
  };
  const operation = ({ op, label, inputs, outputs, attributes }: ProgramFile["ops"][number]): Operation => {
    const called = `${op} (${label})`;
    const spec: OpSpec = OPS[op];
    const filled = attributesOf(where, op, called, attributes);
    const operands = (given: Readonly<Record<string, number>>, table: OpSpec["inputs"]) => {
      const missing = Object.entries(table).find(([name, { optional }]) => !optional && !Object.hasOwn(given, name));
      if (missing !== undefined) throw invalid(where, `${called}: no operand ${missing[0]}`);
      const ids = Object.entries(given).map(([name, id]) => {
        if (!Object.hasOwn(table, name)) throw invalid(where, `${called}: there is no operand ${name}`);
        return [name, valueId(id, `${called}: ${name}`)] as const;
      });
      return Object.fromEntries(ids);
    };
    const [read, written] = [operands(inputs, spec.inputs), operands(outputs, spec.outputs)];
    return { op, label, inputs: read, outputs: written, attributes: filled };
  };
  const program: Program = {
    values: file.values.map((value, id): Value => ({ ...value, place: placeOf(value.place, id) })),
    ops: file.ops.map(operation),
    inputs: file.inputs.map((id) => valueId(id, "inputs")),
    outputs: file.outputs.map(({ name, value }) => ({ name, value: valueId(value, `output ${name}`) })),
    parameters,
  };
  return { program, file };
}

function attributesOf(where: string, op: OpName, called: string, given: ProgramFile["ops"][number]["attributes"]) {
  try {
    return checkAttributes(op, called, given);
  } catch (error) {
    if (!OctavoError.isInstance(error) || error.code !== "OCTAVO_BAD_ARGUMENT") throw error;
    throw invalid(where, error.message);
  }
}

function readParameter(where: string, { source, ...parameter }: ProgramFile["parameters"][number]): Parameter {
  return { ...parameter, source: source.type === "constant" ? constantOf(where, parameter, source.data) : source };
}

function constantOf(
  where: string,
  { name, dtype, shape }: { readonly name: string; readonly dtype: DType; readonly shape: readonly number[] },
  text: string | undefined,
): ParameterSource {
  if (dtype !== "float32" && dtype !== "int32") throw invalid(where, `the constant ${name} is ${dtype}`);
  if (text === undefined) {
    return {
      type: "constant",
      get data(): never {
        throw invalid(where, `the constant ${name} was exported without its data, which running the program needs`);
      },
    };
  }
  const { buffer, byteOffset, byteLength } = Buffer.from(text, "base64");
  const wanted = contentBytes(dtype, shape);
  if (byteLength !== wanted) throw invalid(where, `the constant ${name} has ${byteLength} bytes, not ${wanted}`);
  const own = buffer.slice(byteOffset, byteOffset + byteLength); // At a multiple of four bytes, which base64's is not.
  return { type: "constant", data: dtype === "float32" ? new Float32Array(own) : new Int32Array(own) };
}

function invalid(where: string, what: string): OctavoError {
  return new OctavoError("OCTAVO_MODEL_FILE_INVALID", `${where}: ${what}`);
}
