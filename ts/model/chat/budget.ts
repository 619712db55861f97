/** What a template may take. Templates are code of the model's author: sixty doublings of a text are 10^18 characters. */

const TEXT_LIMIT = 8 * 2 ** 20;
const WORK_LIMIT = 64 * 2 ** 20;
const STEP_LIMIT = 2_000_000;
/** A long chat is the caller's wish: each of its characters adds to the limits, and a message as much as this many. */
const PER_MESSAGE = 128;
const PER_CHARACTER = 16;

export class Budget {
  readonly #textLimit: number;
  #work: number;
  #steps: number;

  /** `messages` and `characters` of the chat that is rendered. */
  constructor(messages: number, characters: number) {
    const extra = PER_CHARACTER * (characters + PER_MESSAGE * messages);
    this.#textLimit = TEXT_LIMIT + extra;
    this.#work = WORK_LIMIT + PER_CHARACTER * extra;
    this.#steps = STEP_LIMIT + extra;
  }

  /** Before anything that is done once for each of `count` things, or takes memory for them. */
  step(count = 1): void {
    this.#steps -= count;
    if (!(this.#steps >= 0))
      throw new Error("it takes more than 2,000,000 steps, and 16 for each character of the chat");
  }

  /** Before a text of `length` characters is made, of which `work` are read or written to do so. */
  text(length: number, work = length): void {
    if (!(length <= this.#textLimit))
      throw new Error(`it makes a text of ${length} characters; at most 8 Mi for a chat`);
    this.#work -= work;
    if (!(this.#work >= 0)) throw new Error("it makes texts of more than 64 Mi characters together");
  }
}
