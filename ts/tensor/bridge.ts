/**
 * Ops on handles: each call is a small program of its own. Four messages (allocate the results, define, step, free the
 * program) leave together, so a call costs one round trip. What the program looks like depends only on the op, its
 * attributes and the shapes, and is kept.
 */
import { type Layout, OPS, type OpName } from "../../protocol/ops.ts";
import { NO_SIZES } from "../../protocol/sizes.ts";
import { checkObject } from "../arguments.ts";
import { OctavoError } from "../errors.ts";
import type { HandleKind } from "../memory/ledger.ts";
import { type AttributesOf, checkAttributes } from "../program/attributes.ts";
import { type InputsOf, ProgramBuilder } from "../program/builder.ts";
import { type LoweredProgram, lower } from "../program/lower.ts";
import type { Parameter, Program, ValueId } from "../program/program.ts";
import { quoted } from "../quoted.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { ResultHandles, TensorHandle } from "./handle.ts";
import { LruCache } from "./lru.ts";

/** What a result is, if not a plain tensor of the user. */
export interface ResultOptions {
  readonly layout?: Layout;
  readonly kind?: HandleKind;
}

interface Recipe {
  /** Operands and results are its parameters. */
  readonly program: Program;
  readonly results: readonly { readonly name: string; readonly value: ValueId }[];
}

const recipes = new LruCache<string, Recipe>(512);

/** Runs one op of the table. Throws what `ProgramBuilder.call` throws, before any effect. */
export async function runOp<N extends OpName>(
  device: DeviceMemory,
  op: N,
  operands: Readonly<Record<string, TensorHandle | undefined>>,
  attributes: AttributesOf<N>,
  results: Readonly<Record<string, ResultOptions>> = {},
): Promise<ResultHandles<N>> {
  if (typeof op !== "string" || !Object.hasOwn(OPS, op))
    throw new OctavoError("OCTAVO_UNKNOWN_OP", `no op ${quoted(op)}; there are ${Object.keys(OPS).join(", ")}`);
  checkObject(operands, `${op}: operands`);
  // Checked before they are a key: what JSON leaves out or makes null must not find the recipe of other attributes.
  const filled = checkAttributes(op, op, attributes);
  const key = `${op} ${JSON.stringify(filled)}`;
  const build = (builder: ProgramBuilder, values: Readonly<Record<string, ValueId>>) =>
    builder.call(op, values as unknown as InputsOf<N>, attributes, { label: op });
  return (await runOnce(device, key, operands, build, results)) as ResultHandles<N>;
}

/**
 * Runs the ops that `build` writes. `key` stands for them: two calls with one key write the same ops for the same shapes.
 * Throws `OCTAVO_WRONG_DEVICE`, `OCTAVO_DISPOSED`, and what the builder throws, before any effect.
 */
export async function runOnce(
  device: DeviceMemory,
  key: string,
  operands: Readonly<Record<string, TensorHandle | undefined>>,
  build: (builder: ProgramBuilder, values: Readonly<Record<string, ValueId>>) => Readonly<Record<string, ValueId>>,
  options: Readonly<Record<string, ResultOptions>> = {},
): Promise<Record<string, TensorHandle>> {
  const given = Object.entries(operands).filter((entry): entry is [string, TensorHandle] => entry[1] !== undefined);
  for (const [, handle] of given) device.own(handle);
  const recipe = recipes.get(
    `${key} ${given.map(([name, { dtype, layout, shape }]) => `${name}:${dtype}:${layout}:${shape}`)}`,
    () => writeRecipe(given, build, options),
  );
  const results = recipe.results.map(({ name, value }) => {
    const { dtype, layout, shape } = recipe.program.values[value]!;
    const kind = options[name]?.kind ?? "user";
    return { name, handle: device.newHandle({ dtype, layout, shape: shape as number[], kind, owner: "user" }) };
  });
  const bound = new Map(given.map(([name, handle]) => [name, handle.id]));
  for (const { name, handle } of results) bound.set(resultName(name), handle.id);
  await run(
    device,
    lower(recipe.program, (name) => bound.get(name)!, NO_SIZES),
    results.map(({ handle }) => handle),
  );
  return Object.fromEntries(results.map(({ name, handle }) => [name, handle]));
}

/** Parameters for the operands; the results become parameters too, so that they are handles and not parts of an arena. */
function writeRecipe(
  given: readonly (readonly [string, TensorHandle])[],
  build: (builder: ProgramBuilder, values: Readonly<Record<string, ValueId>>) => Readonly<Record<string, ValueId>>,
  options: Readonly<Record<string, ResultOptions>>,
): Recipe {
  const builder = new ProgramBuilder();
  const parameters = given.map(([name, { dtype, layout, shape }]): [string, ValueId] => {
    const parameter: Parameter = { name, dtype, layout, shape, source: { type: "state", kind: "io" } };
    return [name, builder.parameter(parameter)];
  });
  const made = build(builder, Object.fromEntries(parameters));
  const results = Object.entries(made).map(([name, value]) => ({ name, value }));
  const program = builder.build();
  const names = new Map(results.map(({ name, value }) => [value, name]));
  const values = program.values.map((value, index) => {
    const name = names.get(index as ValueId);
    if (name === undefined) return value;
    const place = { type: "parameter", name: resultName(name) } as const;
    return { ...value, layout: options[name]?.layout ?? value.layout, place };
  });
  return { program: { ...program, values }, results };
}

/** Operands and results of an op may have the same name. */
function resultName(name: string): string {
  return `result.${name}`;
}

async function run(device: DeviceMemory, lowered: LoweredProgram, results: readonly TensorHandle[]): Promise<void> {
  const bytes = lowered.arenaBytes;
  const arena = { dtype: "int8", layout: "plain", shape: [bytes], kind: "arena", owner: "bridge" } as const;
  const arenas = bytes === 0 ? [] : [device.newHandle(arena)];
  const handles = [...results, ...arenas];
  const program = device.newIds(1)[0]!;
  const place = arenas.length === 0 ? {} : { arena: arenas[0]!.id };
  // No `await` in between: all leave in one turn, in this order, and when one fails, those that need it fail after it.
  const freed = [program, ...arenas.map(({ id }) => id)];
  const answers = await Promise.allSettled([
    handles.length === 0 ? undefined : device.obtain(handles),
    device.request({ kind: "define", program, ...place, ...lowered.message }),
    device.request({ kind: "step", program, sizes: NO_SIZES }),
    device.request({ kind: "free", handles: freed }),
  ]);
  if (answers[3].status === "fulfilled") for (const { id } of arenas) device.ledger.release(id);
  for (const answer of answers) {
    if (answer.status === "fulfilled") continue;
    await device.free(handles).catch(() => {}); // The error before it says more.
    throw answer.reason;
  }
}
