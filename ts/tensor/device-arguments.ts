/** Arguments of `Device` as callers write them, those without types too: what is wrong is said before any effect. */
import { LAYOUTS } from "../../protocol/ops.ts";
import { checkKeys } from "../arguments.ts";
import { badArgument, OctavoError } from "../errors.ts";
import { HANDLE_KINDS } from "../memory/ledger.ts";
import { TYPED_ARRAYS } from "../program/payload.ts";
import { kindOf, quoted } from "../quoted.ts";
import { checkDtype, checkShape } from "./data.ts";
import type { TensorHandle, TensorSpec } from "./handle.ts";

const SPEC_KEYS = ["dtype", "layout", "shape", "kind", "owner"] as const satisfies readonly (keyof TensorSpec)[];
/** Tensors of one `allocate` message (`protocol/messages.ts`). */
const MOST_AT_ONCE = 65_536;

/** Throws `OCTAVO_BAD_ARGUMENT`, `OCTAVO_SHAPE_MISMATCH`, `OCTAVO_DTYPE_MISMATCH`. */
export function checkSpecs(specs: unknown): void {
  if (!Array.isArray(specs)) throw badArgument(`allocate takes a list of tensors to make, not ${kindOf(specs)}`);
  if (specs.length > MOST_AT_ONCE)
    throw badArgument(`allocate makes up to ${MOST_AT_ONCE} tensors at once, not ${specs.length}`);
  for (let index = 0; index < specs.length; index++) {
    const spec: Partial<TensorSpec> = specs[index];
    checkKeys(spec, SPEC_KEYS, "allocate");
    checkDtype(spec.dtype);
    checkShape(spec.shape!);
    checkOne("layout", spec.layout, LAYOUTS);
    checkOne("kind", spec.kind, HANDLE_KINDS);
    if (typeof spec.owner !== "string")
      throw badArgument(`allocate: owner is ${quoted(spec.owner)}; it takes a string`);
  }
}

function checkOne(name: string, value: unknown, accepted: readonly string[]): void {
  if (typeof value === "string" && accepted.includes(value)) return;
  throw badArgument(`allocate: ${name} is ${quoted(value)}; it takes ${accepted.join(", ")}`);
}

/** Throws `OCTAVO_BAD_ARGUMENT` unless there are options with a shape; `form` is a call as it should be. */
export function checkTensorOptions(options: unknown, where: string, form: string): void {
  if (options !== undefined) checkKeys(options, ["shape", "dtype"], where);
  if ((options as { shape?: unknown } | undefined)?.shape !== undefined) return;
  throw badArgument(`${where}: a shape is needed: ${form}`);
}

/** Elements of the handle's dtype, or bytes: those of another dtype would be taken for what they are not. */
export function checkContent({ dtype, label }: TensorHandle, data: unknown): void {
  if (data instanceof TYPED_ARRAYS[dtype] || data instanceof Uint8Array || data instanceof DataView) return;
  const text = `write: ${label} takes a ${TYPED_ARRAYS[dtype].name}, or bytes as a Uint8Array, not ${kindOf(data)}`;
  throw new OctavoError("OCTAVO_DTYPE_MISMATCH", text);
}
