/** A channel for workers of other machines: tcp, encrypted and authenticated both ways (CURVE), and only for keys that are allowed. */
import { messageOf, OctavoError } from "../errors.ts";
import { AllowList } from "./allow-list.ts";
import { Channel } from "./channel.ts";
import { loadZeroMq } from "./zeromq.ts";

/** Milliseconds for a handshake: strangers who begin none hold a descriptor each meanwhile. */
const HANDSHAKE_MS = 10_000;

/** A public and a secret key, in Z85. */
export interface KeyPair {
  readonly publicKey: string;
  readonly secretKey: string;
}

export interface SecureChannel {
  readonly channel: Channel;
  readonly allowList: AllowList;
  /** The address as it came to be: the port that was free. */
  readonly url: string;
  /** By which workers know that it is us. */
  readonly serverKey: string;
  newKeyPair(): KeyPair;
  close(): Promise<void>;
}

/**
 * `heartbeatMs`: a peer that has been silent for so long is gone. zeromq's own thread asks and answers, so a peer is heard
 * while it computes, and a stopped one (SIGSTOP, a frozen machine) is not.
 * Throws `OCTAVO_WORKER_START_FAILED` when `url` cannot be listened on, `OCTAVO_MISSING_DEPENDENCY` without CURVE.
 */
export async function listen(url: string, heartbeatMs: number): Promise<SecureChannel> {
  const zeromq = await loadZeroMq();
  if (!zeromq.capability.curve)
    throw new OctavoError("OCTAVO_MISSING_DEPENDENCY", "this build of zeromq has no CURVE; workers cannot dial in");
  const allowList = await AllowList.open(zeromq); // Before the socket.
  const server = zeromq.curveKeyPair();
  const channel = await Channel.open({
    context: allowList.context,
    curveServer: true,
    curveSecretKey: server.secretKey,
    zapDomain: allowList.domain,
    zapEnforceDomain: true, // Refuse, should nobody answer for the list.
    handshakeInterval: HANDSHAKE_MS,
    ipv6: url.startsWith("tcp://["),
    heartbeatInterval: Math.ceil(heartbeatMs / 4),
    heartbeatTimeout: Math.floor((heartbeatMs * 3) / 4),
  });
  const close = async () => {
    await channel.close();
    await allowList.close();
  };
  try {
    const bound = channel.bind(url);
    return { channel, allowList, url: bound, serverKey: server.publicKey, newKeyPair: zeromq.curveKeyPair, close };
  } catch (cause) {
    await close();
    const text = `launcher: cannot listen at ${url} (${messageOf(cause)}); give a free port of this machine, or port 0`;
    throw new OctavoError("OCTAVO_WORKER_START_FAILED", text, { cause, retryable: true });
  }
}
