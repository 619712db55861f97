/** Starts worker processes on this machine. */
import { randomBytes } from "node:crypto";
import { execa } from "execa";
import { OctavoError } from "../../errors.ts";
import { findPython, workerEnvironment, workerProgram } from "../../python.ts";
import { Channel, MAX_FRAME_BYTES } from "../channel.ts";
import { eachLine } from "../log-lines.ts";
import { SharedMemory } from "../shared-memory.ts";
import type { Exit, Launched, Launcher, LaunchOrder } from "./launcher.ts";

/** What its workers have in common. */
export interface LocalOptions {
  /** Interpreter; by default what `findPython` says. */
  readonly python?: string | undefined;
  readonly onLog?: ((device: string, line: string) => void) | undefined;
  /** Files of the CPU kernels that a worker has compiled, on the first start on a machine. */
  readonly onCompile?: ((done: number, total: number) => void) | undefined;
}

/** Where a worker finds us, and what it inherits. */
interface Contact {
  readonly endpoint: string;
  readonly token: string;
  /** Descriptor of the file that payloads go through, if the machine has shared memory. */
  readonly sharedFd: number | undefined;
}

interface LocalProcess {
  readonly python: string;
  /** Resolves when the process has ended; never rejects. */
  readonly exited: Promise<Ended>;
  log(since?: number): string;
  kill(): void;
}

interface Ended {
  readonly code: number | undefined;
  readonly signal: string | undefined;
  /** Set when the process could not be started at all. */
  readonly error: Error | undefined;
}

/** Lines of a worker's output that are kept for error messages. */
const KEPT_LINES = 50;
/** Errors of a worker's start that are its caller's to mend; the others are OCTAVO_WORKER_START_FAILED. */
const TOLD_CODES = ["OCTAVO_MISSING_DEPENDENCY", "OCTAVO_NO_DEVICE"] as const;
/** What `octavo_kernels/cpu/build.py` says while it compiles. */
const COMPILING = /^octavo-progress: compiling the CPU kernels, (\d+) of (\d+) files$/;
/** What `sharedFd` is called in a worker. */
const INHERITED_FD = 3;
/** How long to wait for the output of a process that has ended. */
const LAST_LINES_MS = 100;

export class LocalLauncher implements Launcher {
  readonly channel: Channel;
  readonly shared = SharedMemory.open();
  readonly #options: LocalOptions;

  private constructor(channel: Channel, options: LocalOptions) {
    this.channel = channel;
    this.#options = options;
  }

  /** Throws `OCTAVO_MISSING_DEPENDENCY`. */
  static async open(options: LocalOptions): Promise<LocalLauncher> {
    return new LocalLauncher(await Channel.open(), options);
  }

  /** Throws `OCTAVO_WORKER_START_FAILED` when there can be no socket for it. */
  launch(order: LaunchOrder): Launched {
    const token = randomBytes(24).toString("hex");
    const door = this.channel.door();
    const contact = { endpoint: door.endpoint, token, sharedFd: this.shared?.fd };
    const launched = startProcess(this.#options, order, contact);
    const exit = launched.exited.then((ended): Exit => {
      door.close();
      return {
        how: `process ended with ${howEnded(ended)}`,
        clean: ended.code === 0,
        startFailure: () => startFailure(order.device.name, launched, ended),
      };
    });
    return {
      token,
      what: `(${launched.python})`,
      arrived: () => door.close(),
      watch: () => exit,
      kill: launched.kill,
      log: launched.log,
    };
  }

  async close(): Promise<void> {
    await this.channel.close();
    this.shared?.close();
  }
}

function startProcess(options: LocalOptions, order: LaunchOrder, contact: Contact): LocalProcess {
  const python = findPython(options.python);
  const { threads, epoch, device } = order;
  const { endpoint, token, sharedFd } = contact;
  const settings = {
    endpoint,
    device: device.name,
    backend: device.backend,
    threads,
    epoch,
    "max-frame": MAX_FRAME_BYTES,
    "shared-memory": sharedFd === undefined ? undefined : INHERITED_FD,
  };
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  const child = execa(python, [...workerProgram(), ...given.flatMap(([name, value]) => [`--${name}`, String(value)])], {
    buffer: false, // else all output is kept in memory
    reject: false,
    // The end of stdin tells the worker that we are gone. Any number is a descriptor; execa's types know a few.
    stdio: ["pipe", "pipe", "pipe", (sharedFd as 3 | undefined) ?? "ignore"],
    env: workerEnvironment(token),
    windowsHide: true,
  });
  child.stdin.on("error", () => {}); // EPIPE when the worker died first
  const lines: { readonly at: number; readonly text: string }[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    eachLine(stream, (line) => {
      const compiling = COMPILING.exec(line);
      if (compiling !== null) return options.onCompile?.(Number(compiling[1]), Number(compiling[2]));
      lines.push({ at: performance.now(), text: line.slice(0, 2000) });
      if (lines.length > KEPT_LINES) lines.shift();
      options.onLog?.(device.name, line);
    });
  }
  const ended = child.then(
    (result): Ended => ({
      code: result.exitCode,
      signal: result.signal,
      error: child.pid === undefined ? ((result.cause as Error | undefined) ?? new Error(String(result))) : undefined,
    }),
    (error): Ended => ({ code: undefined, signal: undefined, error: error as Error }),
  );
  // execa waits for the output to close, which a grandchild could hold open for ever; its last lines come right after the exit.
  const exit = new Promise<Ended>((resolve) => {
    child.once("exit", (code, signal) =>
      setTimeout(
        () => resolve({ code: code ?? undefined, signal: signal ?? undefined, error: undefined }),
        LAST_LINES_MS,
      ),
    );
  });
  const exited = Promise.race([ended, exit]);
  const log = (since = 0) =>
    lines
      .filter(({ at }) => at >= since)
      .map(({ text }) => text)
      .join("\n");
  return { python, exited, log, kill: () => void child.kill("SIGKILL") };
}

function howEnded({ code, signal }: Ended): string {
  if (signal === undefined) return `exit code ${code}`;
  return `signal ${signal}${signal === "SIGKILL" ? " (by somebody, or by the system for want of memory)" : ""}`;
}

/** Why a worker ended before it said hello, and what to do. */
function startFailure(device: string, launched: LocalProcess, { code, signal, error }: Ended): OctavoError {
  if (error !== undefined) {
    const text = `${device}: cannot run ${launched.python} (${error.message}); install Python 3.10 or later, or set OCTAVO_PYTHON`;
    return new OctavoError("OCTAVO_WORKER_START_FAILED", text, { cause: error });
  }
  const log = launched.log();
  const told = /^octavo-error: (OCTAVO_[A-Z_]+) (.*)$/m.exec(log);
  if (told !== null) {
    const own = TOLD_CODES.find((code) => code === told[1]);
    return new OctavoError(own ?? "OCTAVO_WORKER_START_FAILED", `${device}: ${told[2]}`);
  }
  const how = signal === undefined ? `exit code ${code}` : `signal ${signal}`;
  const text = `${device}: the worker (${launched.python}) ended with ${how} before it was ready.${log && `\n${log}`}`;
  // Killed from outside, for example for the memory that others take.
  return new OctavoError("OCTAVO_WORKER_START_FAILED", text, { retryable: signal === "SIGKILL" });
}
