"""The socket of a worker: one DEALER, one loop. A message is a header frame and payload frames."""

from __future__ import annotations

import os
import sys
import threading

import msgspec
import numpy as np
import zmq
from octavo_kernels import ErrorCode

from . import codec
from .generated import messages as wire
from .session import Payload, Session

# Milliseconds that the last reply may take to leave.
_LINGER = 1000


class _Identified(msgspec.Struct):
    """Of a header that is refused: enough to answer it."""

    id: int


class Channel:
    """`limit`: largest frame in bytes, the same on both sides; a larger one would cost the connection."""

    def __init__(self, endpoint: str, limit: int) -> None:
        self._limit = limit
        self._socket = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, _LINGER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, limit)
        self._socket.setsockopt(zmq.SNDHWM, 0)  # The orchestrator bounds what is in flight, by bytes.
        self._socket.setsockopt(zmq.RCVHWM, 0)
        # No heartbeats: the system tells of the orchestrator's end, and one that is stopped for a while is not dead.
        monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        threading.Thread(target=_exit_at_disconnect, args=(monitor,), name="monitor", daemon=True).start()
        self._socket.connect(endpoint)

    def greet(self, hello: wire.Hello) -> None:
        self._socket.send(codec.encode(hello))

    def serve(self, session: Session) -> None:
        """Answer requests until `bye`."""
        receive = self._socket.recv_multipart
        while not session.ended:
            header, *payloads = receive()
            try:
                request = codec.decode_request(header)
            except Exception as error:  # Whatever the bytes were: refuse them and go on.
                identity = _identity(header)
                if identity is None:
                    print(f"refused an unreadable message: {error}", file=sys.stderr, flush=True)
                else:
                    session.refuse(identity, str(error), self._send)
                continue
            session.handle(request, payloads, self._send)
        self._socket.disable_monitor()
        self._socket.close()
        zmq.Context.instance().term()

    def _send(self, reply: wire.Reply, payload: Payload | None) -> None:
        if payload is None:
            self._socket.send(codec.encode(reply))
            return
        size = payload.nbytes if isinstance(payload, (np.ndarray, memoryview)) else len(payload)
        if size > self._limit:
            text = f"a reply of {size} bytes is larger than the largest frame, {self._limit} bytes"
            error = wire.Error(
                id=reply.id, epoch=reply.epoch, code=ErrorCode.OUT_OF_MEMORY, message=text, retryable=False
            )
            self._socket.send(codec.encode(error))
            return
        # Copied by zeromq: a backend may use the memory of its outputs again in the next step.
        self._socket.send_multipart((codec.encode(reply), payload))


def _identity(header: bytes) -> int | None:
    try:
        identity = msgspec.msgpack.decode(header, type=_Identified).id
    except (msgspec.DecodeError, RecursionError):
        return None
    return identity if 0 <= identity < 1 << 53 else None


def _exit_at_disconnect(monitor: zmq.Socket) -> None:
    # A new connection would be a stranger to the orchestrator, and replies under way are lost: better a clean end,
    # which it sees at once.
    try:
        monitor.recv_multipart()  # Only this one event was asked for.
    except zmq.ZMQError:
        return
    if not monitor.closed:
        os._exit(5)
