"""What failed to start, or died soon after, and how long to wait before it is tried again."""

import asyncio
import collections
import time
from collections.abc import Callable

_LIMIT_SECONDS = 60.0
_HEALTHY_SECONDS = 30.0


class Retries:
    """Counts what failed in a row; `wake` is called when it is time to look again."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.attempts = 0
        self._wake = wake
        self._pause_until = 0.0
        self._next_look: asyncio.TimerHandle | None = None
        self._ready: collections.deque[float] = collections.deque(maxlen=8)

    @property
    def pause_seconds(self) -> float:
        """How long to leave alone what failed last; 0 if it may be tried now."""
        return max(0.0, self._pause_until - time.monotonic())

    def failed(self) -> float:
        """Another attempt has failed: the seconds to wait before the next, which are 1, 2, 4 … and a minute at most."""
        self.attempts += 1
        seconds = _backoff_seconds(self.attempts)
        self._pause_until = time.monotonic() + seconds
        return seconds

    def forget(self) -> None:
        """What is tried from now on is something else."""
        self.attempts, self._pause_until = 0, 0.0

    def succeeded(self) -> None:
        """A replica is ready."""
        self.forget()
        self._ready.append(time.monotonic())

    def after_crash_seconds(self) -> float:
        """None for the first crash in a while; 1, 2, 4 … for replicas that die soon after they were ready."""
        recent = [moment for moment in self._ready if time.monotonic() - moment < _HEALTHY_SECONDS]
        return 0.0 if len(recent) <= 2 else _backoff_seconds(len(recent) - 2)

    def look_again_in(self, seconds: float) -> None:
        """Wake after so long, and not when it was said before."""
        if self._next_look is not None:
            self._next_look.cancel()
        self._next_look = asyncio.get_running_loop().call_later(seconds, self._wake)


def _backoff_seconds(attempts: int) -> float:
    return min(_LIMIT_SECONDS, 2.0 ** (min(attempts, 10) - 1))
