import { expect, test } from "vitest";
import { isDeviceNames, parseDeviceNames, parseDeviceSizes } from "./devices.ts";

const names = (devices: string | string[]) => parseDeviceNames(devices).map(({ name }) => name);

test("devices are read as users write them", () => {
  expect(names("auto")).toEqual(["cpu:0"]);
  expect(parseDeviceNames("auto", "cuda:0")).toEqual([{ name: "cuda:0", backend: "cuda", index: 0 }]);
  expect(names("triton-interpreter")).toEqual(["triton-interpreter:0"]);
  expect(names("cpu")).toEqual(["cpu:0"]);
  expect(parseDeviceNames("auto", "cuda:1", 2).map(({ name }) => name)).toEqual(["cuda:1", "cuda:2"]);
  expect(names("cpu:0, cpu:1")).toEqual(["cpu:0", "cpu:1"]);
  expect(names(["reference:3", "cuda:0,cuda:1"])).toEqual(["reference:3", "cuda:0", "cuda:1"]);
});

test("a device that is none, or is listed twice, is refused with what there is", () => {
  for (const wrong of ["", "gpu:0", "cpu:-1", "cpu:x", "cpu:0,,cpu:1"]) {
    expect(() => parseDeviceNames(wrong)).toThrow("reference:0");
  }
  expect(() => parseDeviceNames("cpu:0,auto")).toThrow("twice");
  expect(() => parseDeviceNames([])).toThrow("cpu:0");
  expect(() => parseDeviceNames("auto", "gpu:0")).toThrow("gpu:0");
});

test("sizes of imagined devices, for planning", () => {
  expect(parseDeviceSizes("2x24GiB, 1000")).toEqual([
    { name: "device:0", total: 24 * 2 ** 30 },
    { name: "device:1", total: 24 * 2 ** 30 },
    { name: "device:2", total: 1000 },
  ]);
  expect(() => parseDeviceSizes("many")).toThrow("many");
});

test("names and sizes are told apart", () => {
  expect(["auto", "cpu:0", "cpu:0,cpu:1"].map(isDeviceNames)).toEqual([true, true, true]);
  expect(["8x24GiB", "24GiB,12GiB", "100"].map(isDeviceNames)).toEqual([false, false, false]);
});
