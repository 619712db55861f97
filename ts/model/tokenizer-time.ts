/**
 * Regular expressions of somebody's tokenizer.json, stopped when they do not end. JavaScript tries every way in which an
 * expression may match, and `(a+)+$` has 2^n of them; which expressions are like that cannot be read off them in general. Those
 * of published models are known by equality, and no clock is asked for them.
 */
import vm from "node:vm";
import { codeOf, messageOf, OctavoError } from "../errors.ts";
import { cut } from "../quoted.ts";
import { invalidTokenizer } from "./tokenizer-refusals.ts";

/** An honest expression takes 0.03 us per character. */
const BASE_MS = 2000;
const MS_PER_CHARACTER = 1e-3;
/** Asking the clock costs 0.1 ms. */
const BATCH = 1024;
/** Compiling cannot be stopped at once. */
export const MAX_EXPRESSION = 16_384;

let clock: { readonly script: vm.Script; readonly context: { task: unknown } } | undefined;

/** The time that the expressions of one part of a tokenizer.json may take for one text. */
export class TimeLimit {
  readonly #part: string;
  readonly #characters: number;
  #left: number;

  constructor(part: string, characters: number) {
    this.#part = part;
    this.#characters = characters;
    this.#left = BASE_MS + characters * MS_PER_CHARACTER;
  }

  /**
   * What `task` returns, which counts against the limit. Throws `OCTAVO_UNSUPPORTED_MODEL` when there is no time left; what the task was
   * doing then is in no state to go on.
   */
  run<T>(task: () => T): T {
    clock ??= { script: new vm.Script("task()"), context: vm.createContext({ task }) as { task: unknown } };
    const { script, context } = clock;
    const begin = performance.now();
    context.task = task;
    try {
      return script.runInContext(context, { timeout: Math.max(1, Math.ceil(this.#left)) }) as T;
    } catch (cause) {
      throw this.#refusal(cause);
    } finally {
      context.task = undefined;
      this.#left -= performance.now() - begin;
    }
  }

  /** The same things; they are made some at a time. */
  *items<T>(items: Iterator<T>): Generator<T> {
    for (let ended = false; !ended; ) {
      const batch: T[] = [];
      ended = this.run(() => {
        while (batch.length < BATCH) {
          const next = items.next();
          if (next.done === true) return true;
          batch.push(next.value);
        }
        return false;
      });
      yield* batch;
    }
  }

  #refusal(cause: unknown): OctavoError {
    if (OctavoError.isInstance(cause)) return cause;
    if (codeOf(cause) !== "ERR_SCRIPT_EXECUTION_TIMEOUT")
      return invalidTokenizer(`${this.#part}: ${cut(messageOf(cause))}`, { cause });
    return new OctavoError(
      "OCTAVO_UNSUPPORTED_MODEL",
      `tokenizer.json: the expressions of ${this.#part} do not end within ${BASE_MS} ms and 1 ms per 1000 characters ` +
        `for a text of ${this.#characters} characters; take the tokenizer.json that the model was published with`,
      { cause },
    );
  }
}
