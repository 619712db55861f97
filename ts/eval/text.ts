/** The text that models are judged on. */
import { join } from "node:path";
import { packageRoot } from "../python.ts";
import { readText } from "../regular-file.ts";

/** `ts/eval/text/README.md` says where it is from. About 8,400 tokens. */
const DEFAULT_TEXT = "ts/eval/text/northanger-abbey.txt";

/** A text file as UTF-8, or the built-in text. Throws `OCTAVO_FILE_NOT_READABLE`. */
export async function evaluationText(file: string | undefined): Promise<string> {
  return readText(file ?? join(packageRoot(), DEFAULT_TEXT));
}
