import type { VariableName } from "../protocol/environment.ts";

/** A variable of the table of environment variables. Unset and empty are the same: undefined. */
export function variable(
  name: VariableName,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  return env[name] || undefined;
}
