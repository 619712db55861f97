import { expect, it } from "vitest";
import { formatScheme, parseSchemes, SCHEMES } from "./scheme.ts";

it("knows the twelve schemes of the paper's table by name: a script that names one gets that one", () => {
  expect(SCHEMES.size).toBe(12);
  for (const [name, scheme] of SCHEMES) expect([formatScheme(scheme), parseSchemes(name)]).toEqual([name, [scheme]]);
  expect(parseSchemes("absmax-tensor, zeropoint-row-decomposed")).toEqual([
    { codes: "absmax", scope: "tensor", threshold: 0 },
    { codes: "zeropoint", scope: "row", threshold: 6 },
  ]);
  expect(parseSchemes("all")).toEqual([...SCHEMES.values()]);
});

it("refuses other names with those that there are", () => {
  expect(() => parseSchemes("absmax-column")).toThrow(/"absmax-column".*absmax-tensor.*zeropoint-vector-decomposed/);
  expect(() => parseSchemes("")).toThrow(expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT" }));
});
