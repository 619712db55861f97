/** Ranks act as one. If these fail, a lost rank hangs a request, or a step runs on some ranks and not on others. */
import { describe, expect, it } from "vitest";
import type { Counters } from "../../protocol/messages.ts";
import { OctavoError } from "../errors.ts";
import type { StepOptions, StepResult } from "../tensor/program-handle.ts";
import { Group, type StepProgram } from "./group.ts";

/** A fake of a rank's program: it notes what it is sent and answers when the test says. */
class FakeProgram implements StepProgram {
  readonly deadlineOf = () => 10;
  readonly inputs = [];
  readonly outputs = [];
  readonly sent: unknown[][] = [];
  readonly #answers: { resolve(result: StepResult): void; reject(error: unknown): void }[] = [];

  step(...sent: [unknown, Uint8Array, StepOptions?]): Promise<StepResult> {
    this.sent.push(sent);
    return new Promise((resolve, reject) => this.#answers.push({ resolve, reject }));
  }

  answer(payload: number, counters: Partial<Counters> = {}, nonfinite?: string): void {
    const all = { quantized: 0, carries: 0, nonfinite: 0, nanoseconds: 0, ...counters };
    const named = nonfinite === undefined ? {} : { nonfinite };
    this.#answers.shift()!.resolve({ payload: Uint8Array.of(payload), counters: all, ...named });
  }

  fail(error: unknown): void {
    this.#answers.shift()!.reject(error);
  }
}

/** As the ranks of two stages would say: what is received, or gathered, came out of another rank's op. */
const NAMES = ["gather (x)", "norm of stage 0", "receive (x)", "receive (x)"];

describe("a step of two ranks", () => {
  const payload = Uint8Array.of(1);

  it("goes to both at once, as it is, and is answered by rank 0 when both have answered", async () => {
    const ranks = [new FakeProgram(), new FakeProgram()] as const;
    const options = { deadlineMs: 5, check: true };
    let done = false;
    const step = new Group(ranks).step({ T: 1 }, payload, options).finally(() => {
      done = true;
    });
    for (const { sent } of ranks) expect(sent).toEqual([[{ T: 1 }, payload, options]]);
    ranks[0].answer(10, { quantized: 4, carries: 1, nonfinite: 1, nanoseconds: 50 });
    await Promise.resolve();
    expect(done).toBe(false);
    ranks[1].answer(11, { quantized: 4, carries: 2, nonfinite: 1, nanoseconds: 70 }, "op of rank 1");
    expect(await step).toEqual({
      payload: Uint8Array.of(10),
      counters: { quantized: 4, carries: 2, nonfinite: 1, nanoseconds: 70 },
      nonfinite: "op of rank 1",
    });
  });

  it("reaches every rank in the order of the calls, before earlier ones are answered", async () => {
    const ranks = [new FakeProgram(), new FakeProgram()] as const;
    const group = new Group(ranks);
    const steps = [1, 2].map((T) => group.step({ T }, payload));
    for (const { sent } of ranks) expect(sent.map(([sizes]) => sizes)).toEqual([{ T: 1 }, { T: 2 }]);
    for (const rank of ranks) for (const result of [7, 8]) rank.answer(result);
    expect((await Promise.all(steps)).map((result) => result.payload[0])).toEqual([7, 8]);
  });

  it("of two stages is answered by the first rank of the last one; each has as long as all, and their counters add up", async () => {
    const ranks = Array.from({ length: 4 }, () => new FakeProgram());
    const step = new Group(ranks as unknown as [FakeProgram], undefined, 2).step({ T: 1 }, payload);
    for (const { sent } of ranks) expect(sent).toEqual([[{ T: 1 }, payload, { deadlineMs: 20 }]]);
    for (const [rank, program] of ranks.entries())
      program.answer(rank, { quantized: 4, carries: rank, nonfinite: 1, nanoseconds: 50 - rank }, NAMES[rank]);
    expect(await step).toEqual({
      payload: Uint8Array.of(2),
      counters: { quantized: 8, carries: 4, nonfinite: 2, nanoseconds: 50 },
      nonfinite: "norm of stage 0",
    });
  });

  it("that one stage refuses ends the wait of the others: it may not have looked at it", async () => {
    const { ranks, meeting } = meetingRanks();
    const step = new Group(ranks, meeting, 2).step({ T: 1 }, payload);
    ranks[0].fail(new OctavoError("OCTAVO_TOKEN_OUT_OF_RANGE", "token 9"));
    await expect(step).rejects.toMatchObject({ code: "OCTAVO_TOKEN_OUT_OF_RANGE" });
    expect(meeting.broken.aborted).toBe(true);
    ranks[1].fail(new OctavoError("OCTAVO_GROUP_BROKEN", "aborted"));
  });

  it("ends with the loss of a rank, though the other one never answers", async () => {
    const ranks = [new FakeProgram(), new FakeProgram()] as const;
    const step = new Group(ranks).step({ T: 1 }, payload);
    ranks[1].fail(new OctavoError("OCTAVO_WORKER_LOST", "rank 1 is gone"));
    await expect(step).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST", message: "rank 1 is gone" });
    ranks[0].fail(new Error("later, and nobody's concern"));
  });

  it("that a rank is missing from is told by the missing one, whoever answers first", async () => {
    const { ranks, meeting, group } = meetingRanks();
    const step = group.step({ T: 1 }, payload);
    ranks[0].fail(new OctavoError("OCTAVO_GROUP_BROKEN", "rank 1 did not come"));
    await Promise.resolve();
    expect(meeting.broken.aborted).toBe(true);
    ranks[1].fail(new OctavoError("OCTAVO_WORKER_LOST", "rank 1 is gone"));
    await expect(step).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST" });
    // Where nobody is missing, they have lost each other.
    const other = group.step({ T: 1 }, payload);
    for (const rank of ranks) rank.fail(new OctavoError("OCTAVO_GROUP_BROKEN", "rank 1 did not come"));
    await expect(other).rejects.toMatchObject({ code: "OCTAVO_GROUP_BROKEN" });
  });

  it("that all ranks refuse alike leaves them together; one that only some have done does not", async () => {
    const { ranks, meeting, group } = meetingRanks();
    const refusal = new OctavoError("OCTAVO_TOKEN_OUT_OF_RANGE", "token 9");
    const refused = group.step({ T: 1 }, payload);
    for (const rank of ranks) rank.fail(refusal);
    await expect(refused).rejects.toBe(refusal);
    expect(meeting.broken.aborted).toBe(false);
    const half = group.step({ T: 1 }, payload);
    ranks[0].fail(refusal);
    ranks[1].answer(1);
    await expect(half).rejects.toBe(refusal);
    await Promise.resolve();
    expect(meeting.broken.aborted).toBe(true);
  });

  it("late on one rank waits for the others; late on all, it ends their wait, and then it hangs", () => {
    const { ranks, meeting, group } = meetingRanks();
    void group.step({ T: 1 }, payload);
    const [first, second] = ranks.map(({ sent }) => (sent[0]![2] as StepOptions).onLate!);
    expect([first!(), meeting.broken.aborted]).toEqual([expect.any(Number), false]);
    expect([first!(), meeting.broken.aborted]).toEqual([expect.any(Number), false]);
    expect([second!(), meeting.broken.aborted]).toEqual([expect.any(Number), true]);
    expect([first!(), second!()]).toEqual([expect.any(Number), undefined]);
    expect(first!()).toBeUndefined();
  });
});

function meetingRanks() {
  const ranks = [new FakeProgram(), new FakeProgram()] as const;
  const broken = new AbortController();
  const meeting = { broken: broken.signal, abort: (reason: OctavoError) => broken.abort(reason) };
  return { ranks, meeting, group: new Group(ranks, meeting) };
}
