"""The socket of a worker: one DEALER, one loop. A message is a header frame and payload frames."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

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


def open_socket(limit: int) -> zmq.Socket:
    """A DEALER. `limit`: largest frame in bytes, the same on both sides; a larger one would cost the connection."""
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, _LINGER)
    socket.setsockopt(zmq.MAXMSGSIZE, limit)
    socket.setsockopt(zmq.SNDHWM, 0)  # The orchestrator bounds what is in flight, by bytes.
    socket.setsockopt(zmq.RCVHWM, 0)
    return socket


def connect(endpoint: str, limit: int, hello: wire.Hello) -> zmq.Socket:
    """To the orchestrator that has started us, on this machine; the process ends when the connection does."""
    socket = open_socket(limit)
    # No heartbeats: the system tells of the orchestrator's end, and one that is stopped for a while is not dead.
    monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    threading.Thread(target=_exit_at_disconnect, args=(monitor,), name="monitor", daemon=True).start()
    socket.connect(endpoint)
    socket.send(codec.encode(hello))
    return socket


class Ended(BaseException):
    """Raised by `Channel.end` where nothing is being done. No Exception, which a request's own handling would take."""


class Channel:
    """`socket`: connected, and has said hello. `limit`: largest frame in bytes."""

    def __init__(self, socket: zmq.Socket, limit: int) -> None:
        self._socket = socket
        self._limit = limit
        self._busy = False
        self._ending = False

    def end(self) -> None:
        """By a signal, in the main thread: at once while nothing is being done (Ended), else when that is answered."""
        self._ending = True
        if not self._busy:
            raise Ended

    def serve(self, session: Session) -> None:
        """Answer requests until `bye`, or `end`."""
        receive = self._socket.recv_multipart
        try:
            while not (session.ended or self._ending):
                header, *payloads = receive()
                self._busy = True
                self.answer(session, header, payloads)
                self._busy = False
        except Ended:
            pass
        # Replies that are on their way still leave.
        self._socket.disable_monitor()
        self._socket.close()
        zmq.Context.instance().term()

    def answer(self, session: Session, header: bytes, payloads: Sequence[bytes]) -> None:
        """One message. An empty header asks nothing: the orchestrator looks whether the connection is there."""
        try:
            request = codec.decode_request(header)
        except Exception as error:  # Whatever the bytes were: refuse them and go on.
            identity = _identity(header)
            if not header:
                return
            if identity is None:
                print(f"refused an unreadable message: {error}", file=sys.stderr, flush=True)
            else:
                session.refuse(identity, str(error), self._send)
            return
        session.handle(request, payloads, self._send)

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
