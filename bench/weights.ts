/** Weights that a step reads, for the table: Octavo's of its program, peers' of their bits per weight. */
import { weightBytes } from "../ts/bench/costs.ts";
import { buildModel, describeModel } from "../ts/model/families/index.ts";
import type { Manifest } from "../ts/model/source/manifest.ts";
import { resolveSettings, type SettingsOptions } from "../ts/plan/settings.ts";
import { fuse } from "../ts/program/fuse.ts";
import type { Peer } from "./peers.ts";

export interface Weights {
  /** Elements of the linears of all layers, and of the output layer. */
  readonly linears: number;
  readonly head: number;
  /** Bytes of both as the file has them. */
  readonly shipped: number;
  /** Bytes of an Octavo with these options. */
  octavo(options: SettingsOptions): number;
}

export function weightsOf(manifest: Manifest): Weights {
  const description = describeModel(manifest);
  const { hidden, vocabulary } = description;
  const matrices = [...manifest.tensors.values()].filter(({ shape }) => shape.length === 2);
  const inLayers = matrices.filter(({ shape }) => !shape.includes(vocabulary));
  const tables = matrices.filter((one) => !inLayers.includes(one));
  // The embedding is the output layer of a model that has no other.
  const output = tables.find(({ name }) => !name.includes("embd") && !name.includes("embed")) ?? tables[0];
  const linears = inLayers.reduce((sum, { shape }) => sum + shape[0]! * shape[1]!, 0);
  const shipped = inLayers.reduce((sum, { bytes }) => sum + bytes, output?.bytes ?? 0);
  return {
    ...{ linears, head: hidden * vocabulary, shipped },
    octavo(options) {
      const { modelOptions } = resolveSettings(description, options);
      return weightBytes(fuse(buildModel(manifest, { ...modelOptions, pages: 1, context: 1, rows: 1 })));
    },
  };
}

/** Of one row at a time; with more rows a step reads no more of them. */
export function bytesOf(peer: Peer, { linears, head, shipped, octavo }: Weights): number {
  if (peer.environment === undefined) return octavo(JSON.parse(peer.arguments?.[0] ?? "{}"));
  return peer.bits ? (linears * peer.bits[0] + head * peer.bits[1]) / 8 : shipped;
}
