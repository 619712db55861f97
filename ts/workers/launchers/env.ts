/**
 * Workers that somebody else starts (torchrun, srun, LeaderWorkerSet, a shell on another machine): they dial in, with keys of this
 * launch. A worker's key is allowed while it is waited for: a second one that has the same file is refused while the first lives.
 */
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { OctavoError } from "../../errors.ts";
import type { DeviceName } from "../../plan/devices.ts";
import { MAX_FRAME_BYTES, type Peer } from "../channel.ts";
import { encodeRequest } from "../codec.ts";
import { listen, type SecureChannel } from "../secure-channel.ts";
import { checkKeyFolder, connectionFileName, writeConnectionFile } from "./connection-files.ts";
import { checkEnvOptions, DEFAULT_HEARTBEAT_MS, type EnvOptions } from "./env-options.ts";
import type { Exit, Launched, Launcher, LaunchOrder } from "./launcher.ts";

/** Milliseconds between two looks at whether a connection is still there: zeromq tells only who sends. */
const PROBE_MS = 250;
/** Asks nothing; the worker drops it. */
const PROBE = new Uint8Array(0);

/** One worker of the pool: whoever has this file can be it. */
interface Place {
  readonly file: string;
  readonly publicKey: string;
  readonly token: string;
  remove(): void;
}

export class EnvLauncher implements Launcher {
  readonly channel;
  /** Its workers may be on other machines: payloads travel as frames. */
  readonly shared = undefined;
  readonly #secure: SecureChannel;
  readonly #places: readonly Place[];

  private constructor(secure: SecureChannel, places: readonly Place[]) {
    this.channel = secure.channel;
    this.#secure = secure;
    this.#places = places;
  }

  /**
   * Listens, and writes a file for each device.
   * Throws `OCTAVO_BAD_ARGUMENT`, `OCTAVO_FILE_NOT_READABLE`, `OCTAVO_WORKER_START_FAILED`, `OCTAVO_MISSING_DEPENDENCY`.
   */
  static async open(options: EnvOptions, devices: readonly DeviceName[]): Promise<EnvLauncher> {
    checkEnvOptions(options);
    const folder = resolve(options.keys);
    checkKeyFolder(folder);
    const heartbeatMs = options.heartbeatMs ?? DEFAULT_HEARTBEAT_MS;
    const secure = await listen(options.listen.replace(/:0$/, ":*"), heartbeatMs);
    const places: Place[] = [];
    const launcher = new EnvLauncher(secure, places);
    try {
      const { url, serverKey } = secure;
      for (const [rank, { name: device, backend }] of devices.entries()) {
        const keys = secure.newKeyPair();
        const token = randomBytes(24).toString("hex");
        const file = connectionFileName(folder, rank);
        const common = { url, serverKey, heartbeatMs, maxFrame: MAX_FRAME_BYTES, ranks: devices.length };
        secure.allowList.allow(keys.publicKey); // Before anybody can have read it.
        const remove = writeConnectionFile(file, { ...common, ...keys, token, device, backend, rank });
        places.push({ file, publicKey: keys.publicKey, token, remove });
      }
      options.onListening?.({ url, files: places.map(({ file }) => file) });
      return launcher;
    } catch (error) {
      await launcher.close();
      throw error;
    }
  }

  /** Waits for one to dial in; nothing is started. */
  launch({ index, device, epoch }: LaunchOrder): Launched {
    const { allowList, url } = this.#secure;
    const { file, publicKey, token } = this.#places[index]!;
    const refusedBefore = allowList.refused;
    let peer: Peer | undefined;
    let probing: NodeJS.Timeout | undefined;
    let end = (_how: string) => {};
    const exit = new Promise<Exit>((resolve) => {
      end = (how) => {
        clearInterval(probing);
        const text = `${device.name}: the worker ${how} before it was ready`;
        const startFailure = () => new OctavoError("OCTAVO_WORKER_START_FAILED", text, { retryable: true });
        resolve({ how, clean: true, startFailure });
      };
    });
    const gone = () => end("cannot be reached any more: it ended, or its machine or the network between did");
    allowList.allow(publicKey);
    return {
      token,
      what: `that was to dial ${url} with ${file}`,
      arrived: (arrived) => {
        allowList.forbid(publicKey);
        peer = arrived;
        probing = setInterval(() => arrived.send([PROBE], gone), PROBE_MS);
        probing.unref();
      },
      watch: () => exit,
      kill: () => {
        allowList.forbid(publicKey);
        // Its process is not ours to end: it ends when it reads this, or when its connection does.
        peer?.send([encodeRequest({ kind: "bye", id: 0, epoch })], () => {});
        if (peer === undefined) end("was not waited for any longer");
        else gone();
      },
      log: () => {
        const refused = allowList.refused - refusedBefore;
        return refused === 0 ? "" : `Refused meanwhile: ${refused} handshakes with keys that are not expected.`;
      },
    };
  }

  async close(): Promise<void> {
    for (const { remove } of this.#places) remove();
    await this.#secure.close();
  }
}
