/** The text that models are judged on. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { OctavoError } from "../errors.ts";
import { packageRoot } from "../pool/python.ts";

/** `ts/eval/text/README.md` says where it is from. About 8,400 tokens. */
const DEFAULT_TEXT = "ts/eval/text/northanger-abbey.txt";

/** A text file as UTF-8, or the built-in text. Throws `OCTAVO_FILE_NOT_READABLE`. */
export async function readText(file: string | undefined): Promise<string> {
  const path = file ?? join(packageRoot(), DEFAULT_TEXT);
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new OctavoError("OCTAVO_FILE_NOT_READABLE", `${path} cannot be read`, { cause });
  }
}
