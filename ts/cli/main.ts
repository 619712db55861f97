#!/usr/bin/env node
/** `octavo`: parses the command line, runs one command, and turns what it throws into a message and an exit status. */
import { createProgram } from "./commands.ts";
import { reportError, reportWarning, wantsJson } from "./describe-error.ts";

// `octavo run ... | head -1` closes the pipe: nobody reads any more, which is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 141 : 1));

process.removeAllListeners("warning").on("warning", reportWarning);

try {
  await createProgram().parseAsync();
} catch (error) {
  process.exitCode = reportError(error, wantsJson(process.argv));
}
