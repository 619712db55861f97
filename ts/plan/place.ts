/** Ranks on devices: how many KV pages there is room for, and what is left. Pure. */
import { PAGE_SIZE } from "../../protocol/ops.ts";
import type { DeviceSize } from "./devices.ts";
import { MARGIN } from "./margin.ts";
import type { ModelNeeds } from "./needs.ts";
import { processBytes } from "./process-bytes.ts";
import type { DevicePlan, Plan } from "./types.ts";
import { workspaceOn } from "./workspace.ts";

type Fixed = Pick<DevicePlan, "weights" | "activations" | "context" | "collectives">;

/** Ranks whose devices have one memory together; most are alone. */
interface Memory {
  readonly total: number;
  readonly margin: number;
  readonly ranks: number[];
}

/**
 * Rank r on device r. KV takes what remains, capped by sequences x context; one sequence of full context must fit. All ranks
 * have as many pages as the one with the least room.
 */
export function place(needs: ModelNeeds, devices: readonly DeviceSize[]): Plan {
  const { ranks, settings } = needs;
  const { J: pagesPerSequence, B: sequences } = settings.limits;
  const fixed = ranks.map((_, rank) => fixedOf(needs, rank, devices[rank]!));
  const memories = memoriesOf(devices.slice(0, ranks.length));
  const freeOf = ({ total, margin, ranks: sharing }: Memory, pages: number) =>
    sharing.reduce((free, rank) => free - bytesOf(fixed[rank]!) - pages * ranks[rank]!.bytes.kvPage, total - margin);
  const room = memories.map((memory) => {
    const page = memory.ranks.reduce((sum, rank) => sum + ranks[rank]!.bytes.kvPage, 0);
    return Math.floor(freeOf(memory, 0) / page);
  });
  const pages = Math.max(0, Math.min(sequences * pagesPerSequence, ...room));
  const fits = pages >= pagesPerSequence;
  const shown = fits ? pages : pagesPerSequence;
  const plans: DevicePlan[] = [];
  for (const memory of memories) {
    const [free, margin] = [freeOf(memory, shown), memory.margin].map((bytes) => parts(bytes, memory.ranks.length));
    for (const [index, rank] of memory.ranks.entries()) {
      const kv = shown * ranks[rank]!.bytes.kvPage;
      const left = { margin: margin![index]!, free: free![index]! };
      const total = bytesOf(fixed[rank]!) + kv + left.margin + left.free;
      plans[rank] = { name: devices[rank]!.name, total, ...fixed[rank]!, kv, ...left };
    }
  }
  const total = (kind: "int8" | "scales" | "sixteenBit") => ranks.reduce((sum, { bytes }) => sum + bytes[kind], 0);
  return {
    fits,
    kvTokens: pages * PAGE_SIZE,
    wantedTokens: sequences * pagesPerSequence * PAGE_SIZE,
    totals: {
      ...{ int8: total("int8"), scales: total("scales"), sixteenBit: total("sixteenBit") },
      head: ranks.reduce((sum, { head }) => sum + head, 0),
    },
    devices: plans,
    details: { ...needs, pages },
  };
}

/** What a rank takes however many pages there are. */
function fixedOf({ ranks, collectives }: ModelNeeds, rank: number, device: DeviceSize): Fixed {
  const { bytes, threadBytes, workspace } = ranks[rank]!;
  const { backend = "cpu", threads = 1, baseline } = device;
  return {
    weights: bytes.int8 + bytes.scales + bytes.sixteenBit,
    activations: bytes.arena + workspaceOn(workspace, { backend, threads }) + bytes.io,
    context: processBytes(backend, threadBytes, threads, baseline),
    collectives: rank === 0 ? collectives : 0,
  };
}

function bytesOf({ weights, activations, context, collectives }: Fixed): number {
  return weights + activations + context + collectives;
}

function memoriesOf(devices: readonly DeviceSize[]): Memory[] {
  const memories = new Map<unknown, Memory>();
  for (const [rank, device] of devices.entries()) {
    const key = device.memory ?? rank;
    const known = memories.get(key);
    if (known !== undefined) {
      known.ranks.push(rank);
      continue;
    }
    const total = Math.max(0, device.total - (device.held ?? 0));
    memories.set(key, { total, margin: Math.ceil(total * MARGIN), ranks: [rank] });
  }
  return [...memories.values()];
}

/** Whole bytes, that together are `bytes`; the first ones get the remainder. */
function parts(bytes: number, count: number): number[] {
  const each = Math.floor(bytes / count);
  return Array.from({ length: count }, (_, index) => each + (index < bytes - each * count ? 1 : 0));
}
