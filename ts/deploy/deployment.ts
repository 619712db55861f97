/** A model on the devices of its ranks: its programs there, and the bytes that it takes and gives back. */
import type { ModelOptions } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import type { ModelNeeds } from "../plan/needs.ts";
import type { SettingsOptions } from "../plan/settings.ts";
import type { Plan } from "../plan/types.ts";
import { workspaceOn } from "../plan/workspace.ts";
import type { Pool } from "../pool.ts";
import type { Program } from "../program/program.ts";
import type { Device } from "../tensor/device.ts";
import { FileStates } from "./file-states.ts";
import { Group } from "./group.ts";
import { planOn, recordPlan } from "./plan-on.ts";
import { type DefineOptions, type DefineTimings, ResidentModel } from "./resident.ts";

/** Where a model runs. */
export interface Deployment {
  /** One per rank, rank 0 first. After a worker was lost these are others: ask again rather than keep them. */
  readonly devices: readonly Device[];
}

export interface DeploymentParts {
  readonly pool: Pool;
  /** Whether the pool is there for this model alone, and goes with it. */
  readonly ownsPool: boolean;
  /** Of the pool, one per rank. */
  readonly devices: readonly Device[];
  /** For reports. */
  readonly name: string;
  readonly manifest: Manifest;
  readonly needs: ModelNeeds;
  /** A model's program for each rank. */
  readonly programs: (manifest: Manifest, options: ModelOptions) => readonly Program[];
}

/** Milliseconds of each part of a load. */
export interface ResideTimings extends DefineTimings {
  readonly buildMs: number;
}

let deployments = 0;

export class ModelDeployment implements Deployment {
  readonly plan: Plan;
  readonly #parts: DeploymentParts;
  readonly #owner: string;
  readonly #files: FileStates;
  #ranks: readonly ResidentModel[];
  #program: Group | undefined;
  #logits: Promise<Group> | undefined;

  private constructor(parts: DeploymentParts, ranks: readonly ResidentModel[], plan: Plan) {
    this.plan = plan;
    this.#parts = parts;
    this.#owner = ranks[0]!.owner;
    this.#files = new FileStates(parts.manifest);
    this.#ranks = ranks;
  }

  /** Takes the bytes of a plan in the devices' ledgers, until `dispose`. Throws what `planOn` throws, `OCTAVO_PLAN_DOES_NOT_FIT`. */
  static async plan(parts: DeploymentParts, options: SettingsOptions): Promise<ModelDeployment> {
    deployments += 1;
    const owner = `${parts.name}#${deployments}`; // The same model may be on a device twice.
    const ranks = ranksOn(parts.devices, parts.manifest, owner);
    return new ModelDeployment(parts, ranks, await planOn(parts.devices, owner, parts.manifest, options, parts.needs));
  }

  get devices(): readonly Device[] {
    return this.#ranks.map(({ device }) => device);
  }

  get ranks(): readonly ResidentModel[] {
    return this.#ranks;
  }

  /** Runs a step and draws tokens. Only between `load` and the loss of a device. */
  get program(): Group {
    return this.#program!;
  }

  /** The same, with logits for their caller; made when it is first asked for. */
  logits(): Promise<Group> {
    if (this.#logits !== undefined) return this.#logits;
    const made = this.#define({ type: "sample", logits: true }).then(({ group }) => group);
    this.#logits = made;
    made.catch(() => {
      if (this.#logits === made) this.#logits = undefined; // The next request may be luckier, for example with memory.
    });
    return made;
  }

  /**
   * Parameters and program, on all ranks at once; what an attempt that failed has left there is freed. Throws what `Engine.load`
   * throws, and `OCTAVO_MODEL_FILE_INVALID` when a file has changed since the plan.
   */
  async load(options: DefineOptions): Promise<ResideTimings> {
    this.#files.check();
    this.#logits = undefined;
    await Promise.all(this.#ranks.map((rank) => rank.free()));
    recordPlan(this.devices, this.#owner, this.plan);
    const { group, timings } = await this.#define({ type: "sample" }, options);
    this.#program = group;
    return timings;
  }

  /** Puts devices that the pool has, or now starts, in the place of lost ones. Throws what `Pool.restart` throws. */
  async replaceLost(): Promise<void> {
    const { pool } = this.#parts;
    const living = this.#ranks.map(async ({ device }) => {
      const latest = pool.device(device.name); // Another model on it may have been quicker.
      return latest.lost.aborted ? await pool.restart(latest) : latest;
    });
    this.#ranks = ranksOn(await allOf(living), this.#parts.manifest, this.#owner);
  }

  /** Nothing of it is left on its devices, nor on their books. `ended`: what may still be loading. Never throws. */
  async dispose(ended?: Promise<unknown>): Promise<void> {
    const { pool, ownsPool } = this.#parts;
    if (ownsPool) await pool.dispose();
    await Promise.allSettled([ended, this.#logits]);
    if (ownsPool) return;
    await Promise.allSettled(this.#ranks.map((rank) => rank.free()));
    for (const { ledger } of this.devices) ledger.plan(this.#owner, {});
  }

  async #define(
    output: ModelOptions["output"],
    { signal, onProgress }: DefineOptions = {},
  ): Promise<{ readonly group: Group; readonly timings: ResideTimings }> {
    const { settings, pages, ranks } = this.plan.details;
    const begin = performance.now();
    const built = { ...settings.modelOptions, output, pages };
    const programs = this.#parts.programs(this.#parts.manifest, built);
    const buildMs = performance.now() - begin;
    const progress = programs.map(() => ({ done: 0, total: 0 }));
    const defined = await allOf(
      this.#ranks.map((rank, index) =>
        rank.defineProgram(programs[index]!, settings.limits, {
          signal,
          built,
          workspace: workspaceOn(ranks[index]!.workspace, rank.device.description),
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
    return { group: new Group(first!, ...others), timings: { buildMs, ...timings } };
  }
}

function ranksOn(devices: readonly Device[], manifest: Manifest, owner: string): readonly ResidentModel[] {
  return devices.map((device) => new ResidentModel(device, manifest, owner));
}

/** All of them, once the last one has ended; the first failure among them is thrown. */
async function allOf<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(tasks);
  return await Promise.all(tasks);
}
