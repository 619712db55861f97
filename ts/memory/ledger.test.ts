import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DeviceLedger, HANDLE_KINDS, type LedgerEntry } from "./ledger.ts";

const entry = fc.record({
  handle: fc.integer({ min: 1, max: 20 }),
  bytes: fc.integer({ min: 0, max: 2 ** 40 }),
  kind: fc.constantFrom(...HANDLE_KINDS),
});
const action = fc.record({ what: fc.constantFrom("reserve", "commit", "release"), entry });

function full(part: { handle: number; bytes: number; kind: (typeof HANDLE_KINDS)[number] }): LedgerEntry {
  return { ...part, dtype: "int8", layout: "plain", shape: [part.bytes], owner: "test" };
}

describe("DeviceLedger", () => {
  it("has totals that equal the sum of its live entries, after any history", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 100 }), (history) => {
        const ledger = new DeviceLedger("cpu:0");
        for (const { what, entry } of history) {
          try {
            if (what === "reserve") ledger.reserve(full(entry));
            else if (what === "commit") ledger.commit(entry.handle);
            else ledger.release(entry.handle);
          } catch (error) {
            expect(error).toHaveProperty("code"); // refused whole: the totals below must still agree
          }
        }
        const live = ledger.entries();
        const sum = (state: string) => live.filter((e) => e.state === state).reduce((total, e) => total + e.bytes, 0);
        expect(ledger.reserved).toBe(sum("reserved"));
        expect(ledger.committed).toBe(sum("committed"));
        const report = ledger.report({ anonymous: 12345, handleResident: 2345 });
        expect(report.resident + report.unattributed).toBe(report.measured);
        expect(Object.values(report.byKind).reduce((a, b) => a + b, 0)).toBe(report.reserved + report.committed);
        ledger.releaseAll();
        expect([ledger.reserved, ledger.committed]).toEqual([0, 0]);
      }),
    );
  });

  it("refuses a handle twice, unknown handles and impossible sizes, with a code", () => {
    const ledger = new DeviceLedger("cpu:0");
    ledger.reserve(full({ handle: 1, bytes: 64, kind: "user" }));
    expect(() => ledger.reserve(full({ handle: 1, bytes: 64, kind: "user" }))).toThrow(/handle 1 is in the ledger/);
    expect(() => ledger.release(2)).toThrow(/handle 2/);
    expect(() => ledger.reserve(full({ handle: 3, bytes: -1, kind: "user" }))).toThrow(/-1 bytes/);
    expect(ledger.reserved).toBe(64);
  });

  it("keeps plans by owner, apart from what was really asked for", () => {
    const ledger = new DeviceLedger("cpu:0");
    ledger.plan("a", { weight: 100 });
    ledger.plan("b", { kv: 10 });
    ledger.plan("a", { weight: 50 });
    expect([ledger.planned, ledger.reserved]).toEqual([60, 0]);
    ledger.plan("b", {});
    expect(ledger.planned).toBe(50);
  });

  it("knows the workspace by its size alone, and that it goes with the worker", () => {
    const ledger = new DeviceLedger("cpu:0");
    ledger.workspace(640);
    ledger.workspace(1280);
    expect([ledger.committed, ledger.report({ anonymous: 0, handleResident: 0 }).byKind.workspace]).toEqual([
      1280, 1280,
    ]);
    ledger.workspace(64);
    ledger.releaseAll();
    expect(ledger.committed).toBe(0);
  });

  it("books every byte in use of a GPU, and of a CPU every byte of the worker", () => {
    const ledger = new DeviceLedger("cuda:0");
    ledger.reserve(full({ handle: 1, bytes: 4096, kind: "weight" }));
    ledger.commit(1);
    const touched = { anonymous: 5000, handleResident: 4000 };
    expect(ledger.report(touched)).toMatchObject({
      committed: 4096,
      measured: 5000,
      resident: 4000,
      unattributed: 1000,
    });
    const report = ledger.report({ anonymous: 5000, deviceUsed: 2 ** 30, handleResident: 4096 });
    expect(report.committed + report.unattributed).toBe(2 ** 30);
    expect(report.measured).toBe(2 ** 30);
  });
});
