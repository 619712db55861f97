import type { Measurement, Timing } from "../cases.ts";

export function say(message: object): void;
export function measure(
  measurement: Measurement,
  start: (prompt: readonly number[], row: number, limit: number) => AsyncIterable<number>,
): Promise<Timing>;
