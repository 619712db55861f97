/** Why a request's logits are not finite: its tokens once more, with a worker that looks at what each op writes. */
import type { StepProgram } from "../deploy/group.ts";
import { OctavoError } from "../errors.ts";
import type { Sequence, Step } from "../schedule/sequence.ts";
import type { Request } from "./request.ts";
import { stepInputs } from "./step-inputs.ts";

/** A request that cannot go on, and the tokens after which it could not. */
export interface Failing {
  readonly request: Request;
  readonly sequence: Sequence;
  readonly tokens: number;
}

/**
 * Sends steps of `failing` alone, in chunks of `tokenBudget`, before it returns: they run before any later step, so the
 * sequence's pages may be given to others afterwards. A row's bits do not depend on how its tokens are cut into steps, so
 * what made NaN does it again. No other step may be under way: these write the first row of `sampled`.
 */
export async function explain(program: StepProgram, failing: Failing, tokenBudget: number): Promise<OctavoError> {
  const { request, sequence, tokens } = failing;
  const results = [];
  for (let start = 0; start < tokens; start += tokenBudget) {
    const count = Math.min(tokenBudget, tokens - start);
    // The output layer belongs to it, for the last row.
    const row = { sequence, start, count, sample: start + count === tokens ? 0 : -1, previous: -1 };
    const step: Step = { number: 0, rows: [row], tokens: count, samples: row.sample + 1 };
    const { sizes, payload } = stepInputs(program, step, [{ row, request }]);
    results.push(program.step(sizes, payload, { check: true }));
  }
  const where = `the logits after ${tokens} tokens are not finite, so there is no answer`;
  for (const result of await Promise.allSettled(results)) {
    if (result.status === "rejected") return nonfinite(`${where}; which op made them so is not known`, result.reason);
    const { nonfinite: op } = result.value;
    if (op !== undefined) return nonfinite(`${where}; ${blame(op)}`);
  }
  return nonfinite(`${where}; computed again they are finite: this is no property of the model but of the machine`);
}

/** What to say of the first op whose results were not finite. */
export function blame(op: string): string {
  const first = `the first NaN or infinity came out of ${op}`;
  if (!/^(rope_)?append /.test(op)) return `${first}. Its weights or its inputs are too large for float32, or broken`;
  return `${first}: keys or values of 2^50 and more, which no type of KV pages holds. The weights of their projections are broken`;
}

export function nonfinite(text: string, cause?: unknown): OctavoError {
  return new OctavoError("OCTAVO_NONFINITE", text, cause === undefined ? undefined : { cause });
}
