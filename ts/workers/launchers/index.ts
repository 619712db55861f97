/** The launchers there are. Another one is a file beside this one, its options in the union, and its case here. */
import { checkKeys, checkObject } from "../../arguments.ts";
import { badArgument } from "../../errors.ts";
import type { DeviceName } from "../../plan/devices.ts";
import { quoted } from "../../quoted.ts";
import { EnvLauncher } from "./env.ts";
import { checkEnvOptions, type EnvOptions } from "./env-options.ts";
import type { Launcher } from "./launcher.ts";
import { LocalLauncher, type LocalOptions } from "./local.ts";

/** Who starts the workers: this process, on this machine, or somebody else, anywhere. */
export type LauncherOptions = { readonly type: "local" } | EnvOptions;

/** Throws `OCTAVO_BAD_ARGUMENT`. */
export function checkLauncher(options: LauncherOptions): void {
  checkObject(options, "launcher");
  const type: unknown = Reflect.get(options, "type");
  if (type === "env") checkEnvOptions(options);
  else if (type === "local") checkKeys(options, ["type"], "launcher");
  else throw badArgument(`launcher: type is ${quoted(type)}; there are "local" and "env"`);
}

/** For workers of these devices. `local`: what those that this process starts have in common. Throws as `Pool.start`. */
export async function openLauncher(
  options: LauncherOptions,
  devices: readonly DeviceName[],
  local: LocalOptions,
): Promise<Launcher> {
  return options.type === "env" ? await EnvLauncher.open(options, devices) : await LocalLauncher.open(local);
}
