/**
 * What a worker that somebody else starts has to know, one file each, which only this user can read: they hold secrets. They are
 * not put into the environment, which schedulers and dashboards show (Ray's job API gives it back in clear).
 */
import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, type Stats, writeFileSync } from "node:fs";
import { join } from "node:path";
import { badArgument, messageOf, OctavoError } from "../../errors.ts";
import { fileKind } from "../../regular-file.ts";

/** Read by `worker/octavo_worker/connection_file.py`, which refuses any other. */
const FORMAT = 1;

/** The content, beside its format. */
export interface ConnectionFile {
  readonly url: string;
  /** Z85, as the keys that follow. */
  readonly serverKey: string;
  readonly publicKey: string;
  readonly secretKey: string;
  /** Of this launch, for the hello. */
  readonly token: string;
  /** What the pool calls the device. */
  readonly device: string;
  readonly backend: string;
  readonly rank: number;
  readonly ranks: number;
  readonly heartbeatMs: number;
  readonly maxFrame: number;
}

/** Makes the folder when there is none. Throws `OCTAVO_BAD_ARGUMENT` for one that others can enter, or that is another user's. */
export function checkKeyFolder(folder: string): void {
  let found: Stats;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    found = lstatSync(folder);
  } catch (cause) {
    throw new OctavoError("OCTAVO_FILE_NOT_READABLE", `launcher: no folder ${folder}: ${messageOf(cause)}`, { cause });
  }
  const refuse = (how: string) =>
    badArgument(`launcher: keys is ${folder}, which ${how}; give a folder of your own that only you can enter (0700)`);
  if (found.isSymbolicLink()) throw refuse("is a link");
  if (!found.isDirectory()) throw refuse(`is ${fileKind(found)}`);
  if (found.uid !== process.getuid?.()) throw refuse(`belongs to user ${found.uid}`);
  const mode = found.mode & 0o777;
  if (mode !== 0o700) throw refuse(`has the mode 0${mode.toString(8)}`);
}

/** `worker-0.json` and on, in an absolute or relative `folder`. */
export function connectionFileName(folder: string, rank: number): string {
  return join(folder, `worker-${rank}.json`);
}

/**
 * Whole or not at all: a worker may be waiting for it. What an earlier pool has left is replaced. Returns what removes the file,
 * unless another pool has replaced it. Throws `OCTAVO_FILE_NOT_READABLE`.
 */
export function writeConnectionFile(file: string, content: ConnectionFile): () => void {
  const text = `${JSON.stringify({ octavo: FORMAT, ...content }, undefined, 2)}\n`;
  const draft = `${file}.${randomBytes(6).toString("hex")}`;
  try {
    writeFileSync(draft, text, { flag: "wx", mode: 0o600 });
    renameSync(draft, file);
  } catch (cause) {
    rmSync(draft, { force: true });
    throw new OctavoError("OCTAVO_FILE_NOT_READABLE", `launcher: ${file}: ${messageOf(cause)}`, { cause });
  }
  return () => {
    try {
      if (readFileSync(file, "utf8") === text) rmSync(file);
    } catch {} // Somebody has removed it.
  };
}
