import { describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../protocol/ops.ts";
import { DEMO_CONFIG } from "../../test/support/model-options.ts";
import { modelOfConfig } from "../model/families/index.ts";
import { ProgramBuilder } from "../program/builder.ts";
import { sharesOf } from "./parallel.ts";
import { place } from "./place.ts";
import { planManifest } from "./plan.ts";
import { threadBytes } from "./process-bytes.ts";
import { resolveSettings } from "./settings.ts";

const smollm2 = () => modelOfConfig("config.json", DEMO_CONFIG);
const sized = (total: number) => ({ name: "device:0", total });

it("a thread that loads some columns of a tensor reads its whole rows", () => {
  const b = new ProgramBuilder();
  b.weight("left", { parts: [{ tensor: "w", columns: [0, 64] }], shape: [100, 64], form: "int8" });
  b.vector("bias", 200, { tensor: "w", rows: [0, 1], columns: [0, 200] });
  const { parameters } = b.build();
  // 16 rows and one more as floats, in 14 bytes per element.
  expect(threadBytes(parameters.values(), new Map([["w", { shape: [100, 4096] }]]))).toBe(17 * 4096 * 14);
});

describe("planManifest", () => {
  it("gives the demo model's bytes as computed by hand", () => {
    const plan = planManifest(smollm2(), { context: 2048, sequences: 1 }, [sized(2 ** 30)]);
    expect(plan.fits).toBe(true);
    // Per layer: q 576, k and v 192 each, o 576 rows of 576; gate and up 1536 rows of 576; down 576 rows of 1536.
    const layers = 30 * (1536 * 576 + 3072 * 576 + 576 * 1536);
    const scales = 30 * 4 * (960 + 576 + 3072 + 576);
    // The head: 49,152 rows of 576, beside the embedding.
    const head = 49_152 * (576 + 4);
    expect(plan.totals).toMatchObject({ int8: layers + 49_152 * 576, scales: scales + 4 * 49_152, head });
    const tied = planManifest(smollm2(), { head: "16bit", context: 2048, sequences: 1 }, [sized(2 ** 30)]);
    expect(tied.totals).toEqual({ int8: layers, scales, sixteenBit: plan.totals.sixteenBit, head: 0 });
    expect(plan.devices[0]!.weights - tied.devices[0]!.weights).toBe(head);
    // K and V, 30 layers, 3 heads of 64, two bytes, and a step of each row: 23,760 bytes a token.
    expect(plan.devices[0]!.kv).toBe(2048 * 23_760);
  });

  it("refuses with the missing bytes, and fits when given exactly these", () => {
    const total = 256 * 2 ** 20;
    const planOf = (bytes: number) => planManifest(smollm2(), { context: 8192, sequences: 1 }, [sized(bytes)]);
    const plan = planOf(total);
    expect(plan.fits).toBe(false);
    expect(plan.devices[0]!.free).toBeLessThan(0);
    const missing = Number(/\((\d+) bytes\) more/.exec(plan.refusal!)![1]);
    expect(planOf(total + missing).fits).toBe(true);
    expect(planOf(total + missing - 1).fits).toBe(false);
  });

  it("proposes only changes that fit, and the longest context", () => {
    const planOf = (context: number) => planManifest(smollm2(), { context, sequences: 1 }, [sized(300 * 2 ** 20)]);
    const { refusal } = planOf(8192);
    const context = Number(/context (\d+),/.exec(refusal!)![1]);
    expect(planOf(context).fits).toBe(true);
    expect(planOf(context + PAGE_SIZE).fits).toBe(false);
  });

  it("proposes the smaller head where that is enough: the embedding if there is no other, else an int8 one", () => {
    const untied = modelOfConfig("config.json", { ...DEMO_CONFIG, tie_word_embeddings: false });
    for (const [model, large, small] of [
      [smollm2(), "auto", "16bit"],
      [untied, "16bit", "int8"],
    ] as const) {
      const planOf = (head: "auto" | "16bit" | "int8", total: number) =>
        planManifest(model, { head, context: 2048, sequences: 1 }, [sized(total)]);
      const { weights, activations, context, kv } = planOf(small, 2 ** 30).devices[0]!;
      // A tenth more is enough for the margin, and not for the larger head.
      const total = Math.ceil((weights + activations + context + kv) * 1.025);
      expect(planOf(small, total).fits).toBe(true);
      const { fits, refusal } = planOf(large, total);
      expect([fits, refusal]).toEqual([false, expect.stringContaining(`(head ${small})`)]);
      expect(planOf(small, 2 ** 26).refusal).not.toContain("(head ");
    }
  });

  it("of a GPU leaves its context and what others use alone, and refuses with numbers like that of a CPU", () => {
    const gpu = { name: "cuda:0", backend: "cuda", total: 20 * 2 ** 30 } as const;
    const known = { ...gpu, baseline: 300 * 2 ** 20 };
    const options = { context: 2048, sequences: 1 };
    const [device] = planManifest(smollm2(), options, [known]).devices;
    expect([device!.name, device!.total, device!.context]).toEqual(["cuda:0", 20 * 2 ** 30, 300 * 2 ** 20]);
    expect(planManifest(smollm2(), {}, [gpu]).devices[0]!.context).toBeGreaterThan(400 * 2 ** 20);
    const { fits, refusal } = planManifest(smollm2(), options, [{ ...known, total: 500 * 2 ** 20 }]);
    expect([fits, refusal]).toEqual([
      false,
      expect.stringMatching(/^cuda:0: .* more than its 500.00 MiB.*\d+ bytes\) more/),
    ]);
  });

  it("counts what each thread of the worker takes beside the model: the rows that it loads, and candidates for a draw", () => {
    const plan = (threads: number, backend: "cpu" | "cuda" = "cpu") =>
      planManifest(smollm2(), {}, [{ name: "cpu:0", backend, threads, total: 2 ** 30, baseline: 40 * 2 ** 20 }])
        .devices[0]!;
    expect(plan(8).context - plan(7).context).toBe(16 * 1536 * 14); // Elements in the file, as floats and as they will be.
    expect(plan(8).activations - plan(7).activations).toBe(49_152 * 20);
    expect(plan(8, "cuda").context).toBe(40 * 2 ** 20); // On the machine, not on the GPU.
    expect(plan(8, "cuda").activations).toBe(plan(7, "cuda").activations);
  });

  it("accounts for every byte of the device", () => {
    const { total, weights, kv, activations, context, collectives, margin, free } = planManifest(smollm2(), {}, [
      sized(400 * 2 ** 20),
    ]).devices[0]!;
    expect(total).toBe(400 * 2 ** 20);
    expect(weights + kv + activations + context + collectives + margin + free).toBe(total);
  });

  it("says how many tokens were asked for, beside how many there is room for", () => {
    const { fits, kvTokens, wantedTokens } = planManifest(smollm2(), { context: 4096, sequences: 64 }, [
      sized(2 ** 30),
    ]);
    expect([fits, wantedTokens]).toEqual([true, 262_144]);
    expect(kvTokens).toBeLessThan(wantedTokens);
  });

  it("leaves alone what others on the device were promised", () => {
    const options = { context: 2048, sequences: 1 };
    const alone = planManifest(smollm2(), options, [sized(2 ** 30)]);
    const beside = planManifest(smollm2(), options, [{ ...sized(2 ** 31), held: 2 ** 30 }]);
    expect(beside).toEqual(alone);
    expect(planManifest(smollm2(), options, [{ ...sized(2 ** 30), held: 2 ** 31 }]).fits).toBe(false);
  });
});

