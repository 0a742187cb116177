"""The HTTP client that loads every server alike: raw HTTP/1.1 on asyncio and a parser in C, tens of microseconds a request."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import httptools

REFUSED = 0
"""The status of a request whose connection failed or broke."""

PATIENCE_SECONDS = 120.0
"""A server that never answers costs a figure, not the run."""

Observe = Callable[[bytes], None]


class Reply(NamedTuple):
    """One answer: its status, its body (empty when it was observed instead), and what it took in seconds."""

    status: int
    body: bytes
    seconds: float

    @property
    def is_ok(self) -> bool:
        return self.status == 200


class Connection(asyncio.Protocol):
    """One connection, one request at a time; a broken one is opened anew for the next request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[int] | None = None
        self._observe: Observe | None = None
        self._parts: list[bytes] = []
        self._has_begun = False

    async def ask(self, request: bytes, observe: Observe | None = None) -> Reply:
        """Send the bytes of a request and wait for the whole answer; `observe` gets the pieces of its body as they come."""
        began = time.perf_counter()
        is_reused = self._transport is not None
        status = await self._exchange(request, observe)
        is_at_once = time.perf_counter() - began < 1
        if (
            status == REFUSED and is_reused and is_at_once and not self._has_begun
        ):  # the server had closed a kept connection: what any client tries again
            status = await self._exchange(request, observe)
        return Reply(status, b"".join(self._parts), time.perf_counter() - began)

    async def _exchange(self, request: bytes, observe: Observe | None) -> int:
        self._observe, self._parts, self._has_begun = observe, [], False
        loop = asyncio.get_running_loop()
        try:
            if self._transport is None or self._transport.is_closing():
                self._transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        except OSError:
            return REFUSED
        self._answered = loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._answered
        except TimeoutError:
            self.close()
            return REFUSED

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ called by the transport

    def data_received(self, data: bytes) -> None:
        self._has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(REFUSED)

    # ------------------------------------------------------------ called by the parser

    def on_body(self, body: bytes) -> None:
        if self._observe is not None:
            self._observe(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        status, keeps = self._parser.get_status_code(), self._parser.should_keep_alive()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(status)
        if not keeps:
            self.close()


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A POST of JSON as the bytes that go over the connection."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def closed_loop(port: int, requests: list[bytes], clients: int, seconds: float) -> tuple[list[Reply], float]:
    """Clients that each send the next request when the last one is answered, for some seconds; all that was sent is waited for.

    The answers, and the seconds from the first request to the last answer: what is counted is what was worked on.
    """
    began = time.perf_counter()
    replies: list[Reply] = []
    turn = iter(range(10**9))

    async def client() -> None:
        connection = Connection(port)
        while time.perf_counter() - began < seconds:
            replies.append(await connection.ask(requests[next(turn) % len(requests)]))
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return replies, time.perf_counter() - began


class Arrival(NamedTuple):
    """One request of an open loop: when it was due, and its answer, whose seconds count from then."""

    due: float
    reply: Reply


async def open_loop(port: int, requests: list[bytes], due: list[float], patience: float) -> list[Arrival]:
    """Send each request when it is due, whatever became of the earlier ones; a client hangs up after `patience` seconds."""
    began = time.perf_counter()
    free: list[Connection] = []
    found: list[Arrival] = []

    async def one(number: int) -> None:
        connection = free.pop() if free else Connection(port)
        try:
            async with asyncio.timeout(patience):
                reply = await connection.ask(requests[number % len(requests)])
        except TimeoutError:
            connection.close()
            reply = Reply(REFUSED, b"", patience)
        else:
            free.append(connection)
        found.append(Arrival(due[number], reply._replace(seconds=time.perf_counter() - began - due[number])))

    running: list[Awaitable[None]] = []
    for number, moment in enumerate(due):
        wait = moment - (time.perf_counter() - began)
        if wait > 0:
            await asyncio.sleep(wait)
        running.append(asyncio.ensure_future(one(number)))
    await asyncio.gather(*running)
    for connection in free:
        connection.close()
    return found
