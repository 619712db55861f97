/** The public surface. */

export type { Deployment } from "./deploy/deployment.ts";
export { planModel } from "./deploy/plan-model.ts";
export { Engine } from "./engine/engine.ts";
export type { ChatOptions, GenerateOptions } from "./engine/generate-options.ts";
export type { Completion, FinishReason, Generation, Piece, Timings, TokenLogprob } from "./engine/generation.ts";
export type { LoadOptions, LoadProgress } from "./engine/load-options.ts";
export type { LoadTimings } from "./engine/loader.ts";
export type { SamplingOptions } from "./engine/sampling.ts";
export type { Distribution, EngineStatistics, StepReport } from "./engine/statistics.ts";
export { ERRORS, type ErrorCode, OctavoError } from "./errors.ts";
export type { HandleKind, LedgerReport } from "./memory/ledger.ts";
export type { ChatMessage } from "./model/chat/message.ts";
export type { ModelDescription } from "./model/families/index.ts";
export type { SamplingDefaults } from "./model/source/generation-config.ts";
export type { Tokenizer } from "./model/tokenizer.ts";
export type { PlanModelOptions } from "./plan/options.ts";
export type { DevicePlan, Plan } from "./plan/types.ts";
export { Pool } from "./pool.ts";
export type { PoolOptions, PoolProgress } from "./pool-options.ts";
export { parseThreshold, type Threshold } from "./program/threshold.ts";
export type { Device } from "./tensor/device.ts";
export { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from "./tensor/float16.ts";
export type { HandleDevice, LinearOptions, TensorHandle } from "./tensor/handle.ts";
export type { QuantizedWeight } from "./tensor/quantized.ts";
export type { EnvOptions, Listening } from "./workers/launchers/env-options.ts";
export type { LauncherOptions } from "./workers/launchers/index.ts";
