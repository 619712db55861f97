/** The options of `Pool.start` as callers write them, those without types too. */
import { z } from "zod";
import { checkOptions, type Rules } from "./arguments.ts";
import { OctavoError } from "./errors.ts";
import type { PoolOptions } from "./pool.ts";
import { quoted } from "./quoted.ts";

const milliseconds = z
  .number()
  .gt(0)
  .max(2 ** 31 - 1);

const RULES: Rules<PoolOptions> = {
  devices: [z.union([z.string(), z.array(z.string())]), 'a device such as "cpu:0", a list of them, or "auto"'],
  launcher: [z.literal("local"), '"local"'],
  ops: [z.array(z.string()), 'a list of Python modules or functions, such as ["my_ops", "other:rotate"]'],
  threads: [z.int().min(1).max(1024), "a whole number from 1 to 1024"],
  python: [z.string().min(1), "the path of a Python interpreter"],
  signal: [z.instanceof(AbortSignal), "an AbortSignal"],
  onProgress: [z.function(), "a function"],
  onLog: [z.function(), "a function"],
  onWarning: [z.function(), "a function"],
  startDeadlineMs: [milliseconds, "milliseconds, a number above 0"],
  stepDeadlineMs: [milliseconds, "milliseconds, a number above 0"],
  stopDeadlineMs: [milliseconds, "milliseconds, a number above 0"],
};

/** Throws `OCTAVO_BAD_ARGUMENT` for an option that is unknown or has a value that it does not take. */
export function checkPoolOptions(options: PoolOptions): void {
  checkOptions(options, RULES, "Pool.start");
  for (const name of options.ops ?? []) checkFunction(name);
}

function checkFunction(name: string): void {
  if (/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?$/.test(name) && name.length <= 256) return;
  const text = `${quoted(name)} in ops is not a Python module or function; write "my_ops" or "my_ops:rotate"`;
  throw new OctavoError("OCTAVO_BAD_ARGUMENT", text);
}
