/** An int8 weight on a device: what LLM.int8() multiplies with. */
import { OctavoError } from "../errors.ts";
import { runOp } from "./bridge.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { HandleDevice, TensorHandle, WeightHandles } from "./handle.ts";

export class QuantizedWeight implements WeightHandles {
  /** int8 [N, K], packed; `read` gives it row-major. */
  readonly codes: TensorHandle<"int8">;
  /** float32 [N]: the absmax of each row. A weight is about `codes * scale / 127`. */
  readonly scale: TensorHandle<"float32">;

  /** Throws `OCTAVO_DTYPE_MISMATCH` or `OCTAVO_SHAPE_MISMATCH` for handles that are no weight. */
  constructor(codes: TensorHandle<"int8">, scale: TensorHandle<"float32">) {
    if (codes.dtype !== "int8" || scale.dtype !== "float32")
      throw new OctavoError("OCTAVO_DTYPE_MISMATCH", `${codes.label} with ${scale.label}: int8 and float32 are needed`);
    if (codes.shape.length !== 2 || scale.shape.length !== 1 || codes.shape[0] !== scale.shape[0])
      throw new OctavoError("OCTAVO_SHAPE_MISMATCH", `${codes.label} with ${scale.label}: [N, K] and [N] are needed`);
    this.codes = codes;
    this.scale = scale;
  }

  get device(): HandleDevice {
    return this.codes.device;
  }

  /** [N, K] */
  get shape(): readonly number[] {
    return this.codes.shape;
  }

  async dispose(): Promise<void> {
    await Promise.all([this.codes.dispose(), this.scale.dispose()]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

export async function quantizeWeight(device: DeviceMemory, weight: TensorHandle): Promise<QuantizedWeight> {
  const results = { codes: { layout: "packed", kind: "weight" }, scale: { kind: "scale" } } as const;
  const { codes, scale } = await runOp(device, "quantize_weight", { weight }, {}, results);
  return new QuantizedWeight(codes, scale);
}
