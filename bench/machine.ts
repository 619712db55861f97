/** What the processor can do that int8 inference gains from, for the table's caption. */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";

/** Flags as Linux names them, on x86 and on ARM. */
const FEATURES: Readonly<Record<string, string>> = {
  avx2: "AVX2",
  avx_vnni: "AVX-VNNI",
  avx512_vnni: "AVX-512 VNNI",
  avx512_bf16: "AVX-512 BF16",
  avx512_fp16: "AVX-512 FP16",
  amx_int8: "AMX int8",
  amx_bf16: "AMX bf16",
  asimddp: "NEON dot product",
  i8mm: "NEON int8 matrices",
  sve: "SVE",
};

/** `cpuinfo`: the text of /proc/cpuinfo. */
export function featuresIn(cpuinfo: string): string[] {
  const flags = new Set(/^(?:flags|Features)\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(/\s+/));
  return Object.entries(FEATURES).flatMap(([flag, name]) => (flags.has(flag) ? name : []));
}

export const machine = (): string => cpus()[0]?.model.trim() || "unknown processor";

export function features(): string[] {
  try {
    return featuresIn(readFileSync("/proc/cpuinfo", "utf8"));
  } catch {
    return [];
  }
}
