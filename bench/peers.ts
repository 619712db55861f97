/** The peers: what they compute with, what they need, how each is started. */
import { join } from "node:path";

const bench = import.meta.dirname;
/** Ignored by git: environments, forms of models. */
export const BUILD = join(bench, ".cache");

/** Environments of peers: `requirements/NAME.in`, or for `node` package.json. */
export type Environment = "node" | "torch" | "openvino" | "onnxruntime" | "vllm";
/** Forms of a model; `source` is its GGUF file. */
export type Form = "source" | "q8_0" | "q4_0" | "transformers" | "w8a8" | "openvino" | "onnx";

export interface Peer {
  readonly name: string;
  /** What it computes with, for the table. */
  readonly arithmetic: string;
  /** Bits per weight in linears and in the output layer, scales included; absent where the model's own file says. */
  readonly bits?: readonly [linears: number, head: number];
  /** Absent for Octavo itself. */
  readonly environment?: Environment;
  readonly form: Form;
  /** Script in bench/peers; it is given the job, the form's path and these. */
  readonly script: string;
  readonly arguments?: readonly string[];
  /** So slow that by default only short cases are measured. */
  readonly slow?: boolean;
}

/** A row of Octavo; `options`: of `Engine.load`, the defaults when empty. */
export const octavo = (options: Readonly<Record<string, unknown>> = {}): Peer => {
  const asked = Object.entries(options).map(([name, value]) => `${name} ${value}`);
  return {
    name: ["octavo", ...asked].join(", "),
    arithmetic: "int8 x int8, exact sums",
    form: "source",
    script: "octavo.mjs",
    arguments: [JSON.stringify(options)],
  };
};

const openvino = (name: string, arithmetic: string, ...precision: string[]): Peer => ({
  ...{ name, arithmetic, environment: "openvino", form: "openvino", bits: [8, 8] },
  ...{ script: "openvino_peer.py", arguments: precision },
});
const llama = (name: string, form: Form, arithmetic: string, bits?: number): Peer => ({
  ...{ name: `llama.cpp ${name}`, arithmetic, form, script: "node-llama-cpp.mjs", environment: "node" },
  ...(bits !== undefined && { bits: [bits, bits] }),
});
const torch = (name: string, kind: string, arithmetic: string, bits: number): Peer => ({
  ...{ name, arithmetic, form: "transformers", script: "torch_peer.py", arguments: [kind], environment: "torch" },
  ...{ bits: [bits, 32], slow: true },
});

export const PEERS: readonly Peer[] = [
  octavo(),
  {
    ...{ name: "vLLM", environment: "vllm", form: "w8a8", script: "vllm_peer.py", bits: [8, 16] },
    arithmetic: "int8 x int8 (W8A8), head bfloat16",
  },
  // Where the CPU has bfloat16 it is the default, and not the faster one in every case.
  openvino("OpenVINO GenAI", "int8 weights"),
  openvino("OpenVINO GenAI f32", "int8 weights, float32 between", "f32"),
  {
    ...{ name: "ONNX Runtime GenAI", environment: "onnxruntime", form: "onnx", script: "onnx_peer.py" },
    // A float32 scale for each block of 32.
    ...{ arithmetic: "int8 blocks of 32", bits: [9, 9] },
  },
  llama("Q8_0", "q8_0", "int8 blocks of 32", 8.5),
  llama("Q4_0", "q4_0", "4-bit blocks of 32", 4.5),
  llama("as shipped", "source", "4-bit blocks, the file's"),
  torch("transformers", "fp32", "float32", 32),
  torch("bitsandbytes", "bitsandbytes", "LLM.int8(), threshold 6", 8),
  torch("torchao", "torchao", "int8 x int8", 8),
];

/** Those whose names contain one of `wanted`, whatever the case; Octavo always runs. Throws when one of them names none. */
export function choosePeers(wanted: string): readonly Peer[] {
  const parts = wanted.toLowerCase().split(",").filter(Boolean);
  const named = (peer: Peer, part: string) => peer.name.toLowerCase().includes(part);
  const unknown = parts.find((part) => !PEERS.some((peer) => named(peer, part)));
  if (unknown !== undefined) {
    throw new Error(`no peer "${unknown}"; there are ${PEERS.map(({ name }) => name).join(", ")}`);
  }
  return PEERS.filter(
    (peer) => peer.environment === undefined || !parts.length || parts.some((part) => named(peer, part)),
  );
}

export interface Start {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export const pythonOf = (environment: string): string => join(BUILD, "environments", environment, "bin", "python");

export function startOf(peer: Peer, job: string, model: string): Start {
  const command =
    peer.environment === undefined || peer.environment === "node" ? process.execPath : pythonOf(peer.environment);
  const args = [join(bench, "peers", peer.script), job, model, ...(peer.arguments ?? [])];
  // vLLM's documentation asks for Intel's OpenMP before torch's own; it comes with the wheel.
  const openmp = join(BUILD, "environments", "vllm", "lib", "libiomp5.so");
  return { command, args, ...(peer.environment === "vllm" && { env: { LD_PRELOAD: openmp, KMP_BLOCKTIME: "1" } }) };
}
