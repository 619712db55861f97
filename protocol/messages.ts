/**
 * The messages between the orchestrator (ROUTER) and a worker (DEALER): one msgpack map as header, then payload frames.
 * The Python side (`worker/octavo_worker/generated/messages.py`) is generated from these schemas: `npm run generate`.
 *
 * Every request carries `kind`, `id` (of the request) and `epoch` (the worker's incarnation); every reply repeats `id` and
 * `epoch`. A request is answered by exactly one `ok` or `error`, after any number of `progress`.
 * Objects are strict: an unknown field is refused, as is everything else that does not fit, before any effect.
 *
 * Only these zod forms are used, because the generator knows only these: strictObject, array, string, int, number,
 * boolean, enum, literal, optional, and discriminatedUnion of strictObjects. An exported schema's name is its Python name.
 */
import { z } from "zod";
import { DTYPES, LAYOUTS, OPS, type OpName } from "./ops.ts";
import { SIZE_NAMES, SIZE_SYMBOLS, type SizeName } from "./sizes.ts";
import { SOURCE_TYPE_NAMES } from "./source-types.ts";

/** Raised whenever either side would misread the other. Both sides must be equal. */
export const PROTOCOL_VERSION = 5;
/** Largest header, in bytes. Big arrays travel as payload frames. */
export const MAX_HEADER_BYTES = 16 * 1024 * 1024;
/** Deepest nesting of a header. */
export const MAX_DEPTH = 16;
/** Payloads from this size on travel through /dev/shm between processes of one machine. */
export const SHARED_MEMORY_THRESHOLD = 256 * 1024;
/** Most ranks of a group. */
export const MAX_RANKS = 1024;
/** Arrays inside a `step` payload start at multiples of this many bytes. */
export const PAYLOAD_ALIGNMENT = 64;

const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const handle = z.int().min(1).max(Number.MAX_SAFE_INTEGER);
const name = z.string().max(256);
const dtype = z.enum(DTYPES);
const layout = z.enum(LAYOUTS);
const opName = z.enum(Object.keys(OPS) as [OpName, ...OpName[]]);

const request = { id: count, epoch: count };

/** `bytes` from `offset` on of the memory that orchestrator and worker share are the payload. */
export const sharedMemory = z.strictObject({ offset: count, bytes: count });

export const deviceDescription = z.strictObject({
  device: name,
  backend: z.enum(["cpu", "reference", "cuda", "triton-interpreter"]),
  /** Instruction set in use, and those this machine could use. Of a GPU its architecture: "sm_90". */
  isa: name,
  isas: z.array(name).max(16),
  threads: count,
  /**
   * Bytes of the device (the machine's for CPU backends, the GPU's own for cuda): all of them, and those not in use by
   * anybody when the worker was ready, or when it was asked for this, its baseline taken.
   */
  memoryTotal: count,
  memoryAvailable: count,
  /** Bytes of the device that the worker takes before any handle: resident ones of the process, a GPU's context. */
  baseline: count,
  /** What the machine calls the processor or the GPU. */
  model: name,
});

export const allocation = z.strictObject({
  handle,
  dtype,
  layout,
  shape: z.array(count).max(8),
});

/** From the first one taken to the first one behind them. */
const range = z.array(count).min(2).max(2);

/** A tensor in a file, as a matrix: its last dimension are the columns, all others, flattened, the rows; a vector is one row. */
export const sourcePart = z.strictObject({
  file: z.string().max(4096),
  /** Of the tensor, for errors. */
  name: z.string().max(1024).optional(),
  /** All of the tensor: where it lies in the file, and its size. */
  offset: count,
  bytes: count,
  type: z.enum(SOURCE_TYPE_NAMES),
  rows: count,
  columns: count,
  /** What is taken of it; absent: all. */
  rowRange: range.optional(),
  columnRange: range.optional(),
});

/** Parts of one item: experts times shards. Their number is bounded so that an item fits a header. */
export const MAX_PARTS = 16_384;

/** One tensor to load: what is taken of the parts is stacked by rows, converted, and written into handles made by `allocate`. */
export const loadItem = z.strictObject({
  /**
   * `int8` quantises into `handle` (packed codes) and `scale` (float32 [rows]), the largest magnitude of each whole row of the
   * file, whatever columns are taken; else a conversion to the handle's dtype and layout.
   */
  form: z.enum(["int8", "float"]),
  handle,
  scale: handle.optional(),
  parts: z.array(sourcePart).min(1).max(MAX_PARTS),
});

/** A symbolic size of a program, or a number. Bound by `sizes` in each step. */
export const dimension = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("fixed"), size: count }),
  z.strictObject({ type: z.literal("symbol"), symbol: z.enum(SIZE_SYMBOLS) }),
]);

