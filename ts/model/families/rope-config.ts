/** Rotary positions as configs write them: `rope_theta`, `rope_scaling`, and transformers 5's `rope_parameters` for both. */
import { OctavoError } from "../../errors.ts";
import { cut, quoted } from "../../quoted.ts";
import type { RopeScaling } from "./rope.ts";

export interface RopeKeys {
  readonly rope_theta?: number | null | undefined;
  readonly rope_scaling?: Parameters | null | undefined;
  readonly rope_parameters?: Parameters | null | undefined;
  /** Beside the others rather than inside: transformers takes it first. */
  readonly original_max_position_embeddings?: number | null | undefined;
  readonly max_position_embeddings: number;
}

type Parameters = Readonly<Record<string, unknown>>;

/** What each kind reads. */
const READ = {
  default: [],
  linear: ["factor"],
  llama3: ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
  yarn: ["factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor", "truncate"],
} satisfies Readonly<Record<string, readonly string[]>>;
/** Of every kind. `finetuned` says how the model came to be. */
const COMMON = ["rope_type", "type", "rope_theta", "partial_rotary_factor", "finetuned"];

/** Throws `OCTAVO_MODEL_FILE_INVALID` for a contradiction, `OCTAVO_UNSUPPORTED_MODEL` for what is not implemented. */
export function ropeOf(keys: RopeKeys): { readonly theta: number; readonly scaling: RopeScaling } {
  const parameters = only("rope_scaling and rope_parameters", keys.rope_scaling, keys.rope_parameters) ?? {};
  const base = only("rope_theta and its value in rope_parameters", keys.rope_theta, parameters.rope_theta);
  const theta = number("rope_theta", base ?? 10000);
  return { theta, scaling: scalingOf(parameters, keys) };
}

function scalingOf(parameters: Parameters, keys: RopeKeys): RopeScaling {
  const kind = only("rope_type and type", parameters.rope_type, parameters.type) ?? "default";
  if (!isKind(kind)) throw unsupported(`rope scaling ${quoted(kind)}`);
  const read: readonly string[] = READ[kind];
  for (const [key, value] of Object.entries(parameters)) {
    if (read.includes(key) || COMMON.includes(key) || value === null || value === false) continue;
    throw unsupported(`${cut(key, 80)} ${quoted(value)} in the rope scaling ${quoted(kind)}`);
  }
  const partial = parameters.partial_rotary_factor ?? 1;
  if (partial !== 1) throw unsupported(`rope over a part of a head (partial_rotary_factor ${quoted(partial)})`);
  if (parameters.truncate != null && parameters.truncate !== true) throw unsupported("yarn with truncate false");
  const positive = (key: string, fallback?: number) => number(key, parameters[key] ?? fallback);
  const original = () => {
    const name = "original_max_position_embeddings";
    const given = only(`${name} and its value in the rope scaling`, keys[name], parameters[name]);
    return number(name, given ?? keys.max_position_embeddings);
  };
  switch (kind) {
    case "linear":
      return { kind, factor: positive("factor") };
    case "llama3": {
      const [lowFrequency, highFrequency] = [positive("low_freq_factor"), positive("high_freq_factor")];
      if (lowFrequency >= highFrequency)
        throw invalid(`rope low_freq_factor ${lowFrequency} is not below high_freq_factor ${highFrequency}`);
      return { kind, factor: positive("factor"), lowFrequency, highFrequency, original: original() };
    }
    case "yarn":
      return {
        kind,
        factor: positive("factor"),
        original: original(),
        betaFast: positive("beta_fast", 32),
        betaSlow: positive("beta_slow", 1),
        attention: parameters.attention_factor == null ? undefined : positive("attention_factor"),
      };
    case "default":
      return { kind: "none" };
  }
}

function isKind(kind: unknown): kind is keyof typeof READ {
  return typeof kind === "string" && Object.hasOwn(READ, kind);
}

/** The one that is there; of two, they must say the same. */
function only<T>(what: string, first: T | null | undefined, second: T | null | undefined): T | undefined {
  if (first != null && second != null && JSON.stringify(first) !== JSON.stringify(second))
    throw invalid(`${what} differ: ${quoted(first)} and ${quoted(second)}; one of them must go`);
  return first ?? second ?? undefined;
}

function number(key: string, value: unknown): number {
  const held = typeof value === "number" ? Math.fround(value) : 0;
  if (typeof value === "number" && held > 0 && Number.isFinite(held)) return value;
  throw invalid(`rope ${key} is ${quoted(value)}, not a positive number`);
}

function invalid(text: string): OctavoError {
  return new OctavoError("OCTAVO_MODEL_FILE_INVALID", `config: ${text}`);
}

function unsupported(what: string): OctavoError {
  return new OctavoError(
    "OCTAVO_UNSUPPORTED_MODEL",
    `config: ${what} is not implemented; ${Object.keys(READ).join(", ")} are (yarn without mscale, truncated)`,
  );
}
