"""What surrounds every training: where it runs, what it reads, and the memory that it may have."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from yunmo.core.engine import Hardware, Plan
from yunmo.core.identity import Principal
from yunmo.files.files import Files
from yunmo.hub.hub import Hub
from yunmo.jobs.job import Job
from yunmo.runtime.link import WorkerSpec
from yunmo.runtime.placement.placement import Placement
from yunmo.training.data import TrainingData
from yunmo.training.workspaces import Workspaces

ENGINE = "trainer"

Release = Callable[[], Awaitable[None]]


class Room(Protocol):
    """The memory that models and trainings share. Who serves goes first."""

    @property
    def free_bytes(self) -> int:
        """What nobody holds at the moment."""
        ...

    @property
    def total_bytes(self) -> int:
        """What all together may hold."""
        ...

    async def take(self, name: str, size: int, give_way: Callable[[], Awaitable[None]]) -> Release | None:
        """Hold so many bytes, if only models that nobody uses have to leave for them; None otherwise.

        `give_way` is called when a model that is asked for needs them: it returns when they have been released.
        """
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """What every training works with."""

    placement: Placement
    workspaces: Workspaces
    hub: Hub
    files: Files
    data: TrainingData
    room: Room
    hardware: Hardware
    logs: Path
    address: str

    def worker_spec(self, job: Job, memory_limit_bytes: int) -> WorkerSpec:
        """The job's trainer: all cores, niced, and no more private memory than this."""
        return WorkerSpec(
            name=f"training/{job.id}",
            engine=ENGINE,
            directory=self.workspaces.base_of(job),
            derived=self.workspaces.of(job),
            plan=Plan(engine=ENGINE, threads=self.hardware.cores),
            log=self.logs / f"training-{job.id}.log",
            memory_limit_bytes=memory_limit_bytes,
        )


def owner_of(job: Job) -> Principal:
    """Who the job reads and writes for."""
    return job.principal("read", "write", "infer")
