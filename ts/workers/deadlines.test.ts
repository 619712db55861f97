import { expect, test } from "vitest";
import type { Allocation } from "../../protocol/messages.ts";
import { deadlineOf } from "./deadlines.ts";

test("a message that carries much has the time for it; one that does not, half a minute", () => {
  expect(deadlineOf({ kind: "stats" })).toBe(30_000);
  const part = { file: "f", offset: 0, bytes: 2 ** 30, type: "F16", rows: 2 ** 15, columns: 2 ** 14 } as const;
  const load = deadlineOf({ kind: "load", items: [{ form: "float", handle: 1, parts: [part] }] });
  expect(load).toBeGreaterThan(200_000); // An output layer from a disk of 5 MB/s.
  const kv = { handle: 1, dtype: "float16", layout: "plain", shape: [2 ** 35] } satisfies Allocation;
  expect(deadlineOf({ kind: "allocate", handles: [kv] })).toBeGreaterThan(600_000); // 64 GB, zeroed.
});
