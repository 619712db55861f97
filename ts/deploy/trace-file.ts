/** What the folder of a trace holds (`OCTAVO_TRACE`): `program-N.json` for each program defined, and `steps.jsonl`. */
import { join } from "node:path";
import { z } from "zod";
import { sizes } from "../../protocol/messages.ts";
import { OctavoError } from "../errors.ts";
import { invalid } from "../model/source/ranges.ts";
import { type ProgramFile, readProgram } from "../program/export.ts";
import type { Program } from "../program/program.ts";
import { cut } from "../quoted.ts";
import { isAbsent, readBytes } from "../regular-file.ts";

/** Bytes of all files of a trace, and of one that is read. */
export const MOST_TRACE_BYTES = 512 * 2 ** 20;
export const STEPS_FILE = "steps.jsonl";
export const programFileName = (number: number): string => `program-${number}.json`;

const count = z.int().min(1);
const name = z.string().max(256);
const tracedProgram = z.strictObject({
  /** Programs of the same residence share parameters, KV pages and arena. */
  residence: count,
  device: name,
  /** Its instruction set or architecture, and its model. */
  isa: name,
  processor: name,
  /** `exportProgram`, with the data of constants. */
  program: z.unknown(),
});
const tracedStep = z.strictObject({
  step: count,
  program: count,
  sizes,
  /** Base64. */
  payload: z.base64(),
  /** SHA-256 of each output, as far as it is defined. */
  results: z.record(name, z.string()),
});

export type TracedStep = z.infer<typeof tracedStep>;
export type ProgramEntry = Omit<z.infer<typeof tracedProgram>, "program"> & { readonly program: ProgramFile };

export interface TracedProgram {
  readonly residence: number;
  readonly device: string;
  readonly file: ProgramFile;
  readonly program: Program;
}

export interface TraceContent {
  /** By number. */
  readonly programs: ReadonlyMap<number, TracedProgram>;
  readonly steps: readonly TracedStep[];
  /** Whether the process ended while it wrote a last step, which is left out. */
  readonly torn: boolean;
}

/** Throws `OCTAVO_FILE_NOT_READABLE`, `OCTAVO_MODEL_FILE_INVALID`. */
export async function readTrace(folder: string): Promise<TraceContent> {
  const file = join(folder, STEPS_FILE);
  const content = await readBytes(file, MOST_TRACE_BYTES).catch((cause: unknown) => {
    if (!isAbsent(cause)) throw cause;
    const text = `${folder} is no trace: it has no ${STEPS_FILE}; a program makes one that runs with OCTAVO_TRACE=${folder}`;
    throw new OctavoError("OCTAVO_FILE_NOT_READABLE", text, { cause });
  });
  const lines = content.toString("utf8").split("\n");
  const torn = lines.at(-1) !== "";
  if (torn) lines.pop();
  const steps = lines.filter(Boolean).map((line, index) => parse(tracedStep, line, `${file}:${index + 1}`));
  if (steps.length === 0) throw invalid(file, "there is no whole step in it, so nothing can be compared");
  const gap = steps.findIndex(({ step }, index) => step !== index + 1);
  if (gap >= 0) throw invalid(file, `line ${gap + 1} is step ${steps[gap]!.step}; a part of the trace is missing`);
  const programs = new Map<number, TracedProgram>();
  for (const number of new Set(steps.map(({ program }) => program))) {
    const path = join(folder, programFileName(number));
    const entry = parse(tracedProgram, (await readBytes(path, MOST_TRACE_BYTES)).toString("utf8"), path);
    programs.set(number, { residence: entry.residence, device: entry.device, ...readProgram(entry.program, path) });
  }
  return { programs, steps, torn };
}

function parse<T>(schema: z.ZodType<T>, text: string, where: string): T {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw invalid(where, "not JSON", { cause });
  }
  const parsed = schema.safeParse(document);
  if (!parsed.success) throw invalid(where, cut(z.prettifyError(parsed.error), 1000));
  return parsed.data;
}
