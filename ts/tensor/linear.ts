/** `x.linear(w)`: which ops a weight and the options ask for. */
import { checkKeys } from "../arguments.ts";
import { badArgument } from "../errors.ts";
import { checkProduct } from "../program/shapes.ts";
import { DEFAULT_THRESHOLD, thresholdAttributes } from "../program/threshold.ts";
import { quoted } from "../quoted.ts";
import { runOnce, runOp } from "./bridge.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { LinearOptions, TensorHandle, WeightHandles } from "./handle.ts";
import { QuantizedWeight } from "./quantized.ts";

/** What `TensorHandle.linear` promises, on the device of `x`. */
export async function linear(
  device: DeviceMemory,
  x: TensorHandle,
  weight: TensorHandle | WeightHandles,
  options: LinearOptions,
): Promise<TensorHandle<"float32">> {
  checkKeys(options, ["bias", "threshold", "mode"], "linear");
  const { bias, mode = "exact" } = options;
  if (mode !== "exact" && mode !== "published")
    throw badArgument(`linear: mode is ${quoted(mode)}; it takes "exact" or "published"`);
  device.own(x);
  const quantized = weight instanceof QuantizedWeight;
  device.own(quantized ? weight.codes : (weight as TensorHandle));
  checkProduct("linear", x.shape, weight.shape);
  if (!quantized) {
    if (options.threshold !== undefined || mode !== "exact")
      throw badArgument("linear: threshold and mode are for int8 weights (device.quantize)");
    return (await runOp(device, "linear_float", { x, weight: weight as TensorHandle, bias }, {})).y;
  }
  const { codes, scale } = weight;
  if (mode === "published") {
    const threshold = options.threshold ?? 6;
    if (typeof threshold !== "number")
      throw badArgument(`linear: mode "published" takes a number as threshold, not ${quoted(threshold)}`);
    return (await runOp(device, "linear_published", { x, weight: codes, scale, bias }, { threshold })).y;
  }
  const attributes = thresholdAttributes(options.threshold ?? DEFAULT_THRESHOLD);
  const { y } = await runOnce(
    device,
    `linear ${JSON.stringify(attributes)}`,
    { x, weight: codes, scale, bias },
    (builder, values) => {
      const digits = builder.call("quantize", { x: values.x! }, attributes, { label: "linear" });
      const rest = { weight: values.weight!, scale: values.scale!, bias: values.bias };
      return { y: builder.call("linear_int8", { ...digits, ...rest }, {}, { label: "linear" }).y };
    },
  );
  return y as TensorHandle<"float32">;
}
