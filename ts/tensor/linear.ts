/** `x.linear(w)`: which ops a weight and the options ask for. */
import { checkKeys } from "../arguments.ts";
import { OctavoError } from "../errors.ts";
import { checkProduct } from "../program/constraints.ts";
import { DEFAULT_THRESHOLD, type Threshold, thresholdAttributes } from "../program/threshold.ts";
import { quoted } from "../quoted.ts";
import { evaluate, runOp } from "./bridge.ts";
import type { TensorHandle } from "./handle.ts";
import { QuantizedWeight } from "./quantized.ts";

export interface LinearOptions {
  /** float32 [N] */
  readonly bias?: TensorHandle | undefined;
  /** With an int8 weight: which activations get a second digit. Default "adaptive". */
  readonly threshold?: Threshold | undefined;
  /**
   * With an int8 weight. `exact` (default): one integer sum, a row does not depend on its neighbours. `published`: as the
   * paper and bitsandbytes do it; the threshold is then a number, 0 for none, by default 6.
   */
  readonly mode?: "exact" | "published" | undefined;
}

export async function linear(
  x: TensorHandle,
  weight: TensorHandle | QuantizedWeight,
  options: LinearOptions,
): Promise<TensorHandle<"float32">> {
  checkKeys(options, ["bias", "threshold", "mode"], "linear");
  const { bias, mode = "exact" } = options;
  if (mode !== "exact" && mode !== "published") {
    throw new OctavoError("OCTAVO_BAD_ARGUMENT", `linear: mode is ${quoted(mode)}; it takes "exact" or "published"`);
  }
  x.device.own(x);
  if (weight instanceof QuantizedWeight) x.device.own(weight.codes);
  else x.device.own(weight);
  checkProduct("linear", x.shape, weight.shape);
  if (!(weight instanceof QuantizedWeight)) {
    if (options.threshold !== undefined || mode !== "exact") {
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", "linear: threshold and mode are for int8 weights (device.quantize)");
    }
    return (await runOp(x.device, "linear_float", { x, weight, bias }, {})).y;
  }
  const { codes, scale } = weight;
  if (mode === "published") {
    const threshold = options.threshold ?? 6;
    if (typeof threshold !== "number") {
      const text = `linear: mode "published" takes a number as threshold, not ${quoted(threshold)}`;
      throw new OctavoError("OCTAVO_BAD_ARGUMENT", text);
    }
    return (await runOp(x.device, "linear_published", { x, weight: codes, scale, bias }, { threshold })).y;
  }
  const attributes = thresholdAttributes(options.threshold ?? DEFAULT_THRESHOLD);
  const { y } = await evaluate(
    x.device,
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
