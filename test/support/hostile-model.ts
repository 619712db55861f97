/** Model files with something changed that a careful file would not have; the same for the same seed. */
import { uniform } from "./random.ts";

/** Content by name. */
export type ModelFiles = Readonly<Record<string, Buffer>>;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Draw = <T>(values: readonly T[]) => T;

/** Stands for more brackets than `JSON.stringify` can write. */
const DEEP = "@deep@";
const BRACKETS = "[".repeat(50_000) + "]".repeat(50_000);
const VALUES: readonly (() => Json)[] = [
  ...[null, true, false, 0, 1, -1, 0.5, 2, 300, 513, 1024, 1e5, 1e6, 1e7, 2 ** 31, 2 ** 32, 2 ** 53, 1e300].map(
    (value) => () => value,
  ),
  ...["", "0", "a", "__proto__", "(a+)+$", "(?:a|a)*b", "\\p{L}+|", "(", "{{ x", "{% for a in b %}", "\ud800", "▁"].map(
    (value) => () => value,
  ),
  () => "x".repeat(2e6),
  () => "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
  () => [[[[[[[[]]]]]]]],
  () => DEEP,
  () => [],
  () => ({}),
  () => Array(200_000).fill(0),
  () => ({ type: "Split", pattern: { Regex: "(a+)+$" }, behavior: "Isolated", invert: false }),
  () => ({ type: "Sequence", pretokenizers: [], normalizers: [], decoders: [], processors: [] }),
];

/** One to three changes of one file, or of two. */
export function hostileModel(seed: number, files: ModelFiles): ModelFiles {
  const next = uniform(seed);
  const draw: Draw = (values) => values[Math.floor(next() * values.length)]!;
  const changed: Record<string, Buffer> = { ...files };
  for (let left = draw([1, 1, 2]); left > 0; left--) {
    const name = draw(Object.keys(files));
    let content = changed[name]!;
    for (let changes = draw([1, 1, 2, 3]); changes > 0; changes--) content = change(name, content, draw, next);
    changed[name] = content;
  }
  return changed;
}

function change(name: string, content: Buffer, draw: Draw, next: () => number): Buffer {
  if (name.endsWith(".json")) return draw([tree, tree, tree, text, bytes])(content, draw, next);
  if (name.endsWith(".safetensors")) return draw([header, header, size, bytes, short])(content, draw, next);
  return draw([size, size, bytes, bytes, short])(content, draw, next);
}

/** Something else somewhere in the tree; as it is when a change before has made it no JSON, or too deep to write. */
function tree(content: Buffer, draw: Draw, next: () => number): Buffer {
  let root: Json;
  try {
    root = JSON.parse(content.toString());
  } catch {
    return content;
  }
  let node = root;
  for (let depth = 0; typeof node === "object" && node !== null; depth++) {
    const parent = node as Record<string, Json>;
    const keys = Object.keys(parent);
    if (keys.length === 0) break;
    const key = draw(keys);
    node = parent[key]!;
    if (typeof node === "object" && node !== null && depth < 8 && next() < 0.7) continue;
    if (next() < 0.15) delete parent[key];
    else if (next() < 0.2) parent[String(draw(VALUES)()).slice(0, 1000)] = node;
    else parent[key] = draw(VALUES)();
    break;
  }
  try {
    return Buffer.from(JSON.stringify(root).replace(`"${DEEP}"`, BRACKETS));
  } catch {
    return content;
  }
}

function text(content: Buffer, draw: Draw, next: () => number): Buffer {
  const at = Math.floor(next() * content.length);
  const inserted = draw(["[".repeat(1e6), '{"a":'.repeat(1e5), '"', "\0", "1e999", "9".repeat(1e5), ",,", "\ufeff"]);
  return Buffer.concat([content.subarray(0, at), Buffer.from(inserted), content.subarray(at)]);
}

function bytes(content: Buffer, draw: Draw, next: () => number): Buffer {
  const copy = Buffer.from(content);
  for (let left = draw([1, 2, 8]); left > 0; left--) copy[place(copy, next)] = draw([0, 1, 9, 0x7f, 0x80, 0xff, 0x22]);
  return copy;
}

/** A number of eight or four bytes: a length, a count, an offset. */
function size(content: Buffer, draw: Draw, next: () => number): Buffer {
  const copy = Buffer.from(content);
  const at = Math.min(place(copy, next), copy.length - 8);
  const value = draw([0n, 1n, 9n, 0xffn, 0xffffn, 1n << 20n, 1n << 26n, 120_000_000n, 1n << 31n, 1n << 40n, 1n << 63n]);
  if (next() < 0.5) copy.writeBigUInt64LE(value, Math.max(at, 0));
  else copy.writeUInt32LE(Number(value & 0xffffffffn), Math.max(at, 0));
  return copy;
}

function short(content: Buffer, _: Draw, next: () => number): Buffer {
  return content.subarray(0, Math.max(16, Math.floor(next() * content.length)));
}

/** More often where headers are. */
function place(content: Buffer, next: () => number): number {
  return Math.floor((next() < 0.7 ? next() ** 2 : next()) * content.length);
}

/** The JSON of a safetensors header, with its length. */
function header(content: Buffer, draw: Draw, next: () => number): Buffer {
  const length = Number(content.readBigUInt64LE(0));
  const json = draw([tree, text])(content.subarray(8, 8 + length), draw, next);
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([start, json, content.subarray(8 + length)]);
}
