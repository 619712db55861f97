/** A model on the devices of its ranks: its programs there, and the bytes that it takes and gives back. */
import type { ModelOptions } from "../model/families/index.ts";
import type { Manifest } from "../model/source/manifest.ts";
import type { ModelNeeds } from "../plan/needs.ts";
import type { PlanOptions } from "../plan/options.ts";
import type { Plan } from "../plan/types.ts";
import { workspaceOn } from "../plan/workspace.ts";
import type { Pool } from "../pool.ts";
import type { Program } from "../program/program.ts";
import type { Device } from "../tensor/device.ts";
import { FileStates } from "./file-states.ts";
import type { Group } from "./group.ts";
import { planOn, recordPlan } from "./plan-on.ts";
import { allOf, Residence } from "./residence.ts";
import type { DefineOptions, DefineTimings, ResidentModel } from "./resident.ts";

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
  /** A model's program for each rank, for relative shares, in so many stages. */
  readonly programs: (
    manifest: Manifest,
    options: ModelOptions,
    shares: readonly number[],
    stages: number,
  ) => readonly Program[];
}

/** Milliseconds of each part of a load. */
export interface ResideTimings extends DefineTimings {
  readonly buildMs: number;
}

let deployments = 0;

export class ModelDeployment implements Deployment {
  readonly plan: Plan;
  readonly #parts: DeploymentParts;
  readonly #files: FileStates;
  readonly #residence: Residence;
  #program: Group | undefined;
  #logits: Promise<Group> | undefined;

  private constructor(parts: DeploymentParts, residence: Residence, plan: Plan) {
    this.plan = plan;
    this.#parts = parts;
    this.#files = new FileStates(parts.manifest);
    this.#residence = residence;
  }

  /** Takes the bytes of a plan in the devices' ledgers, until `dispose`. Throws what `planOn` throws, `OCTAVO_PLAN_DOES_NOT_FIT`. */
  static async plan(parts: DeploymentParts, options: PlanOptions): Promise<ModelDeployment> {
    const { pool, devices, name, manifest, needs } = parts;
    deployments += 1;
    const owner = `${name}#${deployments}`; // The same model may be on a device twice.
    const residence = new Residence(pool, devices, manifest, owner);
    return new ModelDeployment(parts, residence, await planOn(pool, devices, owner, manifest, options, needs));
  }

  get devices(): readonly Device[] {
    return this.#residence.devices;
  }

  get ranks(): readonly ResidentModel[] {
    return this.#residence.ranks;
  }

  /** Each is aborted, with its reason, when the model cannot run on: a worker is lost, or the ranks have lost each other. */
  get losses(): readonly AbortSignal[] {
    return this.#residence.losses;
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
    await this.#residence.free();
    recordPlan(this.devices, this.#residence.owner, this.plan);
    const { collectives, stages } = this.plan.details;
    await this.#residence.meet(collectives, stages);
    const { group, timings } = await this.#define({ type: "sample" }, options);
    this.#program = group;
    return timings;
  }

  /**
   * Frees what is there, and puts devices that the pool has, or now starts, in the place of lost ones. Throws what `Pool.restart`
   * throws.
   */
  async replaceLost(): Promise<void> {
    const { pool } = this.#parts;
    // Who does not answer that either is found out by its deadlines, and is lost from then on.
    await Promise.allSettled([this.#residence.free()]);
    const living = this.devices.map(async (device) => {
      const latest = pool.device(device.name); // Another model on it may have been quicker.
      return latest.lost.aborted ? await pool.restart(latest) : latest;
    });
    this.#residence.move(await allOf(living));
  }

  /** Nothing of it is left on its devices, nor on their books. `ended`: what may still be loading. Never throws. */
  async dispose(ended?: Promise<unknown>): Promise<void> {
    const { pool, ownsPool } = this.#parts;
    if (ownsPool) await pool.dispose();
    await Promise.allSettled([ended, this.#logits]);
    if (ownsPool) {
      await this.#residence.left();
      return;
    }
    await Promise.allSettled([this.#residence.free()]);
    for (const { ledger } of this.devices) ledger.plan(this.#residence.owner, {});
  }

  /** A program of the model that gives this; rank by rank as the plan has cut it. */
  programs(output: ModelOptions["output"]): readonly Program[] {
    const { settings, pages, shares, stages } = this.plan.details;
    return this.#parts.programs(this.#parts.manifest, { ...settings.modelOptions, output, pages }, shares, stages);
  }

  /** Programs that `programs` has given, on all ranks. */
  async define(
    programs: readonly Program[],
    options: DefineOptions = {},
  ): Promise<{ readonly group: Group; readonly timings: DefineTimings }> {
    const { settings, ranks } = this.plan.details;
    const workspaces = this.devices.map(({ description }, rank) => workspaceOn(ranks[rank]!.workspace, description));
    return await this.#residence.define(programs, settings.limits, { ...options, workspaces });
  }

  async #define(
    output: ModelOptions["output"],
    options: DefineOptions = {},
  ): Promise<{ readonly group: Group; readonly timings: ResideTimings }> {
    const { settings, pages } = this.plan.details;
    const begin = performance.now();
    const programs = this.programs(output);
    const buildMs = performance.now() - begin;
    const built = { ...settings.modelOptions, output, pages };
    const { group, timings } = await this.define(programs, { ...options, built });
    return { group, timings: { buildMs, ...timings } };
  }
}
