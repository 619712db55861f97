/** A command on a terminal of its own, as a person would use it. */
import { execa } from "execa";
import { findPython } from "../../ts/python.ts";

/** Runs its arguments in a pseudo terminal; pipes in and out of it. */
const PSEUDO_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

export class Terminal {
  readonly #process;
  /** Everything that was shown. */
  output = "";
  #seen = 0;
  #wake = () => {};

  constructor(command: readonly string[]) {
    const options = { reject: false, stdin: "pipe", buffer: false, env: { TERM: "xterm" } } as const;
    this.#process = execa(findPython(), ["-c", PSEUDO_TERMINAL, ...command], options);
    this.#process.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.output += text;
      this.#wake();
    });
  }

  type(text: string): void {
    this.#process.stdin.write(text);
  }

  /** Of what was shown since the last wait, all up to and with `text`. Waits for it; a test's time limit is the limit. */
  async until(text: string): Promise<string> {
    while (!this.output.slice(this.#seen).includes(text))
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    const end = this.output.indexOf(text, this.#seen) + text.length;
    const shown = this.output.slice(this.#seen, end);
    this.#seen = end;
    return shown;
  }

  /** The exit code, once it has ended. */
  async ended(): Promise<number | undefined> {
    return (await this.#process).exitCode;
  }

  kill(): void {
    this.#process.kill("SIGKILL"); // The terminal's hangup ends the command.
  }
}
