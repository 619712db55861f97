/**
 * Folders for sockets and payloads that only this user can enter, named by the process that owns them: a process that was
 * killed could not remove its own, so whoever comes next does.
 */
import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";

/** Not removed yet: a program may end without disposing of its pool. */
const open = new Set<string>();

/** A fresh folder (0700) in `root`, after those of dead processes were removed. Throws what the file system throws. */
export function makeOwnedFolder(root: string): string {
  const prefix = `octavo-${pidNamespace()}-`;
  for (const name of readdirSync(root)) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length).split("-")[0]) : Number.NaN;
    if (Number.isSafeInteger(pid) && !isRunning(pid) && isOurs(join(root, name))) removeFolder(join(root, name));
  }
  const folder = join(root, `${prefix}${process.pid}-${randomBytes(6).toString("hex")}`);
  mkdirSync(folder, { mode: 0o700 });
  if (open.size === 0) process.once("exit", removeAll);
  open.add(folder);
  return folder;
}

/** Never throws: what cannot be removed is another user's. */
export function removeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {}
  if (open.delete(folder) && open.size === 0) process.off("exit", removeAll);
}

function removeAll(): void {
  for (const folder of open) removeFolder(folder);
}

/**
 * Made by `makeOwnedFolder` for this user. `root` may be everybody's, and a name proves nothing: another user's folder, or
 * a link to one of ours, is left alone. In a folder that only we can enter, nobody has planted anything.
 */
function isOurs(path: string): boolean {
  try {
    const found = lstatSync(path);
    return found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o777) === 0o700;
  } catch {
    return false; // Another process was quicker.
  }
}

/** Process ids mean something only inside their namespace, and containers may share a /dev/shm. */
function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    return "0"; // Not Linux.
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
