import { join } from "node:path";

/** Arguments of node that are `octavo`, from the sources. */
export const CLI = ["--import", "tsx", join(import.meta.dirname, "..", "..", "ts", "cli", "main.ts")] as const;
