/** One message of every kind, fields in the schema's order, with numbers at the edges of their msgpack formats. */
const request = { id: 7, epoch: 1 };
const sizes = { T: 4096, S: 32, B: 33, J: 128, H: 0, D: 65535, Q: 65536 };
const limits = { ...sizes, T: 2 ** 31, H: 2 ** 32 - 1 };
const description = {
  device: "cpu:0",
  backend: "cpu",
  isa: "avx2",
  isas: ["scalar", "avx2"],
  threads: 2,
  memoryTotal: 2 ** 40,
  memoryAvailable: 2 ** 33 + 1,
  baseline: 31_000_000,
  model: "Prüfstand “é”",
};
const allocation = { handle: 2 ** 53 - 1, dtype: "float16", layout: "packed", shape: [49152, 576] };
const shared = { offset: 0, bytes: 2 ** 32 };
const part = { file: "a.safetensors", offset: 2 ** 31 + 8, bytes: 256, type: "Q4_1", rows: 2, columns: 64 };
const { file, ...place } = part;
const slice = { file, name: "experts", ...place, rowRange: [1, 2], columnRange: [0, 33] };

const requests = [
  { kind: "welcome", ...request, protocol: 1, functions: ["my_ops:rotate"] },
  { kind: "describe", ...request },
  { kind: "allocate", ...request, handles: [allocation] },
  {
    kind: "load",
    ...request,
    items: [
      { form: "int8", handle: 1, scale: 2, parts: [part, part] },
      { form: "float", handle: 3, parts: [part] },
      { form: "float", handle: 4, parts: [slice, part] },
    ],
  },
  { kind: "write", ...request, handle: 1, offset: 128 },
  { kind: "write", ...request, handle: 1, offset: 0, shared },
  { kind: "read", ...request, handle: 1, shared },
  { kind: "free", ...request, handles: [1, 128, 256, 65536] },
  { kind: "group", ...request, group: 10, rank: 127, ranks: 1024, shared, deadlineMs: 2 ** 31 - 1 },
  {
    kind: "define",
    ...request,
    program: 9,
    arena: 8,
    group: 10,
    limits,
    workspace: 2 ** 33,
    values: [
      { dtype: "int32", layout: "plain", shape: [{ type: "symbol", symbol: "B+1" }], place: { type: "input" } },
      { dtype: "float32", layout: "plain", shape: [{ type: "fixed", size: 64 }], place: { type: "handle", handle: 4 } },
      { dtype: "float32", layout: "plain", shape: [], place: { type: "arena", offset: 64 } },
      { dtype: "float32", layout: "plain", shape: [], place: { type: "columns", of: 2, column: 16 } },
    ],
    ops: [
      {
        op: "norm",
        inputs: [{ name: "x", value: 2 }],
        outputs: [{ name: "y", value: 3 }],
        attributes: [
          { type: "number", name: "eps", number: 1e-5 },
          { type: "number", name: "scale", number: 1 },
          { type: "integer", name: "headDim", integer: -(2 ** 53 - 1) },
          { type: "boolean", name: "unitOffset", boolean: false },
          { type: "enum", name: "kind", value: "rms" },
        ],
      },
    ],
    inputs: [0],
    outputs: [3],
  },
  { kind: "step", ...request, program: 9, sizes },
  {
    kind: "call",
    ...request,
    function: "my_ops:rotate",
    handles: [1],
    options: [
      { name: "a", type: "string", string: "x".repeat(300) },
      { name: "b", type: "number", number: -0.5 },
      { name: "c", type: "integer", integer: -(2 ** 31) - 1 },
      { name: "d", type: "boolean", boolean: true },
      { name: "e", type: "numbers", numbers: [1.5, 1e300] },
    ],
    results: [10],
  },
  { kind: "stats", ...request },
  { kind: "drain", ...request },
  { kind: "bye", id: 2 ** 32, epoch: 2 ** 53 - 1 },
];

const statistics = {
  resident: 1,
  anonymous: 2,
  handleBytes: 2 ** 35,
  handleResident: 2 ** 34,
  handles: 3,
  steps: 4,
  stepTime: 2 ** 50,
};
const replies = [
  { kind: "ok", ...request },
  { kind: "ok", ...request, description, statistics, bytes: 2 ** 34, results: [allocation] },
  { kind: "ok", ...request, counters: { quantized: 17280, carries: 57, nonfinite: 0, nanoseconds: 15_000_000 } },
  { kind: "ok", ...request, workspace: 2 ** 33, launches: [0, 1, 4] },
  { kind: "progress", ...request, done: 1, total: 2 ** 33 },
  { kind: "error", ...request, code: "OCTAVO_BAD_ARGUMENT", message: "no handle 12", retryable: false },
];

const hello = {
  kind: "hello",
  protocol: 1,
  token: "t".repeat(32),
  pid: 4242,
  versions: { python: "3.11.2", worker: "0.1.0", kernels: "0.1.0" },
  description,
};

export const valid = [
  ...requests.map((value) => ({ type: "request", value })),
  ...replies.map((value) => ({ type: "reply", value })),
  { type: "hello", value: hello },
];
