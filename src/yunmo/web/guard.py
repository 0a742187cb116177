"""The connection guard: uvicorn's HTTP protocol with deadlines, sizes and a ceiling on connections.

uvicorn waits for ever for the rest of half-sent headers, for silent sockets and for stalled bodies. Here every connection has
one deadline, and one sweep looks at all of them a few times per deadline: a request costs no timer of its own.
"""

import asyncio
import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
import msgspec
from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from yunmo.web.connection import CONNECTION

_PIPELINED = 1024
_THIN_BYTES = 65536
"""A chunked body must be at least a third payload after this many bytes: one-byte chunks cost a callback each."""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """What a connection may take. Seconds of silence or slowness, bytes of headers, connections in all."""

    header_seconds: float = 10.0
    idle_seconds: float = 75.0
    stall_seconds: float = 60.0
    linger_seconds: float = 2.0
    header_bytes: int = 64 * 1024
    connections: int = 10_000

    def sweep_seconds(self) -> float:
        """How often connections are looked at: deadlines are overrun by a tenth of the shortest at most."""
        shortest = min(self.header_seconds, self.idle_seconds, self.stall_seconds, self.linger_seconds)
        return min(1.0, max(0.01, shortest / 10))


class _Phase(enum.Enum):
    IDLE = enum.auto()
    HEADERS = enum.auto()
    BODY = enum.auto()
    WORK = enum.auto()
    LINGER = enum.auto()


class _Refused(Exception):
    """Stops the parser; the connection's `refusal` says why."""


