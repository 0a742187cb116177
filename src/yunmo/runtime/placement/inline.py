"""Workers inside the gateway's own process, over the same wire: for tests and for stepping through with a debugger."""

import asyncio
import socket

from yunmo.runtime.link import Worker, WorkerSpec
from yunmo.runtime.placement.placement import OnProgress
from yunmo.runtime.replica import Replica


class PlacedInline:
    """A replica that runs as a task of this loop."""

    def __init__(self, worker: Worker, serving: "asyncio.Task[None]") -> None:
        self.worker = worker
        self._serving = serving

    async def stop(self, grace_seconds: float) -> None:
        """Close its wire; cancel it after the grace."""
        self.worker.close()
        done, _ = await asyncio.wait({self._serving}, timeout=grace_seconds)
        if not done:
            self._serving.cancel()
            await asyncio.wait({self._serving})


class InlinePlacement:
    """Starts replicas in this process."""

    name = "inline"

    async def start(self, spec: WorkerSpec, on_progress: OnProgress) -> PlacedInline:
        """A replica and a worker joined by a socket pair."""
        ours, theirs = socket.socketpair()
        spec.derived.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        replica = Replica()
        await loop.create_connection(lambda: replica.wire, sock=theirs)
        serving = loop.create_task(replica.run())
        worker = Worker(on_progress)
        await loop.create_connection(lambda: worker.wire, sock=ours)
        return PlacedInline(worker, serving)
