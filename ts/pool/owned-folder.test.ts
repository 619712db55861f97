import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeOwnedFolder } from "./owned-folder.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "test-octavo-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test("the folder is this user's alone", () => {
  expect(statSync(makeOwnedFolder(root)).mode & 0o777).toBe(0o700);
});

test("folders of dead processes are removed; those of living ones, of other namespaces and of others are not", () => {
  const { pid } = spawnSync(process.execPath, ["-v"]); // Ended and reaped: its id is free.
  const living = makeOwnedFolder(root);
  const dead = living.replace(`-${process.pid}-`, `-${pid}-`);
  const foreign = join(root, basename(dead).replace("octavo-", "octavo-1"));
  const unrelated = join(root, "octavo");
  for (const folder of [dead, foreign, unrelated]) mkdirSync(folder);
  makeOwnedFolder(root);
  expect([living, dead, foreign, unrelated].map((folder) => existsSync(folder))).toEqual([true, false, true, true]);
});
