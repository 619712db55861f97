/** What a model has on the devices of its ranks, and programs over all of them; nothing is planned here. */
import type { Sizes } from "../../protocol/messages.ts";
import type { ModelOptions } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import type { Pool } from "../pool.ts";
import type { Program } from "../program/program.ts";
import type { Device } from "../tensor/device.ts";
import { Collectives } from "./collectives.ts";
import { Group } from "./group.ts";
import { type DefineOptions, type DefineTimings, ResidentModel } from "./resident.ts";

export interface GroupOptions extends Omit<DefineOptions, "workspace" | "group"> {
  readonly built?: ModelOptions | undefined;
  /** Bytes that the workspace of each rank is to have at least. */
  readonly workspaces?: readonly number[] | undefined;
}

export class Residence {
  readonly owner: string;
  readonly #pool: Pool;
  readonly #manifest: Manifest;
  #ranks: readonly ResidentModel[] = [];
  #collectives: Collectives | undefined;
  #stages = 1;

  /** `devices` of the pool, rank 0 first. Throws what `ResidentModel` throws. */
  constructor(pool: Pool, devices: readonly Device[], manifest: Manifest, owner: string) {
    this.owner = owner;
    this.#pool = pool;
    this.#manifest = manifest;
    this.move(devices);
  }

  get devices(): readonly Device[] {
    return this.#ranks.map(({ device }) => device);
  }

  get ranks(): readonly ResidentModel[] {
    return this.#ranks;
  }

  /** Each is aborted, with its reason, when nothing can run here any more: a worker is lost, or the ranks have lost each other. */
  get losses(): readonly AbortSignal[] {
    const lost = this.devices.map((device) => device.lost);
    return this.#collectives === undefined ? lost : [...lost, this.#collectives.broken];
  }

  /** From now on there. What is on the earlier devices stays until `free`. */
  move(devices: readonly Device[]): void {
    this.#ranks = devices.map((device) => new ResidentModel(device, this.#manifest, this.owner));
  }

  /** Several ranks need a place to meet, of `bytes`, before they have programs. Throws what `Collectives.open` throws. */
  async meet(bytes: number, stages = 1): Promise<void> {
    this.#stages = stages;
    if (bytes > 0)
      this.#collectives = await Collectives.open(this.#pool.shared, this.devices, this.owner, bytes, stages);
  }

  /** A program for each rank, on all of them at once. Throws what `ResidentModel.defineProgram` throws. */
  async define(
    programs: readonly Program[],
    limits: Sizes,
    { workspaces, onProgress, ...options }: GroupOptions = {},
  ): Promise<{ readonly group: Group; readonly timings: DefineTimings }> {
    const progress = programs.map(() => ({ done: 0, total: 0 }));
    const collectives = this.#collectives;
    const defined = await allOf(
      this.#ranks.map((rank, index) =>
        rank.defineProgram(programs[index]!, limits, {
          ...options,
          workspace: workspaces?.[index],
          group: collectives?.handles[index],
          onProgress: (done, total) => {
            progress[index] = { done, total };
            const sum = (key: "done" | "total") => progress.reduce((bytes, of) => bytes + of[key], 0);
            onProgress?.(sum("done"), sum("total"));
          },
        }),
      ),
    );
    const [first, ...others] = defined.map(({ program }) => program);
    const slowest = (key: keyof DefineTimings) => Math.max(...defined.map(({ timings }) => timings[key]));
    const timings = { allocateMs: slowest("allocateMs"), loadMs: slowest("loadMs"), defineMs: slowest("defineMs") };
    return { group: new Group([first!, ...others], collectives, this.#stages), timings };
  }

  /** Frees all of it, an attempt that failed halfway included. Throws what `Device.free` throws of a worker that lives. */
  async free(): Promise<void> {
    await allOf(this.#ranks.map((rank) => rank.free()));
    await this.left();
  }

  /** Its workers have freed it or are gone. */
  async left(): Promise<void> {
    const collectives = this.#collectives;
    this.#collectives = undefined;
    await collectives?.close();
  }
}

/** All of them, once the last one has ended; the first failure among them is thrown. */
export async function allOf<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(tasks);
  return await Promise.all(tasks);
}