/** Where a program's value lives. */
export const place = z.discriminatedUnion("type", [
  /** Made by `allocate`, `load`, or another program. */
  z.strictObject({ type: z.literal("handle"), handle }),
  /** At a fixed offset of the program's arena. */
  z.strictObject({ type: z.literal("arena"), offset: count }),
  /** Comes with each step, in the order of `inputs`. */
  z.strictObject({ type: z.literal("input") }),
  /** Columns `column ...` of each row of an earlier value. */
  z.strictObject({ type: z.literal("columns"), of: count, column: count }),
]);

/** `values[i]` has id i. Rank 1 or 2 (KV caches: 4). */
export const value = z.strictObject({ dtype, layout, shape: z.array(dimension).max(8), place });

export const operand = z.strictObject({ name, value: count });
export const attribute = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("number"), name, number: z.number() }),
  z.strictObject({
    type: z.literal("integer"),
    name,
    integer: z
      .int()
      .min(-(2 ** 53))
      .max(2 ** 53),
  }),
  z.strictObject({ type: z.literal("boolean"), name, boolean: z.boolean() }),
  z.strictObject({ type: z.literal("enum"), name, value: name }),
]);
export const operation = z.strictObject({
  op: opName,
  inputs: z.array(operand).max(32),
  outputs: z.array(operand).max(16),
  attributes: z.array(attribute).max(32),
});

export const sizes = z.strictObject(
  Object.fromEntries(SIZE_NAMES.map((size) => [size, count])) as Record<SizeName, typeof count>,
);

/** A `call` option: strings, numbers, booleans, and lists of numbers. */
export const callOption = z.discriminatedUnion("type", [
  z.strictObject({ name, type: z.literal("string"), string: z.string().max(65536) }),
  z.strictObject({ name, type: z.literal("number"), number: z.number() }),
  z.strictObject({
    name,
    type: z.literal("integer"),
    integer: z
      .int()
      .min(-(2 ** 53))
      .max(2 ** 53),
  }),
  z.strictObject({ name, type: z.literal("boolean"), boolean: z.boolean() }),
  z.strictObject({ name, type: z.literal("numbers"), numbers: z.array(z.number()).max(65536) }),
]);

export const versions = z.strictObject({ python: name, worker: name, kernels: name });

/** Worker to orchestrator, unasked, as its first message. */
export const hello = z.strictObject({
  kind: z.literal("hello"),
  protocol: count,
  /** The secret word of the launch, so that a stranger or a late process of an earlier launch is not taken for this one. */
  token: z.string().max(128),
  pid: count,
  versions,
  description: deviceDescription,
});

/** Orchestrator to worker. */
export const requests = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("welcome"), ...request, protocol: count, functions: z.array(name).max(1024) }),
  z.strictObject({ kind: z.literal("describe"), ...request }),
  /** Memory for handles, zeroed. All or nothing. */
  z.strictObject({ kind: z.literal("allocate"), ...request, handles: z.array(allocation).min(1).max(65536) }),
  z.strictObject({ kind: z.literal("load"), ...request, items: z.array(loadItem).min(1).max(65536) }),
  /** Payload (frame or shared memory) into a plain handle, from byte `offset` on. */
  z.strictObject({ kind: z.literal("write"), ...request, handle, offset: count, shared: sharedMemory.optional() }),
  /** The whole handle, row-major whatever its layout, or `bytes` from `offset` on of a plain one; as a frame or into shared memory. */
  z.strictObject({
    kind: z.literal("read"),
    ...request,
    handle,
    offset: count.optional(),
    bytes: count.optional(),
    shared: sharedMemory.optional(),
  }),
  /** Tensors and programs. Unknown handles are errors. */
  z.strictObject({ kind: z.literal("free"), ...request, handles: z.array(handle).min(1).max(65536) }),
  /**
   * Make this worker rank `rank` of a group that runs programs together; `group` is a handle, freed as one. Ranks meet in
   * `shared`, the same bytes for all of them, zeroed before the first is asked. A rank that waits there longer than
   * `deadlineMs` for another one, or finds the abort word set, fails its step; the group is then of no further use.
   */
  z.strictObject({
    kind: z.literal("group"),
    ...request,
    group: handle,
    rank: count,
    ranks: z.int().min(1).max(MAX_RANKS),
    /** One after the other, of equally many ranks; absent: one. `gather` is among the ranks of a stage. */
    stages: z.int().min(1).max(MAX_RANKS).optional(),
    shared: sharedMemory,
    deadlineMs: z
      .int()
      .min(1)
      .max(2 ** 31 - 1),
  }),
  /** A program: `program` is a handle too. `arena` is a handle of at least the bytes its offsets need, absent when none is used. */
  z.strictObject({
    kind: z.literal("define"),
    ...request,
    program: handle,
    arena: handle.optional(),
    /** Whose collectives it runs; a program without any needs none. */
    group: handle.optional(),
    /** Largest sizes a step may have; the arena was laid out for these. */
    limits: sizes,
    /** Bytes that the device's workspace is to have at least, for programs that follow; the program's own need counts anyway. */
    workspace: count.optional(),
    values: z.array(value).max(1048576),
    ops: z.array(operation).max(262144),
    /** Values that each step brings, in the order of their arrays in the payload. */
    inputs: z.array(count).max(64),
    /** Values that each step returns, likewise. */
    outputs: z.array(count).max(64),
  }),
  /** Run a program. Payload: the input arrays, each at the next multiple of PAYLOAD_ALIGNMENT. The reply's payload: the outputs, likewise. */
  z.strictObject({
    kind: z.literal("step"),
    ...request,
    program: handle,
    sizes,
    /** Also answer how long each op took; the step itself becomes a little slower. */
    profile: z.boolean().optional(),
    /** Also look for NaN and infinity in what each op writes; the step becomes several times slower. */
    check: z.boolean().optional(),
  }),
  /** Measure what the machine can do at best, with all of the worker's threads; takes about a second. */
  z.strictObject({ kind: z.literal("measure"), ...request }),
  /** A PyTorch function of the pool's allow-list. Results take handle ids from `results`, as many as are needed. */
  z.strictObject({
    kind: z.literal("call"),
    ...request,
    function: name,
    handles: z.array(handle).max(64),
    options: z.array(callOption).max(64),
    results: z.array(handle).max(16),
  }),
  z.strictObject({ kind: z.literal("stats"), ...request }),
  /** Answered when everything before it is done. */
  z.strictObject({ kind: z.literal("drain"), ...request }),
  /** Answered, then the process ends. */
  z.strictObject({ kind: z.literal("bye"), ...request }),
]);

