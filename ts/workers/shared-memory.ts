/**
 * Big payloads between processes of one machine go through memory that they share: one copy on each side and none through
 * the kernel's sockets (measured: faster from 256 KiB on). It is a file in /dev/shm without a name: workers inherit its
 * descriptor, so nobody else can open it, and it is gone when the last process that has it ends, however that one ends.
 * Places in it are used again, because fresh pages cost more than the copy.
 */
import { closeSync, ftruncateSync, openSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { OctavoError } from "../errors.ts";
import { SHARED_GRAIN } from "../plan/segment.ts";
import { roundUp } from "../program/tensor-bytes.ts";
import { makeOwnedFolder, removeFolder } from "./owned-folder.ts";

const ROOT = "/dev/shm";
/** Bytes that are kept while nothing uses them. */
const KEPT_BYTES = 64 * 2 ** 20;

/** A part of the file that one payload at a time may use. */
export interface Segment {
  readonly fd: number;
  readonly offset: number;
  readonly bytes: number;
}

type Extent = Omit<Segment, "fd">;

export class SharedMemory {
  readonly fd: number;
  /** Unused parts of the file, in order, none touching the next. */
  #free: Extent[] = [];
  #size = 0;
  #taken = 0;
  #closed = false;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Undefined where there is no /dev/shm. */
  static open(): SharedMemory | undefined {
    if (process.platform !== "linux") return undefined;
    try {
      const folder = makeOwnedFolder(ROOT);
      try {
        return new SharedMemory(openSync(join(folder, "payloads"), "wx+", 0o600));
      } finally {
        removeFolder(folder);
      }
    } catch {
      return undefined; // Payloads then travel as frames.
    }
  }

  /** A segment of at least `bytes`, or undefined when the machine's shared memory (64 MB in Docker) has no room for it. */
  take(bytes: number): Segment | undefined {
    if (this.#closed) throw new OctavoError("OCTAVO_DISPOSED", "the pool is disposed");
    const wanted = roundUp(bytes, SHARED_GRAIN);
    const fitting = this.#free.findIndex((extent) => extent.bytes >= wanted);
    const extent = fitting < 0 ? this.#grow(wanted) : this.#cut(fitting, wanted);
    if (extent === undefined) return undefined;
    this.#taken += 1;
    return { fd: this.fd, ...extent };
  }

  /** The payload has been taken out; the segment may be used again. */
  give({ offset, bytes }: Segment): void {
    this.#taken -= 1;
    if (this.#closed) {
      if (this.#taken === 0) closeSync(this.fd);
      return;
    }
    const merged: Extent[] = [];
    for (const extent of [...this.#free, { offset, bytes }].sort((a, b) => a.offset - b.offset)) {
      const last = merged.at(-1);
      if (last !== undefined && last.offset + last.bytes === extent.offset) {
        merged[merged.length - 1] = { offset: last.offset, bytes: last.bytes + extent.bytes };
      } else merged.push(extent);
    }
    this.#free = merged;
    this.#shrink();
  }

  /** Its memory is given back when workers have ended and the last segment was given back. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#taken === 0) closeSync(this.fd);
  }

  #cut(index: number, wanted: number): Extent {
    const { offset, bytes } = this.#free[index]!;
    const rest = bytes === wanted ? [] : [{ offset: offset + wanted, bytes: bytes - wanted }];
    this.#free.splice(index, 1, ...rest);
    return { offset, bytes: wanted };
  }

  #grow(wanted: number): Extent | undefined {
    const { bavail, bsize } = statfsSync(ROOT);
    // Half of it is left to others: a write that finds no room fails half-way.
    if (wanted > (bavail * bsize) / 2) return undefined;
    const offset = this.#size;
    ftruncateSync(this.fd, offset + wanted);
    this.#size = offset + wanted;
    return { offset, bytes: wanted };
  }

  /** What is unused at the end goes back to the system. */
  #shrink(): void {
    const last = this.#free.at(-1);
    if (last === undefined || last.offset + last.bytes !== this.#size || this.#size <= KEPT_BYTES) return;
    const size = Math.max(KEPT_BYTES, last.offset);
    this.#free.pop();
    if (size > last.offset) this.#free.push({ offset: last.offset, bytes: size - last.offset });
    ftruncateSync(this.fd, size);
    this.#size = size;
  }
}
