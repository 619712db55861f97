/**
 * Who owns which byte of one device. A tensor's bytes go planned -> reserved -> committed -> released:
 * planned by `planModel` before anything runs, reserved when the orchestrator asks a worker for them, committed when the
 * worker has confirmed them, released when it has freed them. Pure: no I/O, no clock.
 */
import type { Statistics } from "../../protocol/messages.ts";
import type { DType, Layout } from "../../protocol/ops.ts";
import { badArgument, OctavoError } from "../errors.ts";

/** What a handle's bytes are for; `workspace` is no handle's: scratch memory that all programs of a device share. */
export const HANDLE_KINDS = ["weight", "scale", "kv", "arena", "io", "user", "program", "workspace"] as const;
export type HandleKind = (typeof HANDLE_KINDS)[number];

/** One handle's bytes. `owner` says who asked for them ("smollm2", "user"), for reports. */
export interface LedgerEntry {
  readonly handle: number;
  readonly dtype: DType;
  readonly layout: Layout;
  readonly shape: readonly number[];
  /** Bytes on the device, padding included. */
  readonly bytes: number;
  readonly kind: HandleKind;
  readonly owner: string;
}

interface RecordedEntry extends LedgerEntry {
  state: "reserved" | "committed";
}

/** Bytes that are going to be asked for. */
export type PlannedBytes = Readonly<Partial<Record<HandleKind, number>>>;

/** All numbers in bytes. */
export interface LedgerReport {
  readonly device: string;
  /** What the plans of this device foresee. */
  readonly planned: number;
  /** Asked of the worker and not confirmed yet. */
  readonly reserved: number;
  /** Confirmed by the worker and not freed. */
  readonly committed: number;
  /** In use as the system counts it: memory of the worker process that no file backs; of a GPU all that anybody uses. */
  readonly measured: number;
  /** Of the committed bytes, those that the system has really given: pages that nobody has touched yet are not there. */
  readonly resident: number;
  /**
   * measured - resident: the worker itself and nothing else (Python, libraries, threads, messages on their way; CUDA's
   * context and others' use of the GPU).
   */
  readonly unattributed: number;
  readonly plannedByKind: Readonly<Record<HandleKind, number>>;
  /** Reserved and committed bytes by kind. */
  readonly byKind: Readonly<Record<HandleKind, number>>;
}

/** The entries of one device. Totals always equal the sum of the live entries. */
export class DeviceLedger {
  readonly device: string;
  readonly #entries = new Map<number, RecordedEntry>();
  readonly #plans = new Map<string, PlannedBytes>();
  readonly #bytes = { reserved: 0, committed: 0 };
  readonly #byKind = zeroes();

  constructor(device: string) {
    this.device = device;
  }

  /** Record what `owner` is going to ask for; replaces its earlier plan. An empty one withdraws it. */
  plan(owner: string, planned: PlannedBytes): void {
    for (const [kind, bytes] of Object.entries(planned)) assertBytes(bytes, `planned ${kind} of ${owner}`);
    if (Object.keys(planned).length === 0) this.#plans.delete(owner);
    else this.#plans.set(owner, planned);
  }

