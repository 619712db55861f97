/**
 * The one table of error codes. A code is never renamed and never reused; `docs/errors.md` and the Python constants
 * (`generated/errors.py` of the kernels) are generated from it.
 */
export const ERRORS = {
  // Using the package
  OCTAVO_BAD_ARGUMENT: {
    retryable: false,
    summary: "An option or argument has a wrong value; the message names it and what is accepted.",
  },
  OCTAVO_SHAPE_MISMATCH: {
    retryable: false,
    summary: "Operands of an op do not fit together; the message gives both shapes.",
  },
  OCTAVO_DTYPE_MISMATCH: { retryable: false, summary: "An operand has a dtype or layout the op does not take." },
  OCTAVO_UNKNOWN_OP: { retryable: false, summary: "No such op in the op table." },
  OCTAVO_DISPOSED: { retryable: false, summary: "A handle, device, engine or pool was used after dispose." },
  OCTAVO_WRONG_DEVICE: { retryable: false, summary: "A handle of one device was used on another." },
  // Models
  OCTAVO_MODEL_NOT_FOUND: { retryable: false, summary: "No model at this path or under this name." },
  OCTAVO_MODEL_ACCESS_DENIED: {
    retryable: false,
    summary:
      "The hub does not give this model to this token, or to nobody without one: it is private, gated, or not there.",
  },
  OCTAVO_HUB_UNAVAILABLE: {
    retryable: true,
    summary: "The hub could not be reached, or answered with an error of its own; what was fetched stays.",
  },
  OCTAVO_MODEL_FILE_INVALID: {
    retryable: false,
    summary:
      "A safetensors, GGUF or JSON file is truncated, contradicts itself, or holds a number that cannot be kept.",
  },
  OCTAVO_MODEL_INCOMPLETE: { retryable: false, summary: "A shard or a tensor that the model needs is missing." },
  OCTAVO_UNKNOWN_ARCHITECTURE: {
    retryable: false,
    summary: "No family for this architecture; the message lists those there are.",
  },
  OCTAVO_UNSUPPORTED_MODEL: {
    retryable: false,
    summary: "The architecture is known but this model uses a feature or an element type that is not implemented.",
  },
  // Requests
  OCTAVO_EMPTY_PROMPT: { retryable: false, summary: "A prompt without tokens." },
  OCTAVO_PROMPT_TOO_LONG: {
    retryable: false,
    summary: "The prompt does not fit the context; the message gives both lengths.",
  },
  OCTAVO_TOKEN_OUT_OF_RANGE: { retryable: false, summary: "A token id outside the vocabulary." },
  OCTAVO_NONFINITE: {
    retryable: false,
    summary:
      "The model's numbers for this request became NaN or infinite; the message names the first op that made them so.",
  },
  // Memory
  OCTAVO_PLAN_DOES_NOT_FIT: {
    retryable: false,
    summary:
      "The plan needs more memory than a device has; the message gives the numbers and the smallest change that fits.",
  },
  OCTAVO_OUT_OF_MEMORY: { retryable: true, summary: "A device could not give the memory that was asked for." },
  // Workers
  OCTAVO_WORKER_START_FAILED: {
    retryable: false,
    summary:
      "A worker process did not start; the message has the end of its log. Retryable when it was too slow or was killed (memory).",
  },
  OCTAVO_NO_DEVICE: {
    retryable: false,
    summary:
      "This machine has no such device, or none that can be used (driver, architecture); the message says what was found.",
  },
  OCTAVO_WORKER_LOST: {
    retryable: false,
    summary:
      "A worker process died or stopped answering. Of a device its handles are gone (`pool.restart` starts an empty one). Requests of an engine go on, on another worker, with the tokens they would have had. One ends with this code, retryable, when two workers in a row were lost with it alone; all do when no worker lives to serve.",
  },
  OCTAVO_WORKER_FAILED: { retryable: false, summary: "A worker hit an error of its own; the message has its text." },
  OCTAVO_STEP_TIMEOUT: {
    retryable: false,
    summary: "A step did not end before its deadline; the worker was stopped. Then as OCTAVO_WORKER_LOST.",
  },
  OCTAVO_GROUP_BROKEN: {
    retryable: true,
    summary:
      "Ranks that run a model together lost one of them: it ended, was too slow, or the group was aborted. Then as OCTAVO_WORKER_LOST.",
  },
  OCTAVO_PROTOCOL: { retryable: false, summary: "A message broke the protocol; the message says how." },
  OCTAVO_FUNCTION_NOT_ALLOWED: {
    retryable: false,
    summary: "device.call of a function that the pool was not started with.",
  },
  OCTAVO_MISSING_DEPENDENCY: {
    retryable: false,
    summary: "Something optional that this needs is not installed; the message has the command.",
  },
  OCTAVO_FILE_NOT_READABLE: { retryable: false, summary: "A file could not be opened, read or written." },
} as const satisfies Record<string, { retryable: boolean; summary: string }>;

export type ErrorCode = keyof typeof ERRORS;
