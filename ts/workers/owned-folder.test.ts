import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { makeOwnedFolder } from "./owned-folder.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "test-octavo-"));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(root, { recursive: true, force: true });
});

/** The name that a process which has ended would have given its folder. */
function deadName(living: string): string {
  const { pid } = spawnSync(process.execPath, ["-v"]); // Ended and reaped: its id is free.
  return living.replace(`-${process.pid}-`, `-${pid}-`);
}

test("the folder is this user's alone", () => {
  expect(statSync(makeOwnedFolder(root)).mode & 0o777).toBe(0o700);
});

test("folders of dead processes are removed; those of living ones, of other namespaces and of others are not", () => {
  const living = makeOwnedFolder(root);
  const dead = deadName(living);
  const foreign = join(root, basename(dead).replace("octavo-", "octavo-1"));
  const unrelated = join(root, "octavo");
  for (const folder of [dead, foreign, unrelated]) mkdirSync(folder, { mode: 0o700 });
  makeOwnedFolder(root);
  expect([living, dead, foreign, unrelated].map((folder) => existsSync(folder))).toEqual([true, false, true, true]);
});

test("what another user has planted under such a name is left alone", () => {
  const dead = deadName(makeOwnedFolder(root));
  const precious = join(root, "precious");
  mkdirSync(precious, { mode: 0o700 });
  writeFileSync(join(precious, "file"), "");
  symlinkSync(precious, dead);
  const open = `${dead}1`;
  mkdirSync(open);
  chmodSync(open, 0o777);
  makeOwnedFolder(root);
  expect(readdirSync(precious)).toEqual(["file"]);
  expect(existsSync(dead)).toBe(true);
  expect(existsSync(open)).toBe(true);
  rmSync(dead);
  mkdirSync(dead, { mode: 0o700 });
  const getuid = vi.spyOn(process, "getuid").mockReturnValue(process.getuid!() + 1);
  makeOwnedFolder(root);
  expect(existsSync(dead)).toBe(true);
  getuid.mockRestore();
  makeOwnedFolder(root);
  expect(existsSync(dead)).toBe(false);
});
