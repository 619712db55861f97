import fc from "fast-check";
import { expect, test } from "vitest";
import { pagesFor } from "../memory/kv/pages.ts";
import { Scheduler, type SchedulerLimits, stepsInFlight } from "./scheduler.ts";
import type { Sequence, Step } from "./sequence.ts";

/** A worker that remembers what was computed, and refuses what a real one could not do. */
class Model {
  readonly scheduler: Scheduler;
  readonly limits: SchedulerLimits;
  readonly flight: Step[] = [];
  /** Positions computed so far, by sequence. */
  readonly computed = new Map<Sequence, number>();
  readonly drawn = new Map<Sequence, number>();
  readonly live = new Set<Sequence>();
  #last: Step | undefined;

  constructor(limits: SchedulerLimits) {
    this.limits = limits;
    this.scheduler = new Scheduler(limits);
  }

  submit(prompt: number, maxTokens: number): Sequence {
    const sequence = this.scheduler.submit(prompt, maxTokens);
    this.live.add(sequence);
    this.drawn.set(sequence, 0);
    this.computed.set(sequence, 0);
    return sequence;
  }

  plan(): boolean {
    const step = this.scheduler.plan();
    if (!step) return false;
    this.#check(step);
    this.flight.push(step);
    this.#last = step;
    return true;
  }

  return(): void {
    const step = this.flight.shift();
    if (!step) return;
    this.scheduler.returned(step);
    for (const { sequence, sample } of step.rows) {
      if (sample < 0 || !this.live.has(sequence)) continue;
      const drawn = this.drawn.get(sequence)! + 1;
      this.drawn.set(sequence, drawn);
      this.scheduler.trust(sequence);
      if (sequence.prompt + drawn === sequence.limit) this.end(sequence);
    }
  }

  end(sequence: Sequence): void {
    this.scheduler.end(sequence);
    this.live.delete(sequence);
  }

  /** The worker is gone, with all it has computed; those that `alone` says run alone afterwards. */
  lose(alone: (sequence: Sequence, index: number) => boolean): void {
    for (const step of this.flight.splice(0)) this.scheduler.returned(step);
    const { admitted } = this.scheduler;
    this.scheduler.requeue(
      admitted.map((sequence, index) => ({
        sequence,
        drawn: this.drawn.get(sequence)!,
        alone: alone(sequence, index),
      })),
    );
    for (const sequence of admitted) this.computed.set(sequence, 0);
    expect([this.scheduler.running, this.scheduler.freePages]).toEqual([0, this.limits.pages]);
  }

  #check(step: Step): void {
    const { rows } = step;
    expect(rows.reduce((sum, row) => sum + row.count, 0)).toBe(step.tokens);
    expect(step.tokens).toBeGreaterThan(0);
    expect(step.tokens).toBeLessThanOrEqual(this.limits.tokenBudget);
    expect(new Set(rows.map((row) => row.sequence)).size).toBe(rows.length);
    expect(rows.length).toBeLessThanOrEqual(this.limits.sequences);
    const samples = rows.filter((row) => row.sample >= 0).map((row) => row.sample);
    expect(samples).toEqual(Array.from({ length: step.samples }, (_, index) => index));
    for (const { sequence, start, count, sample, previous } of rows) {
      expect(this.live.has(sequence)).toBe(true);
      expect(start).toBe(this.computed.get(sequence));
      this.computed.set(sequence, start + count);
      expect(start + count).toBeLessThan(sequence.limit);
      expect(sequence.pages!.ids).toHaveLength(pagesFor(start + count)); // None before positions reach it.
      if (sequence.alone) expect(rows).toHaveLength(1);
      const known = sequence.prompt + this.drawn.get(sequence)!;
      if (start < known) {
        expect(previous).toBe(-1);
        expect(start + count).toBeLessThanOrEqual(known);
        expect(sample >= 0).toBe(start + count === known);
      } else {
        expect(this.limits.stages ?? 1).toBe(1); // The first of several stages cannot know it.
        expect(count).toBe(1);
        expect(sample).toBeGreaterThanOrEqual(0);
        // A token whose id has not come back must be a row of the step just before.
        const source = this.#last!.rows.find((row) => row.sample === previous);
        expect(source?.sequence).toBe(sequence);
        expect(this.flight).toContain(this.#last);
      }
    }
    const decoding = rows.filter(({ sequence, start }) => start >= sequence.prompt + this.drawn.get(sequence)! - 1);
    const most = Math.ceil(this.scheduler.running / (this.limits.stages ?? 1));
    expect(decoding.filter(({ sequence, start }) => start >= sequence.prompt).length).toBeLessThanOrEqual(most);
    this.checkPages();
  }