describe("several ranks", () => {
  const MiB = 2 ** 20;
  const rank = (weights: number) => ({
    cut: { layers: [0, 1] as const, heads: 1, kvHeads: 1, mlp: 1, vocabulary: 1 },
    bytes: { int8: weights, scales: 0, sixteenBit: 0, kvPage: MiB, io: 0, arena: 0 },
    head: 0,
    threadBytes: 0,
    workspace: { thread: 0, shared: [0, 0] as const, scratch: 0, blocks: 0 },
  });
  const settings = resolveSettings({ context: 64, headDim: 64 }, { context: 64, sequences: 2 });
  const devices = [
    { name: "cuda:0", backend: "cuda", baseline: 0, total: 100 * MiB },
    { name: "cuda:1", backend: "cuda", baseline: 0, total: 50.1 * MiB },
  ] as const;

  it("are each charged with what is theirs, and have the pages of the fullest one", () => {
    const plan = place(
      { settings, shares: [1, 1], stages: 1, collectives: 0, ranks: [rank(10 * MiB), rank(44 * MiB)] },
      devices,
    );
    expect(plan.devices.map(({ weights, kv }) => [weights / MiB, kv / MiB])).toEqual([
      [10, 5],
      [44, 5],
    ]);
    expect([plan.fits, plan.details.pages, plan.totals.int8 / MiB]).toEqual([true, 5, 54]);
  });

  it("fit only where every one of them does", () => {
    const plan = place(
      { settings, shares: [1, 1], stages: 1, collectives: 0, ranks: [rank(10 * MiB), rank(47 * MiB)] },
      devices,
    );
    expect([plan.fits, plan.devices.map(({ free }) => free < 0)]).toEqual([false, [false, true]]);
  });

  const GiB = 2 ** 30;
  const SMALL = 128 * MiB;
  /** Of which a plan is made quickly. */
  const shallow = () => modelOfConfig("config.json", { ...DEMO_CONFIG, num_hidden_layers: 2 });
  const sizes = (...totals: number[]) => totals.map((total, index) => ({ name: `device:${index}`, total }));

  it("have equal shares where devices have about the same room, else by their room", () => {
    expect(sharesOf(sizes(24 * GiB, 24 * GiB))).toEqual([1, 1]);
    expect(sharesOf(sizes(24 * GiB, 22 * GiB))).toEqual([1, 1]);
    const [first, second] = sharesOf(sizes(24 * GiB, 12 * GiB)) as [number, number];
    expect(first / second).toBeCloseTo(2, 1);
    const together = sizes(8 * GiB, 8 * GiB).map((size) => ({ ...size, memory: "machine" }));
    expect(sharesOf(together)).toEqual([1, 1]);
  });

  it("add up to the whole model, and say what each of them has", () => {
    const whole = planManifest(smollm2(), { sequences: 1 }, sizes(4 * GiB));
    const cut = planManifest(smollm2(), { sequences: 1 }, sizes(4 * GiB, 2 * GiB));
    expect([cut.totals.int8, cut.totals.scales]).toEqual([whole.totals.int8, whole.totals.scales]);
    const ranks = cut.details.ranks.map((rank) => rank.cut);
    expect(ranks.map(({ heads, kvHeads }) => [heads, kvHeads])).toEqual([
      [6, 2],
      [3, 1],
    ]);
    const sum = (part: "mlp" | "vocabulary") => ranks.reduce((total, rank) => total + rank[part]!, 0);
    expect([sum("mlp"), sum("vocabulary")]).toEqual([1536, 49_152]);
    // In one memory, which is the host's.
    expect(cut.devices.map(({ collectives }) => collectives > 0)).toEqual([true, false]);
    for (const { total, weights, kv, activations, context, collectives, margin, free } of cut.devices)
      expect(weights + kv + activations + context + collectives + margin + free).toBe(total);
  });

  it("in one memory have it together, to the byte", () => {
    const planOf = (total: number) =>
      planManifest(
        shallow(),
        { context: 2048, sequences: 1 },
        sizes(total, total).map((size) => ({ ...size, memory: "machine" })),
      );
    const plan = planOf(SMALL);
    expect(plan.devices.reduce((sum, { total }) => sum + total, 0)).toBe(SMALL);
    expect([plan.fits, plan.refusal]).toEqual([false, expect.stringMatching(/^device:0, device:1: /)]);
    const missing = Number(/\((\d+) bytes\) more\./.exec(plan.refusal!)![1]);
    expect([planOf(SMALL + missing).fits, planOf(SMALL + missing - 1).fits]).toEqual([true, false]);
  });

  it("that do not fit are refused with the number of devices that would", () => {
    const planOf = (count: number) =>
      planManifest(shallow(), { context: 2048, sequences: 1 }, sizes(...new Array<number>(count).fill(SMALL)));
    const { refusal } = planOf(2);
    const count = Number(/on (\d+) devices of this size/.exec(refusal!)![1]);
    expect([planOf(count).fits, planOf(count - 1).fits]).toEqual([true, false]);
    const each = Number(/\((\d+) bytes\) more on each device/.exec(refusal!)![1]);
    expect(planManifest(shallow(), { context: 2048, sequences: 1 }, sizes(SMALL + each, SMALL + each)).fits).toBe(true);
  });
});