class _Held:
    """A transport that keeps a reply's head until its body comes, so that both leave in one system call."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if self._head is None:
            self._head = data
        else:
            self.transport.write(self._head + data)
            self._head = b""

    def release(self) -> Any:
        """The transport itself, with nothing kept back."""
        if self._head:
            self.transport.write(self._head)
            self._head = b""
        return self.transport

    def close(self) -> None:
        self.release().close()

    def is_closing(self) -> bool:
        return bool(self.transport.is_closing())


class GuardedCycle(RequestResponseCycle):
    """A request that is answered before its body has come ends its connection: the rest of the body is not waited for."""

    async def send(self, message: ASGISendEvent) -> None:
        if self.more_body:
            # The first message must say "connection: close"; the last must leave the closing to the guard, which lingers.
            self.keep_alive = bool(self.response_started and not message.get("more_body", False))
        elif message["type"] == "http.response.start" and any(name == b"content-length" for name, _ in message.get("headers", ())):
            self.transport = _Held(self.transport)  # type: ignore[assignment]  # all that the cycle calls is there
            await super().send(message)
            return
        await super().send(message)
        if isinstance(self.transport, _Held):
            self.transport = self.transport.release()


class GuardedProtocol(HttpToolsProtocol):
    """One connection under guard."""

    def __init__(
        self, guard: "Guard", config: Config, server_state: ServerState, app_state: dict[str, Any], loop: asyncio.AbstractEventLoop | None
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._guard = guard
        self._limits = guard.limits
        self._phase = _Phase.IDLE
        self._deadline = math.inf
        self._write_deadline = math.inf
        self._header_bytes = 0
        self._body_bytes = 0
        self._payload_bytes = 0
        self._refusal: tuple[int, str] | None = None
        self._extensions: dict[str, dict[object, object]] = {CONNECTION: self}  # type: ignore[dict-item]  # ASGI wants dictionaries there
        self._running: RequestResponseCycle | None = None
        self.on_gone: Callable[[], None] | None = None

    # ------------------------------------------------------------ connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the wait for headers; one connection too many is told so and closed."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(503, "This server has all the connections it takes. Try again shortly.", b"retry-after: 1\r\n")
            return
        self._deadline = self.loop.time() + self._limits.header_seconds

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request of the connection, also those before the newest, that its client has gone."""
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        self._tell_gone()
        self._extensions.clear()  # a connection that refers to itself would wait for the garbage collector
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and count it."""
        phase = self._phase
        if phase is _Phase.LINGER or self._refusal is not None:
            return
        if phase is _Phase.IDLE:
            self._phase = _Phase.HEADERS
            if self.cycle is not None:
                self._deadline = self.loop.time() + self._limits.header_seconds
            self._header_bytes = len(data)
        elif phase is _Phase.HEADERS:
            self._header_bytes += len(data)
        elif phase is _Phase.BODY:
            self._deadline = self.loop.time() + self._limits.stall_seconds
            self._body_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # no protocol to upgrade to: the request has been answered as plain HTTP
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, "This is not a valid HTTP request.")))
            return
        if self._phase is _Phase.HEADERS and self._header_bytes > self._limits.header_bytes:
            self._refuse(431, self._header_message())
        elif self._phase is _Phase.BODY and self._body_bytes > max(_THIN_BYTES, 3 * self._payload_bytes):
            self._refuse(400, "The chunks of this body are too small: send at least a few bytes in each.")

    # ------------------------------------------------------------ parser

    def on_message_begin(self) -> None:
        """A request's first byte."""
        if self._phase is not _Phase.HEADERS:
            self._phase = _Phase.HEADERS
            self._deadline = self.loop.time() + self._limits.header_seconds
            self._header_bytes = 0
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        """The headers are whole: weigh them if they could be too many, and start the request."""
        if self._header_bytes > self._limits.header_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._limits.header_bytes:
                self._stop(431, self._header_message())
        if len(self.pipeline) >= _PIPELINED:
            self._stop(400, "Too many requests were sent ahead of their answers.")
        self._phase = _Phase.BODY
        self._body_bytes = self._payload_bytes = 0
        self._deadline = self.loop.time() + self._limits.stall_seconds
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._payload_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: nothing more is expected of the client."""
        self._phase = _Phase.WORK
        self._deadline = math.inf
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # uvicorn makes its cycles itself; the class is changed before their task has run.
        cycle.__class__ = GuardedCycle
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # ------------------------------------------------------------ replies

    def on_response_complete(self) -> None:
        """Start the next request, or wait for one; without uvicorn's timer per request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._deadline = self.loop.time() + self._limits.stall_seconds
            return
        self.flow.resume_reading()
        running = self._running
        if running is not None and running.more_body:
            self._linger()
        elif self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._phase is _Phase.WORK:
            self._phase = _Phase.IDLE
            self._deadline = self.loop.time() + self._limits.idle_seconds

    def pause_writing(self) -> None:
        """The client reads too slowly: the application waits, but not for ever."""
        self._write_deadline = self.loop.time() + self._limits.stall_seconds
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._write_deadline = math.inf
        super().resume_writing()

    # ------------------------------------------------------------ deadlines

    def sweep(self, now: float) -> None:
        """Close the connection if its time is up."""
        if now <= self._deadline and now <= self._write_deadline:
            return
        if self.transport.is_closing() or now > self._write_deadline:
            self.transport.abort()
        elif self._phase is _Phase.BODY and self.flow.read_paused:
            self._deadline = now + self._limits.stall_seconds  # the application is slow, not the client
        elif self._phase is _Phase.BODY:
            self._refuse(408, f"The body brought no byte for {self._limits.stall_seconds:g} s.")
        elif self._phase is _Phase.HEADERS:
            self._refuse(408, f"The headers were not complete within {self._limits.header_seconds:g} s.")
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Throw away what still comes, for a moment: closing at once would reset the connection before the reply is read."""
        self._phase = _Phase.LINGER
        self._deadline = self.loop.time() + self._limits.linger_seconds
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _stop(self, status: int, message: str) -> None:
        self._refusal = (status, message)
        raise _Refused

    def _refuse(self, status: int, message: str, header: bytes = b"") -> None:
        """Answer without the application, unless it has begun to, and end the connection."""
        self._refusal = (status, message)
        if self.transport.is_closing():
            return
        is_silent = self._running is None or self._running.response_complete or not self._running.response_started
        if is_silent and not self.pipeline:
            content = msgspec.json.encode({"error": message})
            lines = (
                STATUS_LINE[status],
                b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(content),
                header,
            )
            self.transport.write(b"".join((*lines, b"\r\n", content)))
        self._abandon()
        if self._phase is _Phase.IDLE:
            self.transport.close()
        else:
            self._linger()

    def _abandon(self) -> None:
        """Let the application know that nobody waits for its reply any more."""
        for cycle in (self._running, self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self._tell_gone()
        self.pipeline.clear()
        self.flow.resume_writing()
        self.flow.resume_reading()

    def _tell_gone(self) -> None:
        gone, self.on_gone = self.on_gone, None
        if gone is not None:
            gone()

    def _header_message(self) -> str:
        return f"The headers are larger than {self._limits.header_bytes // 1024} KiB."


class Guard:
    """Makes the guarded protocols of one server, and sweeps over their deadlines."""

    def __init__(self, limits: GuardLimits) -> None:
        self.limits = limits
        self._sweeper: asyncio.TimerHandle | None = None
        self._state: ServerState | None = None

    def protocol(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
    ) -> GuardedProtocol:
        """A connection's protocol, as uvicorn asks for it."""
        if self._state is None:
            self._state = server_state
            self._again(_loop or asyncio.get_running_loop())
        return GuardedProtocol(self, config, server_state, app_state, _loop)

    def stop(self) -> None:
        """End the sweeps."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeper = loop.call_later(self.limits.sweep_seconds(), self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._state is not None
        self._again(loop)
        now = loop.time()
        for connection in tuple(self._state.connections):
            if isinstance(connection, GuardedProtocol):
                connection.sweep(now)
