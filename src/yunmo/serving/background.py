"""Requests that can wait, such as a batch's: they take what is free, and give way as soon as somebody waits for an answer.

With nobody there they have all slots, and one more so that no slot waits for the next; in the replica they are behind all others.
Beside somebody who waits one at a time goes on, if the next who comes would still be computed at once; where there is no room
for that one goes on now and then, so that a batch ends one day.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from yunmo.serving.router import Seat

_QUIET_SECONDS = 0.25
"""How long nobody has come before all slots are free again."""

_LOOK_SECONDS = 0.02
_NOW_AND_THEN_SECONDS = 10.0
_AHEAD = 1


class Queue(Protocol):
    """What a Router tells of itself."""

    @property
    def waiting(self) -> int: ...

    @property
    def in_flight(self) -> int: ...

    @property
    def seats(self) -> list[Seat]: ...


class Background:
    """Whose turn it is among the requests that can wait, queue by queue, in the order they came."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lines: dict[Queue, _Line] = {}

    def note(self, queue: Queue) -> None:
        """Somebody has come who waits for an answer."""
        if self._lines and queue in self._lines:  # most of the time there is no batch
            self._lines[queue].seen_at = self._clock()

    async def turn(self, queue: Queue) -> None:
        """Wait for one's turn; `leave` ends it."""
        line = self._lines.setdefault(queue, _Line())
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(mine)
        self._pump(queue, line)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.leave(queue)
            raise

    def leave(self, queue: Queue) -> None:
        """A request that could wait has ended."""
        line = self._lines[queue]
        line.sent -= 1
        self._pump(queue, line)

    def _pump(self, queue: Queue, line: "_Line") -> None:
        """Let those go whose turn it is; look again soon while others wait."""
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        while line.waiting and (line.waiting[0].done() or self._has_turn(queue, line)):
            first = line.waiting.popleft()
            if not first.done():
                line.sent += 1
                line.sent_at = self._clock()
                first.set_result(None)
        if line.waiting:
            line.timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._pump, queue, line)
        elif line.sent == 0:
            del self._lines[queue]

    def _has_turn(self, queue: Queue, line: "_Line") -> bool:
        at = self._clock()
        if queue.in_flight + queue.waiting > line.sent:
            line.seen_at = at
        slots = sum(seat.slots for seat in queue.seats)
        if at - line.seen_at >= _QUIET_SECONDS:
            return line.sent < slots + _AHEAD
        if line.sent > 0:
            return False
        leaves_room = queue.waiting == 0 and sum(seat.at_once for seat in queue.seats) - queue.in_flight >= 2
        return leaves_room or at - line.sent_at >= _NOW_AND_THEN_SECONDS


@dataclass(slots=True)
class _Line:
    waiting: deque["asyncio.Future[None]"] = field(default_factory=deque)
    sent: int = 0
    sent_at: float = float("-inf")
    seen_at: float = float("-inf")
    timer: asyncio.TimerHandle | None = None
