/** Names that are read but told nowhere, or told but read nowhere, cost a user an evening. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ENVIRONMENT, RENAMED } from "./environment.ts";
import { ERRORS } from "./errors.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FOLDERS = ["ts", "protocol", "test", "kernels", "worker", "tools", "docs", "bench", "examples"];
const KNOWN = new Set([...Object.keys(ENVIRONMENT), ...Object.keys(RENAMED), ...Object.keys(ERRORS)]);
const files = FOLDERS.flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => /\.(ts|mjs|py|sh|md|h|cpp)$/.test(path) && !/(^|\/)(build|node_modules|fixtures)\//.test(path))
    .map((path) => ({ path: `${folder}/${path}`, text: readFileSync(join(ROOT, folder, path), "utf8") })),
);
const isCpp = (path: string) => /\.(h|cpp)$/.test(path);

/** Each first group of `pattern` that is not in the tables, with its file. */
function unknown(pattern: RegExp, chosen: typeof files): string[] {
  return chosen.flatMap(({ path, text }) =>
    [...text.matchAll(pattern)].filter(([, name]) => !KNOWN.has(name!)).map(([, name]) => `${path}: ${name}`),
  );
}

test("every OCTAVO_ name in code and documents is an error code or a variable of the table", () => {
  const others = files.filter(({ path }) => !isCpp(path) && !/(-cpp|\.test)\.ts$/.test(path));
  expect(others.length).toBeGreaterThan(300);
  expect(unknown(/\b(OCTAVO_[A-Z0-9_]*[A-Z0-9])\b/g, others)).toEqual([]);
});

test("every variable that is read is in the table, in the language's generated or typed name", () => {
  const product = files.filter(({ path }) => /^(ts|worker\/octavo_worker|kernels\/octavo_kernels)\//.test(path));
  const tested = product.filter(({ path }) => !path.endsWith(".test.ts"));
  expect(unknown(/(?:process\.env\.|environ(?:\.get|\.pop)?[([]")([A-Z][A-Z0-9_]+)/g, tested)).toEqual([]);
  expect(tested.filter(({ path, text }) => isCpp(path) && text.includes("getenv("))).toEqual([]);
});

test("Python names neither codes nor variables by strings: a typo would be found by nobody", () => {
  const python = files.filter(({ path }) =>
    /^(worker\/octavo_worker|kernels\/(octavo_kernels|proofs))\/.*\.py$/.test(path),
  );
  const literals = python.flatMap(({ path, text }) =>
    path.includes("/generated/") ? [] : [...text.matchAll(/["'](OCTAVO_[A-Z_]+)["']/g)].map(([, name]) => [path, name]),
  );
  // That `octavo_kernels`, which has the codes, is missing can only be said without it.
  expect(literals).toEqual([["worker/octavo_worker/__main__.py", "OCTAVO_MISSING_DEPENDENCY"]]);
});
