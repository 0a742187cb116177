"""Answers that are slow to come. DeepL's clients give up after ten seconds in which no byte came, and ask the same again up to five times.

So headers and white space, which JSON readers skip, are sent early; and one that asks the same again joins the work that is under way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from yunmo.core.errors import YunmoError
from yunmo.web.dialects.deepl.errors import error_content
from yunmo.web.replies import json_reply

QUIET_SECONDS = 3.0
"""How long nothing is said."""

GRACE_SECONDS = 3.0
"""How long work goes on for nobody: a client that gave up asks again after a second or two."""


class Flight:
    """Work that is under way, and how many wait for it."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.waiting = 0
        self.is_given_up = False

    def leave(self) -> None:
        """One waits no longer. Work for which nobody waits is given up after a while."""
        self.waiting -= 1
        if self.waiting == 0 and not self.task.done():
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self.waiting == 0:
            self.is_given_up = True
            self.task.cancel()


class Flights:
    """Work under way by what was asked by whom."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight] = {}

    def join(self, key: Hashable, work: Callable[[], Awaitable[Any]]) -> Flight:
        """The flight of this key, begun if there is none. The caller has to leave it."""
        flight = self._flights.get(key)
        if flight is None or flight.is_given_up or flight.task.done():
            flight = self._flights[key] = Flight(asyncio.ensure_future(_done(work)))
            flight.task.add_done_callback(lambda _task: self._forget(key, flight))
        flight.waiting += 1
        return flight

    def _forget(self, key: Hashable, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.task.cancelled():
            flight.task.exception()  # whoever waits has it; if nobody does, it is no news


async def held(flight: Flight) -> Response:
    """The answer of the work as JSON; what goes wrong soon is raised. Later it ends an answer that does not end well: the client sees it broken off."""
    try:
        await asyncio.wait({flight.task}, timeout=QUIET_SECONDS)
    except BaseException:
        flight.leave()
        raise
    if not flight.task.done():
        return _Held(flight)
    flight.leave()
    return json_reply(flight.task.result())


class _Held(Response):
    """Has begun before its content is known."""

    media_type = "application/json"

    def __init__(self, flight: Flight) -> None:
        super().__init__(None, 200)
        del self.headers["content-length"]
        self._flight = flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        gone = asyncio.ensure_future(_gone(receive))
        task = self._flight.task
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while not task.done() and not gone.done():
                await send({"type": "http.response.body", "body": b" ", "more_body": True})
                await asyncio.wait({task, gone}, timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                return
            error = task.exception()
            if error is None:
                await send({"type": "http.response.body", "body": msgspec.json.encode(task.result())})
            elif isinstance(error, YunmoError):  # said, and left without its end: no client takes it for a translation
                await send({"type": "http.response.body", "body": msgspec.json.encode(error_content(error)), "more_body": True})
            else:
                raise error
        finally:
            gone.cancel()
            self._flight.leave()


async def _done(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
