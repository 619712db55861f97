/** The peers: how each is started. They are installed into `bench/` only. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./processes.ts";

const bench = import.meta.dirname;
const python = join(bench, ".venv", "bin", "python");
const cache = join(bench, ".cache");

export interface Peer {
  name: string;
  /** What it computes with, for the table. */
  arithmetic: string;
  command: string;
  args(job: string, model: string): string[];
}

const node = (script: string, model: (shipped: string) => string) => ({
  command: process.execPath,
  args: (job: string, shipped: string) => [join(bench, "peers", script), job, model(shipped)],
});
const torch = (kind: string) => ({
  command: python,
  args: (job: string) => [join(bench, "peers", "torch_peer.py"), kind, job, join(cache, "transformers")],
});

export const PEERS: readonly Peer[] = [
  { name: "octavo", arithmetic: "int8, adaptive threshold", ...node("octavo.mjs", (shipped) => shipped) },
  {
    name: "node-llama-cpp Q8_0",
    arithmetic: "int8 blocks of 32",
    ...node("node-llama-cpp.mjs", () => join(cache, "q8_0.gguf")),
  },
  {
    name: "node-llama-cpp Q4_1",
    arithmetic: "4-bit blocks of 32",
    ...node("node-llama-cpp.mjs", (shipped) => shipped),
  },
  { name: "transformers", arithmetic: "float32", ...torch("fp32") },
  { name: "bitsandbytes", arithmetic: "LLM.int8(), threshold 6", ...torch("bitsandbytes") },
  { name: "torchao", arithmetic: "int8 weights and activations", ...torch("torchao") },
];

/** Installs the peers and writes their forms of the model; quick when it was done before. */
export async function preparePeers(model: string, say: (text: string) => void): Promise<void> {
  await phase("node-llama-cpp", "package.json", say, async () => {
    await run("npm", ["install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"], { cwd: bench });
  });
  await phase("torch, transformers, bitsandbytes, torchao", "requirements.in", say, async () => {
    const own = join(bench, "..", ".venv", "bin", "python");
    if (!existsSync(python)) await run(own, ["-m", "venv", join(bench, ".venv")], { cwd: bench });
    await run(own, ["-m", "uv", "pip", "install", "--quiet", "--python", python, "-r", "requirements.in"], {
      cwd: bench,
    });
  });
  say("peers' forms of the model (bench/.cache) ...");
  await run(python, [join(bench, "peers", "prepare.py"), model, cache], { cwd: bench });
}

/** Runs `install` unless it ended well before with the same content of `file`. */
async function phase(label: string, file: string, say: (text: string) => void, install: () => Promise<void>) {
  const wanted = readFileSync(join(bench, file), "utf8");
  const stamp = join(bench, file === "package.json" ? "node_modules" : ".venv", ".octavo-installed");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  say(`installing ${label} into bench/ ...`);
  await install();
  writeFileSync(stamp, wanted);
}
