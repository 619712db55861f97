"""The way to an orchestrator on another machine: dial, say hello, be welcomed. What is in the way is told; then the
next attempt.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import zmq
from zmq.utils.monitor import recv_monitor_message

from .channel import open_socket
from .codec import ProtocolError, decode_request
from .connection_file import ConnectionFile, NotThere
from .generated import messages as wire

# Seconds: between two attempts; for a connection and its handshake, and at least; for a welcome.
_PAUSE = 1.0
_CONNECT = 5.0
_LEAST = 1.0
_WELCOME = 30.0
_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


class NoEntry(Exception):
    """Not welcomed; says by what."""


class Line(NamedTuple):
    """A connection that was welcomed: its socket, its monitor, the frame that has the welcome, and its epoch."""

    socket: zmq.Socket
    monitor: zmq.Socket
    welcome: bytes
    epoch: int


def dial(read: Callable[[], ConnectionFile], hello: Callable[[ConnectionFile], bytes], wait: float) -> Line:
    """Try until welcomed, for `wait` seconds; once at least. `read` before each attempt: a new launch brings new keys.

    Raises NoEntry with the last reason; each new one is printed when it comes up.
    """
    deadline = time.monotonic() + wait
    told = ""
    while True:
        try:
            connection = read()
            return _attempt(connection, hello(connection), deadline)
        except (NoEntry, NotThere) as error:
            reason = str(error)
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoEntry(f"not welcomed within {wait:g} s: {reason}")
        if reason != told:
            tell(f"{reason}; trying for {left:.0f} s more")
            told = reason
        time.sleep(min(_PAUSE, left))


def tell(text: str) -> None:
    print(f"octavo-worker: {text}", file=sys.stderr, flush=True)


def _attempt(connection: ConnectionFile, hello: bytes, deadline: float) -> Line:
    socket = _socket(connection)
    monitor = socket.get_monitor_socket(_EVENTS)
    try:
        socket.connect(connection.url)
        socket.send(hello)  # Leaves when the handshake is done.
        welcome = _first_message(socket, monitor, connection.url, deadline)
        return Line(socket, monitor, welcome, _epoch(welcome))
    except BaseException:
        socket.disable_monitor()
        monitor.close(0)
        socket.close(0)
        raise


def _socket(connection: ConnectionFile) -> zmq.Socket:
    socket = open_socket(connection.max_frame)
    socket.setsockopt(zmq.CURVE_SERVERKEY, connection.server_key.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, connection.public_key.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, connection.secret_key.encode())
    socket.setsockopt(zmq.IPV6, connection.url.startswith("tcp://["))
    # zeromq's own thread asks and answers, so that a step of minutes is no silence.
    socket.setsockopt(zmq.HEARTBEAT_IVL, int(connection.heartbeat_ms / 4))
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(connection.heartbeat_ms * 3 / 4))
    return socket


def _first_message(socket: zmq.Socket, monitor: zmq.Socket, url: str, deadline: float) -> bytes:
    """What comes first, or NoEntry, by what the socket tells of its connection."""
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(monitor, zmq.POLLIN)
    reason = f"nobody answers at {url}"
    begun = time.monotonic()
    until = max(min(deadline, begun + _CONNECT), begun + _LEAST)
    while True:
        left = max(until - time.monotonic(), 0)
        ready = dict(poller.poll(int(left * 1000)))
        if socket in ready:
            return socket.recv_multipart()[0]
        if not ready:
            raise NoEntry(reason)
        event = recv_monitor_message(monitor)["event"]
        if event == zmq.EVENT_CONNECTED:
            reason = f"what listens at {url} does not complete the handshake (CURVE)"
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            reason = f"the orchestrator at {url} took our hello and did not answer it"
            until = max(min(deadline, begun + _WELCOME), begun + _LEAST)
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise NoEntry(
                f"refused by the orchestrator at {url}: our key is not expected "
                "(an old file, or another worker uses it)"
            )
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            raise NoEntry(f"what listens at {url} does not speak as an orchestrator does (ZMTP with CURVE)")
        elif "took our hello" in reason:
            raise NoEntry(f"the orchestrator at {url} closed the connection after our hello")
        else:
            raise NoEntry(f"the handshake failed: what listens at {url} has not the keys of our file (an old file?)")


def _epoch(header: bytes) -> int:
    """Of a welcome; NoEntry for anything else."""
    try:
        request = decode_request(header)
    except ProtocolError as error:
        raise NoEntry(f"the orchestrator's first message cannot be read: {error}; update both") from error
    if isinstance(request, wire.Bye):
        # No worker has epoch 0.
        why = (
            "another worker with the same file was quicker" if request.epoch == 0 else "it gave up; why, it says there"
        )
        raise NoEntry(f"turned away by the orchestrator: {why}")
    if not isinstance(request, wire.Welcome):
        raise NoEntry(f"the orchestrator's first message is {type(request).__name__}, not a welcome")
    return request.epoch


def exit_when_gone(monitor: zmq.Socket) -> None:
    """Ends this process when the connection does. For a thread: the main one may be inside a kernel."""
    try:
        while recv_monitor_message(monitor)["event"] != zmq.EVENT_DISCONNECTED:
            pass
    except zmq.ZMQError:  # An orderly end, which waits until all sockets are closed.
        monitor.close(0)
        return
    tell("the connection to the orchestrator is gone (it ended, or was silent for too long); so are our tensors")
    os._exit(5)
