"""Workers as processes of this machine: each crashes alone, in its own memory limit, without a network."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from yunmo.runtime.link import Worker, WorkerSpec
from yunmo.runtime.placement.environment import worker_environment
from yunmo.runtime.placement.placement import OnProgress
from yunmo.runtime.placement.templates import Templates
from yunmo.runtime.template import Fork


class _Process(Protocol):
    @property
    def pid(self) -> int: ...

    async def wait(self) -> int: ...

    def kill(self) -> None: ...


class PlacedProcess:
    """A worker process, the leader of a process group of its own."""

    def __init__(self, process: _Process, worker: Worker) -> None:
        self.worker = worker
        self._process = process

    async def stop(self, grace_seconds: float) -> None:
        """Close its wire, wait, then kill its whole process group."""
        self.worker.close()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            self._kill_group()
        await self._process.wait()
        if not _has_reaped_group(self._process.pid):
            await asyncio.to_thread(_reap_group, self._process.pid)

    def _kill_group(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has ended, or hangs since before it could become the leader of its group
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


class ProcessPlacement:
    """Forks a worker from its engine's template, or starts `python -m yunmo.runtime.worker` where there is none.

    Either way the worker has one end of a socket pair, a session of its own, and its output goes to the log file.
    An engine in `pythons` has its library, and Yunmo beside it, in the environment of that interpreter: it is started there.
    """

    name = "process"

    def __init__(self, templates: Templates | None = None, pythons: Mapping[str, Path] = MappingProxyType({})) -> None:
        self._templates = templates
        self._pythons = pythons

    async def start(self, spec: WorkerSpec, on_progress: OnProgress) -> PlacedProcess:
        """Start the process."""
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        spec.derived.mkdir(parents=True, exist_ok=True)
        process, end = await self._forked(spec) or await _spawned(spec, str(self._pythons.get(spec.engine, sys.executable)))
        worker = Worker(on_progress)
        try:
            await asyncio.get_running_loop().create_connection(lambda: worker.wire, sock=end)
        except BaseException:
            end.close()  # nobody wants the worker: it ends when its wire closes
            raise
        worker.pid = process.pid
        return PlacedProcess(process, worker)

    async def _forked(self, spec: WorkerSpec) -> "tuple[_Process, socket.socket] | None":
        if self._templates is None or spec.engine in self._pythons:
            return None
        wanted = Fork(str(spec.derived), worker_environment(spec.derived), spec.memory_limit_bytes)
        with _wired(spec) as (ours, theirs, log):
            process = await self._templates.fork(spec.engine, wanted, theirs, log)
        if process is None:
            ours.close()  # a template that was lost may have left a worker at the other end
            return None
        return process, ours


async def _spawned(spec: WorkerSpec, python: str) -> tuple[_Process, socket.socket]:
    limit = [] if spec.memory_limit_bytes is None else [str(spec.memory_limit_bytes)]
    with _wired(spec) as (ours, theirs, log):
        process = await asyncio.create_subprocess_exec(
            python,
            "-P",
            "-m",
            "yunmo.runtime.worker",
            str(theirs.fileno()),
            *limit,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            cwd=spec.derived,
            env=worker_environment(spec.derived),
        )
    return process, ours


@contextlib.contextmanager
def _wired(spec: WorkerSpec) -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """Both ends of a new wire, and the open log. Only the first end stays open, and that only if all went well."""
    ours, theirs = socket.socketpair()
    with theirs, spec.log.open("ab") as log:
        try:
            yield ours, theirs, log.fileno()
        except BaseException:
            ours.close()
            raise


def _has_reaped_group(group: int) -> bool:
    """Take note of the ends of a killed worker's own children, whom the server has adopted; False if one has not ended yet."""
    try:
        while os.waitpid(-group, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return True
    return False


def _reap_group(group: int) -> None:
    try:
        while True:
            os.waitpid(-group, 0)
    except ChildProcessError:
        return
