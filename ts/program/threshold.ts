/** The dial between no decomposition and 16-bit activations (docs/numerics.md, "LLM.int8() in integers"). */
import { badArgument } from "../errors.ts";
import { quoted } from "../quoted.ts";
import type { AttributesOf } from "./attributes.ts";

/**
 * Which activations are outliers and get a second int8 digit.
 * `0`: none. A number: |x| >= it (6 is the paper's). `"adaptive"`: |x| >= min(6, 6 rms(row)). `"all"`: every element.
 * An object sets both constants of the adaptive rule.
 */
export type Threshold = number | "adaptive" | "all" | { readonly absolute: number; readonly relative: number };

export const DEFAULT_THRESHOLD: Threshold = "adaptive";
/** Of the output layer. */
export const DEFAULT_HEAD_THRESHOLD: Threshold = "all";

export type ThresholdAttributes = Required<AttributesOf<"quantize">>;

/** Attributes of `quantize` for a threshold. Throws `OCTAVO_BAD_ARGUMENT` for anything that is none; `name`: whose it is. */
export function thresholdAttributes(threshold: Threshold, name = "threshold"): ThresholdAttributes {
  if (threshold === "adaptive") return { decompose: "adaptive", absolute: 6, relative: 6 };
  // The constants of the other kinds are not used; they are fixed, so that equal programs have equal messages.
  if (threshold === "all") return { decompose: "all", absolute: 0, relative: 0 };
  if (threshold === 0) return { decompose: "off", absolute: 0, relative: 0 };
  if (typeof threshold === "number" && positive(threshold))
    return { decompose: "threshold", absolute: threshold, relative: 0 };
  if (typeof threshold === "object" && threshold && hasBoth(threshold))
    return { decompose: "adaptive", absolute: threshold.absolute, relative: threshold.relative };
  throw badArgument(
    `${name} is ${quoted(threshold)}; it takes 0 (no decomposition), a positive number, "adaptive", "all", ` +
      "or { absolute, relative } with two positive numbers",
  );
}

/** Two positive numbers and nothing else: another key would be one that is not honoured. */
function hasBoth(threshold: Readonly<Record<string, unknown>>): boolean {
  return Object.keys(threshold).length === 2 && positive(threshold.absolute) && positive(threshold.relative);
}

function positive(value: unknown): boolean {
  return typeof value === "number" && Number.isFinite(value) && value > 0;
}

/** From a command line: `0`, `6`, `adaptive`, `all`, or `ABSOLUTE:RELATIVE` such as `6:4`. */
export function parseThreshold(text: string): Threshold {
  if (typeof text !== "string") throw badArgument(`parseThreshold takes a text such as "6:4", not ${typeof text}`);
  const trimmed = text.trim();
  if (trimmed === "adaptive" || trimmed === "all") return trimmed;
  const pair = trimmed.split(":");
  const threshold: Threshold =
    pair.length === 2 && pair[0] !== "" && pair[1] !== ""
      ? { absolute: Number(pair[0]), relative: Number(pair[1]) }
      : trimmed === ""
        ? Number.NaN
        : Number(trimmed);
  if (typeof threshold === "number" && !Number.isFinite(threshold))
    throw badArgument(
      `threshold ${JSON.stringify(text)}: it takes 0, a positive number, adaptive, all, or ABSOLUTE:RELATIVE`,
    );
  thresholdAttributes(threshold);
  return threshold;
}

/** The inverse of `parseThreshold`, for reports. */
export function formatThreshold(threshold: Threshold): string {
  return typeof threshold === "object" ? `${threshold.absolute}:${threshold.relative}` : String(threshold);
}