  /** A handle's bytes are being asked for. */
  reserve(entry: LedgerEntry): void {
    assertBytes(entry.bytes, `handle ${entry.handle}`);
    if (this.#entries.has(entry.handle))
      throw badArgument(`handle ${entry.handle} is in the ledger of ${this.device} already`);
    this.#entries.set(entry.handle, { ...entry, state: "reserved" });
    this.#bytes.reserved += entry.bytes;
    this.#byKind[entry.kind] += entry.bytes;
  }

  /** The worker has them. */
  commit(handle: number): void {
    const entry = this.#known(handle);
    if (entry.state === "committed") return;
    entry.state = "committed";
    this.#bytes.reserved -= entry.bytes;
    this.#bytes.committed += entry.bytes;
  }

  /** The worker has freed them, or never gave them. */
  release(handle: number): void {
    const { state, bytes, kind } = this.#known(handle);
    this.#entries.delete(handle);
    this.#bytes[state] -= bytes;
    this.#byKind[kind] -= bytes;
  }

  /** The worker's workspace has so many bytes now. */
  workspace(bytes: number): void {
    assertBytes(bytes, "the workspace");
    this.#bytes.committed += bytes - this.#byKind.workspace;
    this.#byKind.workspace = bytes;
  }

  /** The device is gone, and everything with it. */
  releaseAll(): void {
    for (const handle of [...this.#entries.keys()]) this.release(handle);
    this.workspace(0);
  }

  has(handle: number): boolean {
    return this.#entries.has(handle);
  }

  /** Bytes that owners hold, or will by their plans, and the workspace that all share: others may count on what is beyond. */
  get promised(): number {
    const owners = new Map<string, number>();
    for (const { owner, bytes } of this.#entries.values()) owners.set(owner, (owners.get(owner) ?? 0) + bytes);
    for (const [owner, { workspace: _, ...own }] of this.#plans)
      owners.set(owner, Math.max(owners.get(owner) ?? 0, total(Object.values(own))));
    return Math.max(this.#byKind.workspace, this.#plannedByKind().workspace) + total([...owners.values()]);
  }

  entries(): Readonly<RecordedEntry>[] {
    return [...this.#entries.values()];
  }

  get planned(): number {
    return total(Object.values(this.#plannedByKind()));
  }

  #plannedByKind(): Record<HandleKind, number> {
    const byKind = zeroes();
    for (const planned of this.#plans.values())
      for (const kind of HANDLE_KINDS) {
        const bytes = planned[kind] ?? 0;
        byKind[kind] = kind === "workspace" ? Math.max(byKind[kind], bytes) : byKind[kind] + bytes; // All share one.
      }
    return byKind;
  }

  get reserved(): number {
    return this.#bytes.reserved;
  }

  get committed(): number {
    return this.#bytes.committed;
  }

  /** The books against what the worker measured. */
  report(statistics: Pick<Statistics, "anonymous" | "deviceUsed" | "handleResident">): LedgerReport {
    const measured = statistics.deviceUsed ?? statistics.anonymous;
    return {
      device: this.device,
      planned: this.planned,
      reserved: this.reserved,
      committed: this.committed,
      measured,
      resident: statistics.handleResident,
      unattributed: measured - statistics.handleResident,
      plannedByKind: this.#plannedByKind(),
      byKind: { ...this.#byKind },
    };
  }

  /** What the worker counts otherwise than the committed entries say, by name; empty when nothing. */
  audit({ handles, handleBytes }: Pick<Statistics, "handles" | "handleBytes">): string[] {
    const committed = [...this.#entries.values()].filter(({ state }) => state === "committed").length;
    const compare = (what: string, worker: number, ledger: number) =>
      worker === ledger ? [] : [`${what} of ${this.device}: ${worker} in the worker, ${ledger} in the ledger`];
    return [...compare("handles", handles, committed), ...compare("bytes of handles", handleBytes, this.committed)];
  }

  #known(handle: number): RecordedEntry {
    const entry = this.#entries.get(handle);
    if (entry !== undefined) return entry;
    throw new OctavoError("OCTAVO_DISPOSED", `handle ${handle} is not in the ledger of ${this.device}`);
  }
}

function total(bytes: readonly number[]): number {
  return bytes.reduce((sum, each) => sum + each, 0);
}

function zeroes(): Record<HandleKind, number> {
  return { weight: 0, scale: 0, kv: 0, arena: 0, io: 0, user: 0, program: 0, workspace: 0 };
}

function assertBytes(bytes: number, what: string): void {
  if (!Number.isSafeInteger(bytes) || bytes < 0)
    throw badArgument(`${what} has ${bytes} bytes; a whole number from 0 on is needed`);
}