  checkPages(): void {
    // Pages of live sequences, and of ended ones in a step that has not returned, are distinct and all that is not free.
    const holders = new Set(this.live);
    for (const step of this.flight) for (const row of step.rows) holders.add(row.sequence);
    const held = [...holders].flatMap(({ pages }) => pages ?? []);
    const ids = held.flatMap((pages) => pages.ids);
    expect(new Set(ids).size).toBe(ids.length);
    const promised = held.reduce((sum, pages) => sum + pages.promised, 0);
    expect(this.scheduler.freePages).toBe(this.limits.pages - ids.length - promised);
    expect(this.scheduler.audit()).toEqual([]);
  }
}

const limitsArbitrary = fc.record({
  pages: fc.integer({ min: 4, max: 30 }),
  sequences: fc.integer({ min: 1, max: 6 }),
  tokenBudget: fc.integer({ min: 1, max: 40 }),
  stages: fc.constantFrom(undefined, 1, 2, 3),
});

const actionArbitrary = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("submit" as const), prompt: fc.nat(60), tokens: fc.nat(20) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("plan" as const) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("return" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("end" as const), pick: fc.nat() }) },
  // A bit for each sequence that runs: whether it is to run alone.
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose" as const), alone: fc.nat(63) }) },
);

test("whatever arrives, ends, is aborted or lost with its worker: no page is shared, no budget exceeded, positions follow each other, all finish", () => {
  fc.assert(
    fc.property(limitsArbitrary, fc.array(actionArbitrary, { maxLength: 120 }), (limits, actions) => {
      const model = new Model(limits);
      for (const action of actions) {
        if (action.kind === "submit") {
          if (model.scheduler.fits(action.prompt + 1, action.tokens + 1))
            model.submit(action.prompt + 1, action.tokens + 1);
        } else if (action.kind === "plan") model.plan();
        else if (action.kind === "return") model.return();
        else if (action.kind === "lose") model.lose((_, index) => (action.alone & (1 << index)) !== 0);
        else if (model.live.size > 0) model.end([...model.live][action.pick % model.live.size]!);
        model.checkPages();
      }
      for (let turn = 0; model.live.size > 0 || model.flight.length > 0; turn += 1) {
        expect(turn).toBeLessThan(20_000);
        const planned = model.plan();
        expect(planned || model.flight.length > 0).toBe(true);
        if (!planned || model.flight.length === stepsInFlight(limits.stages ?? 1)) model.return();
      }
      expect(model.scheduler.freePages).toBe(limits.pages);
      expect(model.scheduler.running + model.scheduler.waiting).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test("a long prompt is cut into chunks, and those who decode go on in the same steps", () => {
  const model = new Model({ pages: 100, sequences: 4, tokenBudget: 16 });
  const short = model.submit(3, 10);
  model.plan();
  const long = model.submit(40, 5);
  model.plan();
  const second = model.flight[1]!;
  expect(second.rows.map((row) => [row.sequence, row.count, row.sample, row.previous])).toEqual([
    [short, 1, 0, 0],
    [long, 15, -1, -1],
  ]);
});

test.each([2, 3])(
  "with %i stages each has a step: others decode in each, and none whose token is being drawn",
  (stages) => {
    const model = new Model({ pages: 100, sequences: 8, tokenBudget: 16, stages });
    const all = Array.from({ length: 8 }, () => model.submit(2, 50));
    while (model.plan());
    expect(model.flight.map(({ rows }) => rows.length)).toEqual([8]); // The prompts.
    model.return();
    const parts: Sequence[][] = [];
    for (let turn = 0; turn < 6 * stages; turn += 1) {
      while (model.plan());
      expect(model.flight).toHaveLength(stages);
      parts.push(model.flight[0]!.rows.map(({ sequence }) => sequence));
      model.return();
    }
    const counts = parts.slice(0, stages).map((part) => part.length);
    expect(counts).toEqual(stages === 2 ? [4, 4] : [3, 3, 2]);
    for (let turn = stages; turn < parts.length; turn += 1) expect(parts[turn]).toEqual(parts[turn - stages]);
    expect(new Set(parts.slice(0, stages).flat())).toEqual(new Set(all));
  },
);

test("chunks of a prompt follow each other through stages without waiting", () => {
  const model = new Model({ pages: 100, sequences: 2, tokenBudget: 8, stages: 2 });
  const sequence = model.submit(40, 4);
  while (model.plan());
  expect(model.flight.map(({ rows }) => rows[0]!.start)).toEqual([0, 8, 16]);
  for (let step = 0; step < 4; step += 1) {
    model.return();
    while (model.plan());
  }
  expect(model.flight.map(({ rows }) => [rows[0]!.start, rows[0]!.sample])).toEqual([[32, 0]]);
  model.return();
  expect([model.plan(), model.drawn.get(sequence)]).toEqual([true, 1]);
});

test("waiting requests are admitted in order: a small one does not overtake a big one that waits for pages", () => {
  const model = new Model({ pages: 4, sequences: 4, tokenBudget: 64 });
  const first = model.submit(30, 10);
  const big = model.submit(30, 10);
  const small = model.submit(1, 1);
  model.plan();
  expect([first.state, big.state, small.state]).toEqual(["running", "waiting", "waiting"]);
  model.end(first);
  model.return();
  model.plan();
  expect([big.state, small.state]).toEqual(["running", "running"]);
  expect([big.pages!.ids.length, big.pages!.promised]).toEqual([2, 1]);
});

test("when the budget is smaller than the number of sequences, those that decode go on and the others wait", () => {
  const model = new Model({ pages: 100, sequences: 6, tokenBudget: 2 });
  const all = Array.from({ length: 6 }, () => model.submit(1, 50));
  for (let step = 0; step < 40; step += 1) {
    model.plan();
    model.return();
  }
  expect(all.map((sequence) => model.drawn.get(sequence)!)).toEqual([40, 40, 0, 0, 0, 0]);
});

test("an aborted sequence is in no later step, and its pages are not given away while a step may still write them", () => {
  const model = new Model({ pages: 4, sequences: 2, tokenBudget: 64 });
  const first = model.submit(40, 20);
  const next = model.submit(40, 20);
  model.plan();
  model.plan();
  model.end(first);
  model.return();
  expect(model.plan()).toBe(false);
  expect(next.state).toBe("waiting");
  model.return();
  expect(model.plan()).toBe(true);
  expect(next.state).toBe("running");
});

test("a sequence whose keys are computed again runs in chunks as a prompt does, and draws what it would have drawn next", () => {
  const scheduler = new Scheduler({ pages: 8, sequences: 2, tokenBudget: 16 });
  const sequence = scheduler.submit(5, 60);
  for (let drawn = 0; drawn < 20; drawn += 1) scheduler.returned(scheduler.plan()!);
  expect([sequence.computed, sequence.wanted]).toEqual([24, 25]);
  sequence.computed = 3; // As after a prefix that was found in a cache.
  const steps = Array.from({ length: 3 }, () => {
    const step = scheduler.plan()!;
    scheduler.returned(step);
    return step.rows.map(({ start, count, sample, previous }) => [start, count, sample, previous]);
  });
  expect(steps).toEqual([[[3, 16, -1, -1]], [[19, 6, 0, -1]], [[25, 1, 0, -1]]]);
});

test("those that ran when a worker was lost come before those that waited, in their order, and draw what they would have drawn", () => {
  const model = new Model({ pages: 9, sequences: 4, tokenBudget: 40 });
  const [first, second] = [model.submit(20, 30), model.submit(5, 40)];
  const waiting = model.submit(30, 30);
  for (let step = 0; step < 4; step += 1) {
    model.plan();
    model.return();
  }
  model.plan(); // Lost.
  model.plan();
  expect([first.state, second.state, waiting.state]).toEqual(["running", "running", "waiting"]);
  const late = model.submit(1, 1);
  model.lose(() => false);
  expect([first, second].map(({ wanted, computed, pages }) => [wanted, computed, pages])).toEqual([
    [24, 0, undefined],
    [9, 0, undefined],
  ]);
  model.plan();
  const rows = model.flight[0]!.rows.map(({ sequence, start, count, sample, previous }) => [
    ...[sequence, start, count, sample, previous],
  ]);
  expect(rows).toEqual([
    [first, 0, 24, 0, -1],
    [second, 0, 9, 1, -1],
  ]);
  expect([waiting.state, late.state]).toEqual(["waiting", "waiting"]);
});

test("of those lost in their last step, one that needs no more than it draws once more ends there", () => {
  const model = new Model({ pages: 4, sequences: 2, tokenBudget: 64 });
  const sequence = model.submit(10, 3);
  model.plan();
  model.return();
  model.plan();
  model.plan(); // Draws the last one.
  expect(model.plan()).toBe(false);
  model.lose(() => false);
  model.plan();
  expect(model.flight[0]!.rows).toMatchObject([{ start: 0, count: 11, sample: 0 }]);
  model.return();
  model.plan();
  model.return();
  expect([model.drawn.get(sequence), model.live.size]).toEqual([3, 0]);
});

test("a suspect runs alone, in chunks and while it decodes, until it is trusted; then the next one, and at last all together", () => {
  const model = new Model({ pages: 100, sequences: 4, tokenBudget: 16 });
  const all = [model.submit(20, 10), model.submit(20, 10), model.submit(4, 10)];
  const names = new Map(all.map((sequence, index) => [sequence, "abc"[index]!]));
  for (let step = 0; step < 3; step += 1) {
    model.plan();
    model.return();
  }
  expect(model.scheduler.admitted).toEqual(all);
  model.lose((_, index) => index !== 1);
  const steps = Array.from({ length: 6 }, () => {
    model.plan();
    const step = model.flight[0]!.rows.map(({ sequence, count }) => `${names.get(sequence)}${count}`).join(" ");
    model.return();
    return step;
  });
  expect(steps).toEqual(["a16", "a6", "a1 b15", "c5", "a1 c1 b6", "a1 b1 c1"]);
});

test("what is lost with steps under way, or did not run, is refused", () => {
  const model = new Model({ pages: 4, sequences: 1, tokenBudget: 64 });
  const [running, waiting] = [model.submit(4, 4), model.submit(4, 4)];
  model.plan();
  const { scheduler } = model;
  expect(() => scheduler.requeue([{ sequence: running, drawn: 0, alone: false }])).toThrow("1 steps have not returned");
  model.return();
  expect(() => scheduler.requeue([{ sequence: waiting, drawn: 0, alone: false }])).toThrow("does not run");
});

test("a request of one token needs no room beyond its prompt", () => {
  const scheduler = new Scheduler({ pages: 1, sequences: 1, tokenBudget: 64 });
  expect(scheduler.fits(16, 1)).toBe(true);
  expect(scheduler.fits(16, 2)).toBe(false);
});

test("ending one of many that wait walks over none of the others: 60,000 aborts blocked a server for half a minute", () => {
  const scheduler = new Scheduler({ pages: 4, sequences: 2, tokenBudget: 64 });
  const all = Array.from({ length: 1000 }, () => scheduler.submit(40, 20));
  scheduler.plan();
  const walked: number[] = [];
  const methods = ["indexOf", "splice", "filter", "findIndex", "slice", "shift"] as const;
  const originals = methods.map((method) => [method, Array.prototype[method]] as const);
  for (const [method, original] of originals) {
    Object.assign(Array.prototype, {
      [method](this: unknown[], ...args: unknown[]): unknown {
        walked.push(this.length);
        return Reflect.apply(original, this, args);
      },
    });
  }
  try {
    for (let index = all.length - 1; index >= 0; index--) scheduler.end(all[index]!);
  } finally {
    for (const [method, original] of originals) Object.assign(Array.prototype, { [method]: original });
  }
  expect(walked.filter((length) => length > 10)).toEqual([]);
  expect(scheduler.waiting + scheduler.running).toBe(0);
});
