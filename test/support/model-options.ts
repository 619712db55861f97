/** What a program of a tiny model is built with where a test does not care. */
import type { ModelOptions } from "../../ts/model/families/index.ts";

export const OPTIONS: ModelOptions = {
  weights: "int8",
  head: "16bit",
  threshold: "adaptive",
  context: 128,
  pages: 8,
  rows: 4,
  kv: "float16",
  output: { type: "sample" },
};
