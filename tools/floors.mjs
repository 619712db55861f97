/**
 * A room of ts/ uses what stands below it, never above: names every import that climbs, and every file on no floor.
 * `node tools/floors.mjs`. Circles between files are biome's (noImportCycles); Python has import-linter (pyproject.toml).
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";

/** From the top to the ground: folders of ts/, and files that lie there. */
const FLOORS = [
  ["index"],
  ["cli"],
  ["bench", "eval", "inspect", "replay"],
  ["engine"],
  ["deploy"],
  ["schedule"],
  ["pool", "pool-options", "tensor"],
  ["workers"],
  ["plan"],
  ["memory"],
  ["model"],
  ["program"],
  ["arguments", "bytes", "python", "regular-file"],
  ["environment", "errors", "quoted", "warnings"],
  ["protocol"],
];
const FLOOR = new Map(FLOORS.flatMap((rooms, floor) => rooms.map((room) => [room, floor])));
const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

/** `ts/memory/kv/pages.ts` is in the room memory, `ts/pool.ts` is the room pool. */
function roomOf(path) {
  const [top, name] = path.split("/");
  return top === "ts" ? name.replace(/\.ts$/, "") : top;
}

function problems(path) {
  const room = roomOf(path);
  const floor = FLOOR.get(room);
  if (floor === undefined) return [`${path}: the room ${room} is on no floor; give it one in tools/floors.mjs`];
  const imports = readFileSync(join(ROOT, path), "utf8").matchAll(/(?:\bfrom|\bimport\(?)\s*"(\.[^"]+)"/g);
  return [...imports].flatMap(([, to]) => {
    const used = roomOf(posix.join(posix.dirname(path), to));
    if (FLOOR.get(used) >= floor) return [];
    return [`${path}: ${room} uses ${used}, which ${FLOOR.has(used) ? "stands above it" : "is on no floor"}`];
  });
}

const files = ["ts", "protocol"].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true })
    .map((name) => posix.join(folder, name.replaceAll("\\", "/")))
    // Golden vectors are written by what they test.
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts") && !name.startsWith("protocol/golden/")),
);
const found = files.flatMap(problems);
for (const problem of found) console.error(problem);
if (found.length > 0) process.exitCode = 1;
