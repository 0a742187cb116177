"""Replies that handlers give: JSON through msgspec, and server-sent events."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import anyio
import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

Closing = Callable[[], Awaitable[None]]

_encode = msgspec.json.Encoder().encode


def json_reply(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` (structs, dicts, lists) as JSON."""
    return Response(_encode(content), status, headers, media_type="application/json")


def event_reply(
    events: AsyncIterator[bytes], headers: Mapping[str, str] | None = None, *, closing: Closing | None = None
) -> StreamingResponse:
    """Server-sent events, as they come; each item is a whole encoded event.

    `closing` is awaited when the reply is over, however it ended: also if the client left before the first event. Cleaning up
    that has to wait belongs there, not in the generator, which is cancelled where it stands.
    """
    return _Events(events, {"cache-control": "no-cache", "x-accel-buffering": "no", **(headers or {})}, closing)


def event(content: Any) -> bytes:
    """One server-sent event with JSON data."""
    return b"data: " + _encode(content) + b"\n\n"


class _Events(StreamingResponse):
    """Ends what feeds it: a generator that was never started, or is suspended in `send`, has no other way to clean up."""

    def __init__(self, events: AsyncIterator[bytes], headers: Mapping[str, str], closing: Closing | None) -> None:
        super().__init__(events, 200, headers, "text/event-stream")
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                close = getattr(self.body_iterator, "aclose", None)
                if close is not None:
                    await close()
                if self._closing is not None:
                    await self._closing()
