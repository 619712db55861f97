/** What a program of a tiny model is built with where a test does not care. */
import type { ModelOptions } from "../../ts/model/families/index.ts";
import { MODEL_DEFAULTS } from "../../ts/plan/settings.ts";

export const OPTIONS: ModelOptions = { ...MODEL_DEFAULTS, context: 128, pages: 8, rows: 4 };
