import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { OctavoError } from "../ts/errors.ts";
import { decodeHello, decodeReply, encodeRequest } from "../ts/workers/codec.ts";
import { operations } from "./golden/operations.ts";
import { MAX_HEADER_BYTES, type RequestMessage } from "./messages.ts";

interface Vector {
  readonly name: string;
  readonly type: "request" | "reply" | "hello";
  readonly hex: string;
  readonly value: object & { kind: string };
  readonly repeat?: { hex: string; times: number };
}
const read = (name: string): Vector[] =>
  JSON.parse(readFileSync(new URL(`golden/${name}.json`, import.meta.url), "utf8"));

describe("both languages read and write the same bytes", () => {
  for (const [index, { type, hex, value }] of read("valid").entries()) {
    test(`${index} ${type} ${value.kind}`, () => {
      if (type === "request") {
        expect(encodeRequest(value as RequestMessage).toString("hex")).toBe(hex);
        return;
      }
      const decoded = type === "reply" ? decodeReply(Buffer.from(hex, "hex")) : decodeHello(Buffer.from(hex, "hex"));
      expect(decoded).toEqual(value);
    });
  }
});

describe("a hostile reply is refused with a code", () => {
  for (const { name, type, hex, repeat } of read("hostile")) {
    if (type !== "reply") continue;
    test(name, () => {
      const bytes = Buffer.from(hex + (repeat ? repeat.hex.repeat(repeat.times) : ""), "hex");
      expect(() => decodeReply(bytes)).toThrow(OctavoError);
    });
  }
  test("a header over the limit", () => {
    expect(() => decodeReply(Buffer.alloc(MAX_HEADER_BYTES + 1, 0x91))).toThrow(/at most/);
  });
});

test("a request that the worker would refuse is not sent", () => {
  const call: RequestMessage = {
    kind: "call",
    id: 1,
    epoch: 1,
    function: "f",
    handles: [],
    options: [{ name: "x", type: "number", number: Number.NaN }],
    results: [],
  };
  expect(() => encodeRequest(call)).toThrow(/options/);
});

test("the builder says of each op what it said when the vectors were written, with a code", () => {
  expect(operations).toEqual(JSON.parse(readFileSync(new URL("golden/operations.json", import.meta.url), "utf8")));
});
