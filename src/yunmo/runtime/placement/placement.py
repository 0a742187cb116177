"""Where workers run: one protocol for this process, this machine and, later, a cluster."""

from collections.abc import Callable
from typing import Protocol

from yunmo.runtime.link import Worker, WorkerSpec

OnProgress = Callable[[str, float], None]


class Placed(Protocol):
    """A started worker and the way to end it."""

    @property
    def worker(self) -> Worker: ...

    async def stop(self, grace_seconds: float) -> None:
        """End it: asked first, killed after the grace. Returns when it is gone; calling it again is harmless."""
        ...


class Placement(Protocol):
    """Starts workers somewhere."""

    name: str

    async def start(self, spec: WorkerSpec, on_progress: OnProgress) -> Placed:
        """A worker that has said hello and not loaded anything yet."""
        ...
