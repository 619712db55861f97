/** `device.call`: a PyTorch function on handles. */
import type { CallOption } from "../../protocol/messages.ts";
import { checkObject } from "../arguments.ts";
import { badArgument, OctavoError } from "../errors.ts";
import { kindOf, quoted } from "../quoted.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { TensorHandle } from "./handle.ts";

/** Keyword arguments of a function. Whole numbers arrive as int, others as float. */
export type CallOptions = Readonly<Record<string, string | number | boolean | readonly number[] | undefined>>;

/** Most tensors that one call may return. */
const MAX_RESULTS = 16;

export async function callFunction(
  device: DeviceMemory,
  name: string,
  handles: readonly TensorHandle[],
  options: CallOptions,
  deadlineMs: number | undefined,
): Promise<TensorHandle[]> {
  if (typeof name !== "string" || !/^[\w.]{1,256}:\w{1,256}$/.test(name))
    throw badArgument(`${quoted(name)} is not a function; write "module:function"`);
  if (!Array.isArray(handles))
    throw badArgument(`${name}: handles are ${kindOf(handles)}; they take a list of tensors`);
  checkObject(options, `${name}: options`);
  if (deadlineMs !== undefined && !(typeof deadlineMs === "number" && deadlineMs > 0))
    throw badArgument(`${name}: deadlineMs is ${quoted(deadlineMs)}; it takes milliseconds`);
  const body = {
    kind: "call",
    function: name,
    // Spread: \`map\` leaves holes out.
    handles: [...handles].map((handle) => device.own(handle).id),
    options: Object.entries(options).flatMap(([key, value]) => (value === undefined ? [] : [wireOption(key, value)])),
    results: device.newIds(MAX_RESULTS),
  } as const;
  const { reply } = await device.request(body, undefined, { deadlineMs });
  const made = reply.results ?? [];
  const strange = made.findIndex(({ handle }, index) => handle !== body.results[index]);
  if (strange >= 0) {
    const text = `${device.name}: ${name} was answered with handle ${made[strange]!.handle}, which is not the one for result ${strange}`;
    throw new OctavoError("OCTAVO_PROTOCOL", text);
  }
  return made.map((result) => device.adopt(result, "user", "user"));
}

function wireOption(name: string, value: string | number | boolean | readonly number[]): CallOption {
  if (typeof value === "string") return { name, type: "string", string: value };
  if (typeof value === "boolean") return { name, type: "boolean", boolean: value };
  if (typeof value === "number") {
    if (Number.isSafeInteger(value)) return { name, type: "integer", integer: value };
    if (Number.isFinite(value)) return { name, type: "number", number: value };
  }
  if (Array.isArray(value) && [...value].every((item) => Number.isFinite(item)))
    return { name, type: "numbers", numbers: [...value] };
  const text = `option ${name} is ${quoted(value)}; it takes a string, a boolean, a finite number or a list of those numbers`;
  throw badArgument(text);
}
