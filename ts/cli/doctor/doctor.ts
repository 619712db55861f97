/** `octavo doctor`: what is here, what is missing, and for what. */
import { Command } from "commander";
import { interruptible } from "../interrupt.ts";
import { jsonOption } from "../options.ts";
import { ProgressLine } from "../progress.ts";
import { print, printJson } from "../screen.ts";
import type { Check } from "./check.ts";

interface DoctorFlags {
  readonly python?: string;
  readonly json?: boolean;
}

export function doctorCommand(): Command {
  return new Command("doctor")
    .description(
      "Check this machine: Node, Python and its packages, the kernels, a worker, the demo model, GPUs. Exit 1 if one is unfit.",
    )
    .option("--python <path>", "Python of the worker")
    .addOption(jsonOption())
    .action((flags: DoctorFlags) => interruptible((signal) => doctor(flags, signal)));
}

async function doctor(flags: DoctorFlags, signal: AbortSignal): Promise<void> {
  const { checkMachine } = await import("./checks.ts");
  const progress = new ProgressLine();
  const checks: Check[] = [];
  for await (const check of checkMachine(flags.python, signal, (name) => progress.show(`checking ${name}`))) {
    progress.clear();
    checks.push(check);
    if (!flags.json) print(`${line(check)}\n`);
  }
  const ok = checks.every((check) => check.ok || !check.needed);
  if (flags.json) printJson({ ok, checks });
  else process.stdout.write(ok ? "Ready.\n" : "Not ready: see above.\n");
  process.exitCode = ok ? 0 : 1;
}

function line({ name, ok, needed, detail, fix }: Check): string {
  const mark = ok ? "ok     " : needed ? "MISSING" : "absent ";
  return `${mark}  ${name}: ${detail}${fix ? `\n           ${fix}` : ""}`;
}
