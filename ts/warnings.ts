/** What a caller should know although nothing fails. */
import type { ErrorCode } from "./errors.ts";

/** `code`: of the error that was got around, if there was one. */
export type Warn = (message: string, code?: ErrorCode) => void;

/** Where warnings go when nobody has asked for them: Node's own (`process.on("warning")`, else stderr). */
export const emitWarning: Warn = (message, code) =>
  process.emitWarning(message, { type: "OctavoWarning", ...(code === undefined ? {} : { code }) });
