/** The options of the launcher `env`, and their check. */
import { z } from "zod";
import { checkOptions, type Rules } from "../../arguments.ts";
import { badArgument } from "../../errors.ts";
import { quoted } from "../../quoted.ts";

export const DEFAULT_HEARTBEAT_MS = 10_000;

export interface EnvOptions {
  readonly type: "env";
  /** "tcp://HOST:PORT" of this machine, port 0 for a free one; 0.0.0.0 for all its addresses. Connections are encrypted (CURVE). */
  readonly listen: string;
  /**
   * Folder for the workers' connection files, `worker-0.json` and on, one per device in the order of `devices`: made when there is
   * none, else it must be this user's with the mode 0700. One pool at a time: a second one replaces the files. The files (0600) hold keys of this launch; they are removed with the pool.
   */
  readonly keys: string;
  /**
   * Milliseconds of silence after which a worker counts as lost, and this process as lost to its workers, which then end. Default
   * 10,000, at least 1,000. A process that computes is heard; one that is stopped (SIGSTOP) is not.
   */
  readonly heartbeatMs?: number | undefined;
  /** Called when workers may dial in: the address, and the files in the order of `devices`. */
  readonly onListening?: ((listening: Listening) => void) | undefined;
}

export interface Listening {
  /** The address that was bound, with its port. */
  readonly url: string;
  /** Absolute paths. */
  readonly files: readonly string[];
}

const RULES: Rules<EnvOptions> = {
  type: [z.literal("env"), '"env"'],
  listen: [
    z.string().regex(/^tcp:\/\/(\[[0-9A-Fa-f:.]+\]|[\w.*-]+):\d{1,5}$/),
    'an address of this machine such as "tcp://10.0.0.1:5555", port 0 for a free one',
  ],
  keys: [z.string().min(1), "the path of a folder"],
  heartbeatMs: [z.number().min(1000).max(600_000), "milliseconds, a number from 1,000 to 600,000"],
  onListening: [z.function(), "a function"],
};

/** Throws `OCTAVO_BAD_ARGUMENT`. */
export function checkEnvOptions(options: object): asserts options is EnvOptions {
  checkOptions(options as EnvOptions, RULES, "launcher");
  const { listen, keys } = options as Partial<EnvOptions>;
  if (Number(listen?.split(":").at(-1) ?? 0) > 65_535)
    throw badArgument(`launcher: listen is ${quoted(listen)}; ports go from 0, for a free one, to 65535`);
  if (listen === undefined) throw badArgument('launcher: listen is missing; for example "tcp://0.0.0.0:5555"');
  if (keys === undefined) {
    const text = `launcher: keys is missing, the folder for the workers' keys; plain tcp at ${quoted(listen)}, where anybody could be a worker, is not offered`;
    throw badArgument(text);
  }
  if (process.getuid === undefined)
    throw badArgument("launcher: env needs files that only one user can read, which Windows has no modes for");
}
