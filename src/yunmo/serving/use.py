"""How much a model is used: what decides who stays in memory."""

import time
from collections.abc import Callable

_HALF_LIFE_SECONDS = 3600.0
_WARM_REQUESTS = 20.0


class Use:
    """The requests to one deployment; an hour later each counts half."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._requests = 0.0
        self.last = clock()

    def note(self) -> None:
        """A request has come."""
        self._requests = self.requests + 1.0
        self.last = self._clock()

    @property
    def requests(self) -> float:
        """The requests so far, halved for every hour since."""
        return self._requests * float(0.5 ** (self.idle_seconds / _HALF_LIFE_SECONDS))

    @property
    def idle_seconds(self) -> float:
        """The time since the last request."""
        return self._clock() - self.last

    @property
    def is_warm(self) -> bool:
        """Whether the model is used often enough to be kept, if there is room."""
        return self.requests >= _WARM_REQUESTS
