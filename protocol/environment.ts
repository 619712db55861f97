/**
 * Every environment variable that Octavo reads. `docs/environment.md` is printed from this table, and so are the names that
 * Python reads; a test holds that no other is read. Unset and empty are the same.
 */
export interface Variable {
  /** What reads it: the npm package, its command line, the worker process, its kernels, or this repository's own tools. */
  readonly reader: "package" | "cli" | "worker" | "kernels" | "repository";
  readonly accepts: string;
  readonly meaning: string;
}

export const ENVIRONMENT = {
  OCTAVO_DEBUG: { reader: "cli", accepts: "anything", meaning: "Errors are printed with their stack." },
  OCTAVO_DEVICE: {
    reader: "package",
    accepts: "the name of a device: `cpu:0`, `cuda:1`, `reference:0`, `triton-interpreter:0`",
    meaning: "The device that `auto` stands for.",
  },
  OCTAVO_ISA: {
    reader: "kernels",
    accepts: "`scalar`, `avx2`, `avx512`, `amx`, `neon`, `dotprod`: one that this machine can run",
    meaning:
      "The instruction set of the `cpu` backend, in place of the best one. Results have the same bits with each.",
  },
  OCTAVO_MODEL: {
    reader: "cli",
    accepts: "what `--model` accepts",
    meaning: "The model, where `--model` does not say.",
  },
  OCTAVO_PYTHON: {
    reader: "package",
    accepts: "the path of an interpreter",
    meaning:
      "The Python of workers, where the option `python` does not say; else `.venv` beside the package, then the PATH's.",
  },
  OCTAVO_TRACE: {
    reader: "package",
    accepts: "a new or an empty folder",
    meaning: "Programs and each of their steps are written there, for `octavo replay`: docs/debugging.md.",
  },
  OCTAVO_WORKER_TOKEN: {
    reader: "worker",
    accepts: "set by the package",
    meaning: "The secret by which the package knows the worker that it has started.",
  },
  OCTAVO_CPU_SANITIZE: {
    reader: "kernels",
    accepts: "`address`, `thread`",
    meaning: "The C++ library is built and loaded with this sanitizer: `tools/sanitize.sh`.",
  },
  OCTAVO_TEST_DEVICES: {
    reader: "repository",
    accepts: "names of devices, separated by commas",
    meaning: "Where the whole-system tests run; `cpu:0,reference:0` by default.",
  },
  OCTAVO_WRITE_GOLDEN: {
    reader: "repository",
    accepts: "anything",
    meaning: "`test/golden-bits.test.ts` writes the recorded bits anew instead of comparing with them.",
  },
  CC: { reader: "kernels", accepts: "a C compiler", meaning: "The one with which Triton builds launchers." },
  CUDA_DEVICE_ORDER: {
    reader: "package",
    accepts: "what CUDA accepts",
    meaning: "How CUDA numbers GPUs; `PCI_BUS_ID` by default, as `nvidia-smi` does.",
  },
  CUDA_VISIBLE_DEVICES: {
    reader: "package",
    accepts: "what CUDA accepts",
    meaning: "The GPUs there are; `cuda:0` is the first of them.",
  },
  CXX: {
    reader: "kernels",
    accepts: "a C++ compiler, with its first arguments",
    meaning: "The one that builds the `cpu` backend's library where no built one fits.",
  },
  DISABLE_LLVM_OPT: {
    reader: "kernels",
    accepts: "names of LLVM's options, separated by commas",
    meaning:
      "What Triton's compiler leaves out; `nvptx-no-f32x2` is added, without which ptxas rounds otherwise on sm_100.",
  },
  HF_ENDPOINT: { reader: "package", accepts: "a URL", meaning: "The hub that models are downloaded from." },
  HF_HOME: { reader: "package", accepts: "a folder", meaning: "Where the hub's cache is, as for its own tools." },
  HF_TOKEN: { reader: "package", accepts: "a token", meaning: "For models of the hub that want one." },
  LOCAL_RANK: {
    reader: "worker",
    accepts: "a whole number, by torchrun",
    meaning: "The index of the device of a worker that dials in, where `--device` does not say.",
  },
  LOCAL_WORLD_SIZE: {
    reader: "worker",
    accepts: "a whole number, by torchrun",
    meaning: "The workers that dial in from this machine and share its CPUs, where `--threads` does not say.",
  },
  LWS_WORKER_INDEX: {
    reader: "worker",
    accepts: "a whole number, by LeaderWorkerSet",
    meaning: "As RANK, after OMPI_COMM_WORLD_RANK.",
  },
  OMPI_COMM_WORLD_LOCAL_RANK: {
    reader: "worker",
    accepts: "a whole number, by mpirun",
    meaning: "As LOCAL_RANK, after SLURM_LOCALID.",
  },
  OMPI_COMM_WORLD_LOCAL_SIZE: {
    reader: "worker",
    accepts: "a whole number, by mpirun",
    meaning: "As LOCAL_WORLD_SIZE, after it.",
  },
  OMPI_COMM_WORLD_RANK: {
    reader: "worker",
    accepts: "a whole number, by mpirun",
    meaning: "As RANK, after SLURM_PROCID.",
  },
  OPENBLAS_NUM_THREADS: {
    reader: "package",
    accepts: "a number",
    meaning: "Threads of numpy's own products in a worker; 1 by default, for the kernels have their own.",
  },
  PYTHONPATH: { reader: "package", accepts: "folders", meaning: "Where workers find functions of `device.call`." },
  RANK: {
    reader: "worker",
    accepts: "a whole number, by torchrun",
    meaning:
      "Which connection file of a folder (`--keys`) is a worker's, where `--rank` does not say: docs/launchers.md.",
  },
  SLURM_LOCALID: {
    reader: "worker",
    accepts: "a whole number, by srun",
    meaning: "As LOCAL_RANK, after it.",
  },
  SLURM_PROCID: { reader: "worker", accepts: "a whole number, by srun", meaning: "As RANK, after it." },
  TERM: { reader: "cli", accepts: "`dumb`", meaning: "No marks and colours in a chat's input line." },
  XDG_CACHE_HOME: {
    reader: "kernels",
    accepts: "a folder",
    meaning: "A library built where the package cannot be written lies in `octavo` there; `~/.cache` by default.",
  },
} as const satisfies Record<string, Variable>;

export type VariableName = keyof typeof ENVIRONMENT;

/** Former names: a value given to one would be overlooked, so that its reader refuses it. */
export const RENAMED = { OCTAVO_CPU_ISA: "OCTAVO_ISA" } as const satisfies Record<string, VariableName>;