/**
 * What a step counted: elements quantised, of these with a carry, and rows with NaN or infinity that were
 * quantised, sampled, scored or pooled: every such row comes to one of these.
 */
export const counters = z.strictObject({ quantized: count, carries: count, nonfinite: count, nanoseconds: count });

/** Most that this machine does with these threads: the ceilings that `octavo bench --ops` compares with. */
export const ceiling = z.strictObject({
  /** Bytes per second read from memory that no cache holds. */
  readBytes: count,
  /** Int8 multiplications and additions (two per product) per second, operands in registers. */
  int8Operations: count,
  /** float32 multiplications and additions (two per fused multiply-add) per second, operands in registers. */
  float32Operations: count,
});

export const statistics = z.strictObject({
  /** Resident bytes of the process, and of these: anonymous and shared (not file-backed). */
  resident: count,
  anonymous: count,
  /** Bytes in use of a device that has memory of its own (a GPU), by anybody, as its driver counts them. */
  deviceUsed: count.optional(),
  /** Bytes of live tensors and of the workspace, and of these: what the system has really given. Number of live handles. */
  handleBytes: count,
  handleResident: count,
  handles: count,
  steps: count,
  /** Nanoseconds inside steps. */
  stepTime: count,
});

/** Worker to orchestrator, in answer to a request. `ok` carries only what its request asked for. */
export const replies = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("ok"),
    ...request,
    description: deviceDescription.optional(),
    statistics: statistics.optional(),
    counters: counters.optional(),
    /** `step` with `profile`: nanoseconds of each op of the program, in order. */
    profile: z.array(count).max(262144).optional(),
    /** `step` with `check`: the first op whose results hold NaN or infinity; absent when all are finite. */
    nonfinite: count.optional(),
    ceiling: ceiling.optional(),
    /** `read`, through shared memory or not: bytes written. `allocate`, `load`: bytes really taken. */
    bytes: count.optional(),
    /**
     * `define`, `free`: bytes of the device's workspace now, the scratch memory that all programs share. It grows with the
     * programs that are defined, and is given back with the last of them.
     */
    workspace: count.optional(),
    /** `define`, where the backend can say: kernel launches of each op of the program, in order, in a step at the limits. */
    launches: z.array(count).max(262144).optional(),
    /** `call`: what was made, under the first handles of `results`. */
    results: z.array(allocation).max(16).optional(),
  }),
  z.strictObject({ kind: z.literal("progress"), ...request, done: count, total: count }),
  z.strictObject({
    kind: z.literal("error"),
    ...request,
    code: name,
    message: z.string().max(65536),
    retryable: z.boolean(),
  }),
]);

export type Hello = z.infer<typeof hello>;
export type RequestMessage = z.infer<typeof requests>;
export type RequestKind = RequestMessage["kind"];
export type Reply = z.infer<typeof replies>;
export type DeviceDescription = z.infer<typeof deviceDescription>;
export type Allocation = z.infer<typeof allocation>;
export type LoadItem = z.infer<typeof loadItem>;
export type Sizes = z.infer<typeof sizes>;
export type Statistics = z.infer<typeof statistics>;
export type Ceiling = z.infer<typeof ceiling>;
export type Counters = z.infer<typeof counters>;
export type CallOption = z.infer<typeof callOption>;
export type WireValue = z.infer<typeof value>;
export type WireDimension = z.infer<typeof dimension>;
export type WireOperation = z.infer<typeof operation>;
export type WireAttribute = z.infer<typeof attribute>;
