/**
 * Opening files that somebody else names: regular files only. A pipe, a terminal or a device has no end that one could wait for,
 * and a file of any size would be memory of any size.
 */
import { constants, openSync, type Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { codeOf, OctavoError } from "./errors.ts";

/** Not blocking: opening a pipe waits for its writer otherwise. Not as the controlling terminal. */
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/** Of the JSON and text files of a model; the largest tokenizer.json of today has 33 MB. */
const MAX_TEXT_BYTES = 64 * 2 ** 20;
/** Of what says how a model computes: config.json, generation_config.json. Published ones have a few kB. */
export const MAX_CONFIG_BYTES = 2 * 2 ** 20;

/** To be closed by the caller. Throws `OCTAVO_FILE_NOT_READABLE`, which says what the thing is when it is no regular file. */
export async function openRegular(file: string): Promise<{ readonly handle: FileHandle; readonly bytes: number }> {
  const handle = await open(file, FLAGS).catch((cause: unknown) => {
    throw notOpened(file, cause);
  });
  try {
    return { handle, bytes: fileSize(file, await handle.stat()) };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The descriptor; the caller holds what `fstat` says of it against `fileSize`. Throws `OCTAVO_FILE_NOT_READABLE`. */
export function openRegularSync(file: string): number {
  try {
    return openSync(file, FLAGS);
  } catch (cause) {
    throw notOpened(file, cause);
  }
}

/** Bytes of a regular file. Throws `OCTAVO_FILE_NOT_READABLE` for anything else. */
export function fileSize(file: string, stats: Stats): number {
  if (stats.isFile()) return stats.size;
  throw new OctavoError("OCTAVO_FILE_NOT_READABLE", `${file} is ${fileKind(stats)}, not a regular file`);
}

/** What something on a disk is when it is no regular file. */
export function fileKind(stats: Stats): string {
  if (stats.isDirectory()) return "a directory";
  if (stats.isFIFO()) return "a pipe (FIFO)";
  if (stats.isSocket()) return "a socket";
  return stats.isCharacterDevice() || stats.isBlockDevice() ? "a device" : "something";
}

/** The whole file as bytes. Throws `OCTAVO_FILE_NOT_READABLE`, also for one of more than `limit` bytes. */
export async function readBytes(file: string, limit = MAX_TEXT_BYTES): Promise<Buffer> {
  const { handle, bytes } = await openRegular(file);
  try {
    if (bytes > limit) {
      const text = `${file} has ${bytes} bytes; such a file is read up to ${limit}`;
      throw new OctavoError("OCTAVO_FILE_NOT_READABLE", text);
    }
    const content = Buffer.alloc(bytes);
    for (let done = 0; done < bytes; ) {
      const { bytesRead } = await handle.read(content, done, bytes - done, done);
      if (bytesRead === 0) return content.subarray(0, done); // It became shorter meanwhile.
      done += bytesRead;
    }
    return content;
  } catch (cause) {
    if (OctavoError.isInstance(cause)) throw cause;
    throw new OctavoError("OCTAVO_FILE_NOT_READABLE", `${file} cannot be read`, { cause });
  } finally {
    await handle.close();
  }
}

/** The whole file as UTF-8, without a byte order mark's being taken away. Throws as `readBytes`. */
export async function readText(file: string): Promise<string> {
  return (await readBytes(file)).toString("utf8");
}

/** Whether the error of one of these says that there is no such file. */
export function isAbsent(error: unknown): boolean {
  const cause = OctavoError.isInstance(error) ? error.cause : error;
  return ["ENOENT", "ENOTDIR"].includes(codeOf(cause) ?? "");
}

function notOpened(file: string, cause: unknown): OctavoError {
  const what = codeOf(cause) === "ENXIO" ? "is a socket or a device, not a regular file" : "cannot be opened";
  return new OctavoError("OCTAVO_FILE_NOT_READABLE", `${file} ${what}`, { cause });
}
