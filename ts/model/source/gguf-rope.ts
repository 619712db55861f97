/** Llama 3's rope scaling, recovered from the factors that GGUF files carry instead of it. */
import { OctavoError } from "../../errors.ts";
import { openRegular } from "../../regular-file.ts";
import type { TensorEntry } from "./manifest.ts";

export interface RopeFactors {
  readonly file: string;
  /** frequency / factor is what a pair of dimensions turns with. */
  readonly factors: readonly number[];
}

/** The float32 factors of `rope_freqs.weight`, one per pair of dimensions. */
export async function readRopeScaling(entry: TensorEntry): Promise<RopeFactors> {
  if (entry.type !== "F32" || entry.shape.length !== 1 || entry.bytes > 4096) throw unsupported(entry.file);
  const { handle } = await openRegular(entry.file);
  try {
    const data = new Uint8Array(entry.bytes);
    await handle.read(data, 0, data.length, entry.offset);
    return { file: entry.file, factors: [...new Float32Array(data.buffer)] };
  } finally {
    await handle.close();
  }
}

/**
 * `rope_scaling` of config.json that gives these factors. All Llama 3 models were published with the low and high
 * frequency factors 1 and 4 over 8192 positions; the factors must be what that gives, else the model is refused rather
 * than run with other positions than it was trained with.
 */
export function ropeScalingOf({ file, factors }: RopeFactors, theta: number): Record<string, unknown> {
  const [low, high, original] = [1, 4, 8192];
  const factor = Math.max(...factors);
  const fits = factors.every((given, i) => {
    const frequency = theta ** (-i / factors.length);
    const smooth = ((original * frequency) / (2 * Math.PI) - low) / (high - low);
    const clamped = Math.min(1, Math.max(0, smooth));
    const expected = 1 / ((1 - clamped) / factor + clamped);
    // The converter computes in float32.
    return Math.abs(given - expected) <= 1e-3 * expected;
  });
  if (!fits || !(factor >= 1)) throw unsupported(file);
  return {
    rope_type: "llama3",
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  };
}

function unsupported(file: string): OctavoError {
  return new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `${file}: rope_freqs.weight does not hold Llama 3's scaling, the only one implemented; use the model's safetensors files`,
  );
}
