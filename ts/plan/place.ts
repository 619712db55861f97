/** Ranks on devices: how many KV pages there is room for, and what is left. Pure. */
import { PAGE_SIZE } from "../../protocol/ops.ts";
import type { DeviceSize } from "./devices.ts";
import type { ModelNeeds, RankNeeds } from "./needs.ts";
import { processBytes } from "./process-bytes.ts";
import type { DevicePlan, Plan } from "./types.ts";
import { workspaceOn } from "./workspace.ts";

/** Left free for allocator slack, messages in flight, captured graphs: an estimate, a share of the device. */
export const MARGIN = 0.02;

/**
 * Rank r on device r. KV takes what remains, capped by sequences x context; one sequence of full context must fit. All ranks
 * have as many pages as the one with the least room.
 */
export function place(needs: ModelNeeds, devices: readonly DeviceSize[]): Plan {
  const { ranks, settings } = needs;
  const { J: pagesPerSequence, B: sequences } = settings.limits;
  const rooms = ranks.map((rank, index) => roomFor(rank, devices[index]!));
  const room = rooms.map(({ free }, index) => Math.floor(free / ranks[index]!.bytes.kvPage));
  const pages = Math.max(0, Math.min(sequences * pagesPerSequence, ...room));
  const fits = pages >= pagesPerSequence;
  const total = (kind: "int8" | "scales" | "sixteenBit") => ranks.reduce((sum, { bytes }) => sum + bytes[kind], 0);
  return {
    fits,
    kvTokens: pages * PAGE_SIZE,
    wantedTokens: sequences * pagesPerSequence * PAGE_SIZE,
    totals: {
      ...{ int8: total("int8"), scales: total("scales"), sixteenBit: total("sixteenBit") },
      head: ranks.reduce((sum, { head }) => sum + head, 0),
    },
    devices: rooms.map((device, index): DevicePlan => {
      const kv = (fits ? pages : pagesPerSequence) * ranks[index]!.bytes.kvPage;
      return { ...device, kv, free: device.free - kv };
    }),
    details: { ...needs, pages },
  };
}

/** A device with all of a rank but its KV. */
function roomFor({ bytes, threadBytes, workspace }: RankNeeds, device: DeviceSize): DevicePlan {
  const { name, backend = "cpu", threads = 1, baseline, held = 0 } = device;
  const total = Math.max(0, device.total - held);
  const weights = bytes.int8 + bytes.scales + bytes.sixteenBit;
  const activations = bytes.arena + workspaceOn(workspace, { backend, threads }) + bytes.io;
  const context = processBytes(backend, threadBytes, threads, baseline);
  const margin = Math.ceil(total * MARGIN);
  const free = total - weights - activations - context - margin;
  return { name, total, weights, kv: 0, activations, context, collectives: 0, margin, free };
}
