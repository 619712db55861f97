/** What a template may take. Templates are code of the model's author: sixty doublings of a text are 10^18 characters. */

const TEXT_LIMIT = 8 * 2 ** 20;
const WORK_LIMIT = 64 * 2 ** 20;
const STEP_LIMIT = 4_000_000;
/** A long chat is the caller's wish; with each of its characters the limits grow by this many. */
const PER_CHARACTER = 16;

export class Budget {
  readonly #textLimit: number;
  #work: number;
  #steps: number;

  /** `given`: characters of what the template is rendered with. */
  constructor(given: number) {
    this.#textLimit = TEXT_LIMIT + PER_CHARACTER * given;
    this.#work = WORK_LIMIT + PER_CHARACTER * PER_CHARACTER * given;
    this.#steps = STEP_LIMIT + PER_CHARACTER * given;
  }

  /** Before anything that is done once for each of `count` things, or takes memory for them. */
  step(count = 1): void {
    this.#steps -= count;
    if (!(this.#steps >= 0)) throw new Error("it takes too long: more than 4,000,000 steps");
  }

  /** Before a text of `length` characters is made, of which `work` are read or written to do so. */
  text(length: number, work = length): void {
    if (!(length <= this.#textLimit)) throw new Error(`it makes a text of ${length} characters, more than 8 Mi`);
    this.#work -= work;
    if (!(this.#work >= 0)) throw new Error("it makes texts of more than 64 Mi characters together");
  }
}
