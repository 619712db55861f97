/** What a broken or hostile peer may send: each must be refused with OCTAVO_PROTOCOL. Bytes are put together by hand. */
type Entry = readonly [key: Buffer, value: Buffer];

const hex = (digits: string) => Buffer.from(digits, "hex");
const text = (value: string) => Buffer.concat([Buffer.from([0xa0 + value.length]), Buffer.from(value)]);
const list = (one: Buffer) => Buffer.concat([hex("91"), one]);
const map = (...entries: readonly Entry[]) => Buffer.concat([Buffer.from([0x80 + entries.length]), ...entries.flat()]);

interface Base {
  readonly type: "request" | "reply";
  readonly kind: Entry;
  readonly id: Entry;
  readonly epoch: Entry;
}
const bases: readonly Base[] = [
  {
    type: "request",
    kind: [text("kind"), text("describe")],
    id: [text("id"), hex("07")],
    epoch: [text("epoch"), hex("01")],
  },
  { type: "reply", kind: [text("kind"), text("ok")], id: [text("id"), hex("07")], epoch: [text("epoch"), hex("01")] },
];

function attacks({ kind, id, epoch }: Base): Record<string, Buffer> {
  const good = map(kind, id, epoch);
  const withId = (digits: string) => map(kind, [text("id"), hex(digits)], epoch);
  const extra = (key: Buffer, value: Buffer) => map(kind, id, epoch, [key, value]);
  return {
    "empty frame": hex(""),
    truncated: good.subarray(0, -1),
    "trailing bytes": Buffer.concat([good, hex("c0")]),
    "two values": Buffer.concat([good, good]),
    "not a map": hex("93010203"),
    "depth bomb": extra(text("deep"), Buffer.alloc(100_000, 0x91)),
    "bare depth bomb": Buffer.alloc(100_000, 0x91),
    "key given twice": map(kind, id, epoch, id),
    "prototype key": extra(text("__proto__"), map()),
    "constructor key": extra(text("constructor"), hex("01")),
    "unknown field": extra(text("more"), hex("01")),
    "unknown kind": map([text("kind"), text("pickle")], id, epoch),
    "missing kind": map(id, epoch),
    "missing field": map(kind, id),
    "number as kind": map([text("kind"), hex("01")], id, epoch),
    "key that is not a string": extra(hex("01"), hex("01")),
    "2^53": withId("cf0020000000000000"),
    "2^53 + 1": withId("cf0020000000000001"),
    "2^64 - 1": withId("cfffffffffffffffff"),
    "negative count": withId("ff"),
    "negative 64-bit count": withId("d3ffffffffffffffff"),
    "float for an integer": withId("cb3ff0000000000000"),
    "float32 for an integer": withId("ca3f800000"),
    "NaN for an integer": withId("cb7ff8000000000000"),
    "string for an integer": withId("a137"),
    "boolean for an integer": withId("c3"),
    "nil for an integer": withId("c0"),
    "binary for a string": map([text("kind"), hex("c4026f6b")], id, epoch),
    "extension type": withId("d40700"),
    "timestamp extension": withId("d6ff00000000"),
    "unused type": withId("c1"),
    "map claiming 2^32 - 1 entries": hex("dfffffffff"),
    "array claiming 2^32 - 1 elements": extra(text("a"), hex("ddffffffff")),
    "string claiming 2^32 - 1 bytes": withId("dbffffffff"),
  };
}

/** A number attribute of `call` with these eight bytes. */
function callWithNumber(float: string): Buffer {
  const option = map([text("name"), text("x")], [text("type"), text("number")], [text("number"), hex(`cb${float}`)]);
  return map(
    [text("kind"), text("call")],
    [text("id"), hex("07")],
    [text("epoch"), hex("01")],
    [text("function"), text("f")],
    [text("handles"), hex("90")],
    [text("options"), list(option)],
    [text("results"), hex("90")],
  );
}

/** A `load` whose only part takes these rows. */
function loadOfRows(range: string): Buffer {
  const part = map(
    [text("file"), text("f")],
    [text("offset"), hex("00")],
    [text("bytes"), hex("08")],
    [text("type"), text("F32")],
    [text("rows"), hex("02")],
    [text("columns"), hex("01")],
    [text("rowRange"), hex(range)],
  );
  const item = map([text("form"), text("float")], [text("handle"), hex("01")], [text("parts"), list(part)]);
  return map(
    [text("kind"), text("load")],
    [text("id"), hex("07")],
    [text("epoch"), hex("01")],
    [text("items"), list(item)],
  );
}

/** A `group`; each of these is right unless it is given. */
function groupWith({
  rank = "00",
  ranks = "02",
  deadline = "01",
  shared = map([text("offset"), hex("00")], [text("bytes"), hex("01")]),
}): Buffer {
  return map(
    [text("kind"), text("group")],
    [text("id"), hex("07")],
    [text("epoch"), hex("01")],
    [text("group"), hex("05")],
    [text("rank"), hex(rank)],
    [text("ranks"), hex(ranks)],
    [text("shared"), shared],
    [text("deadlineMs"), hex(deadline)],
  );
}

export const hostile = [
  ...bases.flatMap((base) =>
    Object.entries(attacks(base))
      // 100,000 bytes of 0x91 would drown the file: "repeat" says how often `hex` is meant.
      .map(([name, bytes]) => ({ name, type: base.type, ...shorten(bytes) })),
  ),
  { name: "NaN number", type: "request", hex: callWithNumber("7ff8000000000000").toString("hex") },
  { name: "infinite number", type: "request", hex: callWithNumber("7ff0000000000000").toString("hex") },
  { name: "minus infinite number", type: "request", hex: callWithNumber("fff0000000000000").toString("hex") },
  { name: "range without an end", type: "request", hex: loadOfRows("9100").toString("hex") },
  { name: "range of three numbers", type: "request", hex: loadOfRows("93000102").toString("hex") },
  { name: "negative start of a range", type: "request", hex: loadOfRows("92ff01").toString("hex") },
  { name: "fraction in a range", type: "request", hex: loadOfRows("9200cb3fe0000000000000").toString("hex") },
  { name: "end of a range at 2^53", type: "request", hex: loadOfRows("9200cf0020000000000000").toString("hex") },
  { name: "number as a range", type: "request", hex: loadOfRows("01").toString("hex") },
  { name: "negative rank", type: "request", hex: groupWith({ rank: "ff" }).toString("hex") },
  { name: "group of no ranks", type: "request", hex: groupWith({ ranks: "00" }).toString("hex") },
  { name: "group of 1025 ranks", type: "request", hex: groupWith({ ranks: "cd0401" }).toString("hex") },
  { name: "group without patience", type: "request", hex: groupWith({ deadline: "00" }).toString("hex") },
  { name: "deadline of 2^31 ms", type: "request", hex: groupWith({ deadline: "ce80000000" }).toString("hex") },
  { name: "group without shared memory", type: "request", hex: groupWith({ shared: hex("c0") }).toString("hex") },
  {
    name: "shared memory without a size",
    type: "request",
    hex: groupWith({ shared: map([text("offset"), hex("00")]) }).toString("hex"),
  },
];

/** `hex` then, `repeat.times` times, `repeat.hex`. */
function shorten(bytes: Buffer): { hex: string; repeat?: { hex: string; times: number } } {
  if (bytes.length < 1000) return { hex: bytes.toString("hex") };
  const head = bytes.length - 100_000;
  return { hex: bytes.subarray(0, head).toString("hex"), repeat: { hex: "91", times: 100_000 } };
}
