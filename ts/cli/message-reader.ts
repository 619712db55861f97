/**
 * Messages as a person writes them on a terminal, or as lines of a pipe.
 *
 * On a terminal, a pasted text is one message however many lines it has (the terminal marks where a paste begins and ends),
 * and what is typed while nobody asks for a message is kept for the next one instead of being shown between other output.
 */
import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";
import { variable } from "../environment.ts";
import { OctavoError } from "../errors.ts";

const PROMPT = "> ";
/** Bounds of what is read ahead of the answers from something that need not end. */
const MAX_LINE_BYTES = 64 * 2 ** 20;
const MAX_AHEAD = 1000;
const PASTE_MARKS_ON = "\x1b[?2004h";
const PASTE_MARKS_OFF = "\x1b[?2004l";

export interface MessageReaderOptions {
  readonly input: NodeJS.ReadStream;
  /** Where the typed text is shown; undefined: the input is no terminal, and each of its lines is a message. */
  readonly screen: NodeJS.WriteStream | undefined;
  /** Ctrl-C on a terminal, which sends no signal while its lines are edited; a text that is being written it discards. */
  readonly onInterrupt: () => void;
}

export class MessageReader {
  readonly #lines: Interface;
  readonly #screen: Screen | undefined;
  readonly #unmark: () => void;
  /** Complete, and not asked for yet. */
  readonly #messages: string[] = [];
  /** Lines before the last one of a paste. */
  #pasted: string[] = [];
  #pasting = false;
  #closed = false;
  #wake: (() => void) | undefined;
  /** Bytes of the pipe since the end of a line. */
  #unended = 0;
  #failure: OctavoError | undefined;

  constructor({ input, screen, onInterrupt }: MessageReaderOptions) {
    this.#screen = screen && new Screen(screen);
    this.#lines = createInterface({
      input,
      ...(this.#screen ? { output: this.#screen, terminal: true, prompt: PROMPT } : {}),
    });
    const marks = screen !== undefined && variable("TERM") !== "dumb";
    if (marks) screen.write(PASTE_MARKS_ON);
    if (marks) this.#lines.on("SIGCONT", () => screen.write(PASTE_MARKS_ON)); // After Ctrl-Z, a shell's own.
    // Also when the process exits in the middle: the shell after us may not know the marks.
    this.#unmark = () => marks && screen.write(PASTE_MARKS_OFF);
    process.once("exit", this.#unmark);
    input.on("keypress", this.#onKey);
    if (screen === undefined) input.on("data", (chunk: Buffer | string) => this.#onData(chunk, input));
    this.#lines.on("line", (line) => this.#onLine(line));
    this.#lines.on("SIGINT", () => this.#discard() || onInterrupt());
    this.#lines.on("close", () => {
      this.#closed = true;
      if (this.#pasted.length > 0) this.#deliver(this.#pasted.splice(0).join("\n"));
      this.#wake?.();
    });
  }

  /**
   * The next message; undefined after the end of the input. Throws `OCTAVO_FILE_NOT_READABLE` for a line of a pipe that does not end.
   */
  async next(): Promise<string | undefined> {
    if (this.#messages.length === 0 && !this.#closed) {
      this.#ask();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    } else if (this.#messages[0] !== undefined) this.#screen?.show(`${PROMPT}${this.#messages[0]}\n`); // Written before.
    const message = this.#messages.shift();
    if (message === undefined && this.#failure !== undefined) throw this.#failure;
    if (this.#messages.length === MAX_AHEAD && !this.#closed) this.#lines.resume();
    return message;
  }

  close(): void {
    process.off("exit", this.#unmark);
    this.#lines.close();
    this.#unmark();
  }

  #ask(): void {
    if (this.#screen === undefined) return;
    this.#screen.shown = true;
    this.#lines.prompt(true); // With what has been typed already.
  }

  /** As shells do. Returns whether there was anything. */
  #discard(): boolean {
    if (this.#screen?.shown !== true || (this.#lines.line === "" && this.#pasted.length === 0)) return false;
    this.#pasted = [];
    this.#lines.write(null, { ctrl: true, name: "e" }); // To its end, and away with all before.
    this.#lines.write(null, { ctrl: true, name: "u" });
    this.#lines.prompt();
    return true;
  }

  readonly #onKey = (_: unknown, key: { readonly name?: string | undefined } | undefined): void => {
    if (key?.name === "paste-start") this.#pasting = true;
    else if (key?.name === "paste-end") this.#pasting = false;
  };

  #onData(chunk: Buffer | string, input: NodeJS.ReadStream): void {
    const end = chunk.lastIndexOf("\n");
    this.#unended = end < 0 ? this.#unended + chunk.length : chunk.length - end - 1;
    if (this.#unended <= MAX_LINE_BYTES) return;
    const text = `stdin has a line of more than ${MAX_LINE_BYTES} bytes; no message is as long`;
    this.#failure = new OctavoError("OCTAVO_FILE_NOT_READABLE", text);
    this.#lines.close();
    input.destroy();
  }

  #onLine(line: string): void {
    // A paste may be followed by typing; Enter sends all of it.
    if (this.#pasting) this.#pasted.push(line);
    else this.#deliver([...this.#pasted.splice(0), line].join("\n"));
  }

  #deliver(message: string): void {
    if (this.#screen) this.#screen.shown = false;
    this.#messages.push(message);
    if (this.#screen === undefined && this.#messages.length > MAX_AHEAD) this.#lines.pause();
    this.#wake?.();
  }
}

/** A terminal that can look away: what readline echoes while `shown` is false is dropped. */
class Screen extends Writable {
  shown = false;
  readonly #terminal: NodeJS.WriteStream;

  constructor(terminal: NodeJS.WriteStream) {
    super({ decodeStrings: false });
    this.#terminal = terminal;
    terminal.on("resize", () => this.emit("resize"));
  }

  /** Unknown while nothing is shown: readline would move the cursor up by the rows that it believes to have written. */
  get columns(): number | undefined {
    return this.shown ? this.#terminal.columns : undefined;
  }

  show(text: string): void {
    this.#terminal.write(text);
  }

  override _write(text: string, _: BufferEncoding, done: () => void): void {
    if (this.shown) this.#terminal.write(text);
    done();
  }
}
