import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DTYPES } from "../protocol/ops.ts";
import { formatBytes, parseBytes } from "./bytes.ts";
import { isDeviceNames, parseDeviceNames, parseDeviceSizes } from "./plan/devices.ts";
import { allocatedBytes, contentBytes } from "./program/tensor-bytes.ts";

describe("bytes of a tensor", () => {
  it("are whole cache lines that hold the content, in every layout", () => {
    const size = fc.integer({ min: 0, max: 5000 });
    fc.assert(
      fc.property(fc.constantFrom(...DTYPES), fc.constantFrom("plain", "packed"), size, size, (dtype, layout, n, k) => {
        const bytes = allocatedBytes(dtype, layout, [n, k]);
        expect(bytes % 64).toBe(0);
        expect(bytes).toBeGreaterThanOrEqual(Math.max(64, contentBytes(dtype, [n, k])));
      }),
    );
  });

  it("follow the formula that workers use, so that ledger and worker agree", () => {
    expect(allocatedBytes("int8", "packed", [17, 65])).toBe(32 * 128);
    expect(allocatedBytes("float16", "packed", [17, 65])).toBe(4160); // 32 * 65 * 2 = 4160
    expect(allocatedBytes("float32", "plain", [])).toBe(64);
    expect(allocatedBytes("float32", "plain", [3, 7])).toBe(128);
    expect(() => allocatedBytes("int8", "packed", [4])).toThrow(/\[N, K\]/);
  });

  it("are read and written with units", () => {
    expect(parseBytes("24GiB")).toBe(24 * 2 ** 30);
    expect(parseBytes("1.5 kb")).toBe(1500);
    expect(() => parseBytes("many")).toThrow(/not a number of bytes/);
    expect(formatBytes(1536)).toBe("1.50 KiB");
    expect(formatBytes(-100)).toBe("-100 B");
  });
});

describe("device lists", () => {
  it("name devices, each once", () => {
    expect(parseDeviceNames("auto").map((d) => d.name)).toEqual(["cpu:0"]);
    expect(parseDeviceNames("cpu:0, cpu:1").map((d) => d.index)).toEqual([0, 1]);
    expect(() => parseDeviceNames(["cpu:0", "cpu"])).toThrow(/listed twice/);
    expect(() => parseDeviceNames("gpu:0")).toThrow(/not a device/);
  });

  it("or give sizes of devices that are not here", () => {
    expect(parseDeviceSizes("2x24GiB,12GiB").map((d) => d.total / 2 ** 30)).toEqual([24, 24, 12]);
    expect(isDeviceNames("cpu:0,cpu:1")).toBe(true);
    expect(isDeviceNames("8x24GiB")).toBe(false);
  });
});
