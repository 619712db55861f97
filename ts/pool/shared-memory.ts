/**
 * Big payloads between processes of one machine go through files in /dev/shm: one copy on each side and none through
 * the kernel's sockets (measured: faster from 256 KiB on). Files are kept and used again, because fresh pages cost more
 * than the copy.
 */
import { closeSync, ftruncateSync, openSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { OctavoError } from "../errors.ts";
import { makeOwnedFolder, removeFolder } from "./owned-folder.ts";

const ROOT = "/dev/shm";
/** Bytes of idle files that are kept. */
const KEPT_BYTES = 64 * 2 ** 20;

/** A file that one payload at a time may use. */
export interface Segment {
  readonly path: string;
  readonly fd: number;
  readonly bytes: number;
}

export class SharedMemory {
  readonly folder: string;
  readonly #idle: Segment[] = [];
  #created = 0;
  #closed = false;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Undefined where there is no /dev/shm. */
  static open(): SharedMemory | undefined {
    try {
      return process.platform === "linux" ? new SharedMemory(makeOwnedFolder(ROOT)) : undefined;
    } catch {
      return undefined; // Payloads then travel as frames.
    }
  }

  /** A segment of at least `bytes`, or undefined when the machine's shared memory (64 MB in Docker) has no room for it. */
  take(bytes: number): Segment | undefined {
    if (this.#closed) throw new OctavoError("OCTAVO_DISPOSED", "the pool is disposed");
    const fitting = this.#idle.findIndex((segment) => segment.bytes >= bytes);
    if (fitting >= 0) return this.#idle.splice(fitting, 1)[0];
    const rounded = Math.max(2 ** 20, 2 ** Math.ceil(Math.log2(bytes)));
    const { bavail, bsize } = statfsSync(ROOT);
    // Half of it is left to others: a write that finds no room fails half-way.
    if (rounded > (bavail * bsize) / 2) return undefined;
    this.#created += 1;
    const path = join(this.folder, String(this.#created));
    const fd = openSync(path, "wx+", 0o600);
    ftruncateSync(fd, rounded);
    return { path, fd, bytes: rounded };
  }

  /** The payload has been taken out; the segment may be used again. */
  give(segment: Segment): void {
    const idle = this.#idle.reduce((sum, { bytes }) => sum + bytes, 0);
    if (!this.#closed && idle + segment.bytes <= KEPT_BYTES) this.#idle.push(segment);
    else discard(segment);
  }

  close(): void {
    this.#closed = true;
    for (const segment of this.#idle.splice(0)) discard(segment);
    removeFolder(this.folder);
  }
}

function discard({ fd, path }: Segment): void {
  closeSync(fd);
  rmSync(path, { force: true });
}
