/** What a bridge operation costs does not grow with how many handles are alive: if this fails, freeing many takes minutes. */
import { afterEach, expect, test, vi } from "vitest";
import { Pool } from "../ts/pool.ts";
import { DEVICE } from "./support/devices.ts";

const LIVE = 2000;

afterEach(() => vi.restoreAllMocks());

test("no operation goes through the live handles", async () => {
  await using pool = await Pool.start({ devices: DEVICE, threads: 1 });
  const device = pool.devices[0]!;
  const spec = { dtype: "int8", layout: "plain", shape: [1], kind: "user", owner: "test" } as const;
  const live = await device.allocate(Array.from({ length: LIVE }, () => spec));

  // Counted, not timed: whoever walks through a map or a set as large as that has walked through the handles.
  const walks: string[] = [];
  for (const kind of [Map, Set]) {
    const prototype = kind.prototype as unknown as Record<PropertyKey, (...given: unknown[]) => unknown>;
    for (const name of ["keys", "values", "entries", "forEach", Symbol.iterator] as const) {
      const original = prototype[name]!;
      vi.spyOn(prototype, name).mockImplementation(function (this: Map<unknown, unknown>, ...given: unknown[]) {
        if (this.size >= LIVE) walks.push(new Error(String(name)).stack ?? "");
        return original.apply(this, given);
      });
    }
  }
  const x = await device.tensor([1, 2], { shape: [1, 2] });
  const y = await x.add(x);
  expect(await y.read()).toEqual(Float32Array.of(2, 4));
  const w = await device.quantize([1, 2], { shape: [1, 2] });
  const z = await x.linear(w);
  for (const handle of [x, y, w, z]) await handle.dispose();
  for (const handle of live.slice(0, 10)) await handle.dispose();
  expect(walks).toEqual([]);
  vi.restoreAllMocks();
  expect(device.ledger.entries()).toHaveLength(LIVE - 10);
});
