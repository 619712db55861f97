/** All commands. Their files import what they run only when they run: `octavo --help` loads none of it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { packageRoot } from "../python.ts";
import { benchCommand } from "./bench.ts";
import { chatCommand } from "./chat.ts";
import { doctorCommand } from "./doctor/doctor.ts";
import { evalCommand } from "./eval.ts";
import { inspectCommand } from "./inspect.ts";
import { planCommand } from "./plan.ts";
import { programCommand } from "./program.ts";
import { pullCommand } from "./pull.ts";
import { replayCommand } from "./replay.ts";
import { runCommand } from "./run.ts";
import { printable } from "./screen.ts";

export function createProgram(): Command {
  const program = new Command("octavo")
    .description("Int8 inference of language models: Node decides, Python workers execute.")
    .version(version(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print what there is")
    .helpCommand("help [command]", "print the help of a command");
  for (const command of [
    runCommand(),
    chatCommand(),
    planCommand(),
    programCommand(),
    replayCommand(),
    evalCommand(),
    inspectCommand(),
    benchCommand(),
    pullCommand(),
    doctorCommand(),
  ]) {
    program.addCommand(command);
  }
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .showSuggestionAfterError()
      .configureOutput({ outputError: (text, write) => write(usageError(text, command)) });
  }
  return program;
}

/** commander's `error: unknown option '--x'` in the form of all errors, and where to look. */
function usageError(text: string, command: Command): string {
  const what = text.replace(/^error: /, "").trim();
  const name = command.parent ? `${command.parent.name()} ${command.name()}` : command.name();
  return printable(`error OCTAVO_BAD_ARGUMENT: ${what}\nsee: ${name} --help\n`);
}

function version(): string {
  return JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")).version;
}
