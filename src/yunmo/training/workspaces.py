"""The folders of trainings that have not ended: made, found again after a restart, and removed at the end."""

import asyncio
import shutil
from collections.abc import Collection
from pathlib import Path

import structlog

from yunmo.core.errors import InsufficientStorage
from yunmo.jobs.job import Job

_BASE_FOLDER = "base"
_MIB = 1024 * 1024
_log = structlog.get_logger()


class Workspaces:
    """One folder for each training, called after its job."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, job: Job) -> Path:
        """The job's workspace, whether it is there or not."""
        return self.root / job.id

    def base_of(self, job: Job) -> Path:
        """Where its base model lies."""
        return self.of(job) / _BASE_FOLDER

    async def empty(self, job: Job) -> Path:
        """A workspace with nothing in it."""
        await self.remove(job)
        await asyncio.to_thread(self.base_of(job).mkdir, parents=True)
        return self.of(job)

    async def remove(self, job: Job) -> None:
        """Remove the job's workspace; harmless when it is not there."""
        await asyncio.to_thread(shutil.rmtree, self.of(job), ignore_errors=True)

    async def require_space(self, size: int) -> None:
        """Raise InsufficientStorage unless so many bytes are free."""
        free = (await asyncio.to_thread(shutil.disk_usage, self.root)).free
        if free < size:
            raise InsufficientStorage(
                f"The training needs {size // _MIB} MiB of disk for its checkpoints, and {free // _MIB} MiB are free. Make room and resume the job."
            )

    async def sweep(self, unfinished: Collection[str]) -> None:
        """Remove the workspaces of jobs that have ended while nobody was there to do it."""
        if not self.root.is_dir():
            return
        for folder in await asyncio.to_thread(lambda: list(self.root.iterdir())):
            if folder.name not in unfinished:
                _log.info("workspace_removed", job=folder.name)
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
