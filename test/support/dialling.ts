/** Workers that a test starts itself, as a launcher would, for a pool that waits for them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PoolOptions } from "../../ts/index.ts";
import { Pool } from "../../ts/pool.ts";
import { findPython, packageRoot, workerProgram } from "../../ts/python.ts";

/** Longest silence in tests: the least that is accepted, and some for two busy cores. */
export const HEARTBEAT_MS = 2000;

export interface Dialling {
  readonly process: ChildProcess;
  readonly pid: number;
  /** What it has written so far. */
  log(): string;
  /** Resolves when it has written something that fits. */
  says(pattern: RegExp): Promise<void>;
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
}

/** A folder for keys, and the workers that use it; all of it goes with `dispose`. */
export class Outside {
  readonly folder = join(mkdtempSync(join(tmpdir(), "octavo-test-")), "keys");
  readonly #workers: Dialling[] = [];

  /** `octavo-worker --keys FILE ...`, with no more in its environment than a shell on another machine has. */
  dial(keys: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Dialling {
    const child = spawn(findPython(), [...workerProgram(), "--keys", keys, "--threads", "1", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env.PATH, PYTHONPATH: join(packageRoot(), "kernels"), ...env },
    });
    let text = "";
    const waiting = new Set<() => void>();
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        text += chunk;
        for (const look of waiting) look();
      });
    }
    const says = (pattern: RegExp) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if (!pattern.test(text)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      });
    const ended = once(child, "close").then(([code, signal]) => code ?? signal);
    const worker = { process: child, pid: child.pid!, log: () => text, says, ended };
    this.#workers.push(worker);
    return worker;
  }

  /** `Pool.start` that waits for workers; `onListening` gets the files, and usually dials. */
  pool(
    onListening: (files: readonly string[], url: string) => void,
    options: Partial<PoolOptions> = {},
  ): Promise<Pool> {
    return Pool.start({
      devices: "cpu:0",
      launcher: {
        type: "env",
        listen: "tcp://127.0.0.1:0",
        keys: this.folder,
        heartbeatMs: HEARTBEAT_MS,
        onListening: ({ url, files }) => onListening(files, url),
      },
      ...options,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { process } of this.#workers) process.kill("SIGKILL");
    await Promise.all(this.#workers.map(({ ended }) => ended));
    rmSync(join(this.folder, ".."), { recursive: true, force: true });
  }
}
