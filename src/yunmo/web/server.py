"""The HTTP server: uvicorn on one port with the connection guard, stopped gracefully."""

import asyncio
import contextlib
import functools
import signal
import socket
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import structlog
from uvicorn import Config, Server

from yunmo.core.errors import Conflict, InvalidRequest
from yunmo.web.guard import Guard, GuardLimits

_BACKLOG = 4096
_TICK_SECONDS = 1.0
_CANCEL_SECONDS = 1.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What connections may take, and how long requests in work may go on after the stop."""

    guard: GuardLimits = field(default_factory=GuardLimits)
    shutdown_seconds: float = 30.0


async def serve(
    app: Any,
    host: str,
    port: int,
    limits: ServerLimits | None = None,
    ready: Callable[[int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> int:
    """Serve `app` until SIGTERM, SIGINT or `stop`, then let what is in work finish; returns the port that was bound.

    `ready` is called with the port once connections are accepted; port 0 takes a free one. Raises Conflict when the port is
    taken. Run it on uvloop (`asyncio.Runner(loop_factory=uvloop.new_event_loop)`).
    """
    limits = limits or ServerLimits()
    listener = _listen(host, port)
    bound: int = listener.getsockname()[1]
    guard = Guard(limits.guard)
    config = Config(
        app,
        http=guard.protocol,  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
    )
    server = _Server(config, limits.shutdown_seconds, functools.partial(ready, bound) if ready is not None else None)
    watcher = asyncio.create_task(_watch(stop, server)) if stop is not None else None
    try:
        await server.serve(sockets=[listener])
    finally:
        if watcher is not None:
            watcher.cancel()
        guard.stop()
        listener.close()
    return bound


class _Server(Server):
    """uvicorn's server without its way with signals: it re-raises them at the end, so that a clean stop would look like a death."""

    def __init__(self, config: Config, shutdown_seconds: float, ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._shutdown_seconds = shutdown_seconds
        self._ready = ready
        self._has_to_exit = asyncio.Event()

    def request_stop(self) -> None:
        """Begin the graceful stop."""
        self.should_exit = True
        self._has_to_exit.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came; a second SIGINT does not wait for requests."""
        super().handle_exit(sig, frame)
        self.request_stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and tell so."""
        await super().startup(sockets)
        if self._ready is not None:
            self._ready()

    async def main_loop(self) -> None:
        """Keep the date header fresh until the stop."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_to_exit.wait(), _TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new connections, let requests in work finish within the time, then cancel them."""
        state, loop = self.server_state, asyncio.get_running_loop()
        _log.info("server_stopping", requests=len(state.tasks))
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in tuple(state.connections):
            connection.shutdown()
        deadline = loop.time() + self._shutdown_seconds
        while (state.connections or state.tasks) and loop.time() < deadline and not self.force_exit:  # noqa: ASYNC110 - uvicorn's sets tell nobody when they change
            await asyncio.sleep(0.01)
        self._cut()
        if state.tasks:
            await asyncio.wait(tuple(state.tasks), timeout=_CANCEL_SECONDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop on SIGTERM and SIGINT."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _cut(self) -> None:
        """Cancel what is still in work, and drop its connections."""
        if self.server_state.tasks:
            _log.warning("requests_cancelled", requests=len(self.server_state.tasks), after_seconds=self._shutdown_seconds)
        for task in tuple(self.server_state.tasks):
            task.cancel()
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()


async def _watch(stop: asyncio.Event, server: _Server) -> None:
    await stop.wait()
    server.request_stop()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket's first half: bound, not yet accepting."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise InvalidRequest(
            f"'{host}' is no address of this machine: {error}. Set 'host' to one, e.g. 127.0.0.1.", param="host"
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise Conflict(
            f"Port {port} on {host} cannot be used: {error.strerror}. Choose another with '--port', or stop what holds it."
        ) from error
    listener.setblocking(False)
    return listener
