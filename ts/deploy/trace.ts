/**
 * `OCTAVO_TRACE=folder`: keeps every program that models of this process run, and every step with digests of its results, for
 * `octavo replay`. What is kept holds prompts and answers (as token ids), so only this user can read it.
 */
import { appendFileSync, chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { variable } from "../environment.ts";
import { messageOf, OctavoError } from "../errors.ts";
import { describeModel } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import { exportProgram, type ProgramOrigin } from "../program/export.ts";
import type { Program } from "../program/program.ts";
import type { ProgramHandle } from "../tensor/program-handle.ts";
import { emitWarning } from "../warnings.ts";
import { digestOf, resultsOf } from "./bits.ts";
import { MOST_TRACE_BYTES, type ProgramEntry, programFileName, STEPS_FILE, type TracedStep } from "./trace-file.ts";

/** Keeps a program, and from then on its steps. */
export type KeepProgram = (
  handle: ProgramHandle,
  program: Program,
  origin: Pick<ProgramOrigin, "options" | "limits">,
) => void;

let current: { readonly folder: string; readonly trace: Trace } | undefined;

/** The trace of this process, if it is asked for. Throws `OCTAVO_FILE_NOT_READABLE`. */
export function processTrace(folder = variable("OCTAVO_TRACE")): Trace | null {
  if (folder === undefined) return null;
  if (current?.folder !== folder) current = { folder, trace: new Trace(folder) };
  return current.trace;
}

export class Trace {
  readonly #folder: string;
  readonly #most: number;
  #residences = 0;
  #programs = 0;
  #steps = 0;
  #bytes = 0;
  /** Full, or the disk is. */
  #ended = false;

  /** Makes the folder, which must be new or empty; all files together take `most` bytes. Throws `OCTAVO_FILE_NOT_READABLE`. */
  constructor(folder: string, most = MOST_TRACE_BYTES) {
    this.#folder = folder;
    this.#most = most;
    let found: string[];
    try {
      if (!existsSync(folder)) mkdirSync(folder, { mode: 0o700 });
      found = readdirSync(folder);
      if (found.length === 0) {
        chmodSync(folder, 0o700); // It may have been there.
        writeFileSync(join(folder, STEPS_FILE), "", { flag: "wx", mode: 0o600 });
      }
    } catch (cause) {
      const text = `OCTAVO_TRACE=${folder}: no trace can be written there; name a new folder inside one that is there, or unset OCTAVO_TRACE`;
      throw new OctavoError("OCTAVO_FILE_NOT_READABLE", text, { cause });
    }
    if (found.length === 0) return;
    const text = `OCTAVO_TRACE=${folder}: the folder holds files; a trace is of one process, so name a new or an empty one`;
    throw new OctavoError("OCTAVO_FILE_NOT_READABLE", text);
  }

  /** For a model on a device: its programs share what they write. */
  residence(manifest: Manifest): KeepProgram {
    this.#residences += 1;
    const residence = this.#residences;
    const { family, architecture } = describeModel(manifest);
    const model = { path: manifest.path, family, architecture };
    return (handle, program, origin) => this.#add(residence, handle, program, { model, ...origin });
  }

  #add(residence: number, handle: ProgramHandle, program: Program, origin: ProgramOrigin): void {
    if (this.#ended) return;
    this.#programs += 1;
    const number = this.#programs;
    const { device, isa, model } = handle.device.description;
    const exported = exportProgram(program, origin, { constants: true });
    const entry: ProgramEntry = { residence, device, isa, processor: model, program: exported };
    this.#write(programFileName(number), JSON.stringify(entry));
    handle.observe((sizes, payload, result) => {
      const results = [...resultsOf(program, handle, sizes, result.payload)];
      this.#steps += 1;
      const step: TracedStep = {
        ...{ step: this.#steps, program: number, sizes },
        payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("base64"),
        results: Object.fromEntries(results.map(([name, output]) => [name, digestOf(output)])),
      };
      this.#write(STEPS_FILE, `${JSON.stringify(step)}\n`);
    });
  }

  /** Never throws: what is traced goes on without its trace. */
  #write(name: string, text: string): void {
    if (this.#ended) return;
    try {
      this.#bytes += Buffer.byteLength(text);
      if (this.#bytes > this.#most) throw new Error(`a trace holds up to ${this.#most} bytes`);
      appendFileSync(join(this.#folder, name), text, { mode: 0o600 });
    } catch (error) {
      this.#ended = true;
      emitWarning(`${this.#folder}: the trace ends before step ${this.#steps + 1}: ${messageOf(error)}`);
    }
  }
}
