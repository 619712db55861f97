/** What a caller should know although nothing fails. */

export type Warn = (message: string) => void;

/** Where warnings go when nobody has asked for them: Node's own (`process.on("warning")`, else stderr). */
export const emitWarning: Warn = (message) => process.emitWarning(message, { type: "OctavoWarning" });
