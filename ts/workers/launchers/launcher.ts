/**
 * The port: how worker processes come to be (`launch`), how their end is noticed (`watch`), how they are ended (`kill`).
 * Everything else about a worker (its hello, its deadlines, its requests) is the same whoever has started it: `Worker`.
 */
import type { OctavoError } from "../../errors.ts";
import type { DeviceName } from "../../plan/devices.ts";
import type { Channel, Peer } from "../channel.ts";
import type { SharedMemory } from "../shared-memory.ts";

export interface Launcher {
  /** Where its workers say hello. */
  readonly channel: Channel;
  /** What payloads go through, where its workers inherit it. */
  readonly shared: SharedMemory | undefined;
  /** One worker. A second launch of the same place comes after the end of the first. */
  launch(order: LaunchOrder): Launched;
  /** When its workers have ended: the channel, and whatever else it has. */
  close(): Promise<void>;
}

export interface LaunchOrder {
  /** Place among the devices of the pool. */
  readonly index: number;
  readonly device: DeviceName;
  /** Threads that this machine has for it. */
  readonly threads: number;
  /** Incarnation: a number that no earlier worker of this pool had. */
  readonly epoch: number;
}

export interface Launched {
  /** The secret word of its hello. */
  readonly token: string;
  /** In messages, after "the worker ": which one. */
  readonly what: string;
  /** It has said hello by this connection; nobody else comes in by this launch. */
  arrived(peer: Peer): void;
  /** Resolves when the worker has ended, or cannot be reached any more; never rejects. */
  watch(): Promise<Exit>;
  /** At once, whatever it is doing; also one that has not come yet. */
  kill(): void;
  /** The last lines that tell of it, of those that came after this moment (of `performance.now()`). */
  log(since?: number): string;
}

export interface Exit {
  /** After "the worker ": how it ended. */
  readonly how: string;
  /** As one ends that was asked to: what it answered last may still come. */
  readonly clean: boolean;
  /** What the caller is told when it ended before its hello, and what to do. */
  startFailure(): OctavoError;
}
