"""The server's side of templates: processes with an engine's libraries imported, from which its workers are forked."""

import asyncio
import ctypes
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from yunmo.runtime.placement.environment import worker_environment
from yunmo.runtime.template import MESSAGE_BYTES, Fork, Forked, FromTemplate, Ready, Refused

_PR_SET_CHILD_SUBREAPER = 36
_START_SECONDS = 120.0
_FORK_SECONDS = 15.0
_REFUSED_SECONDS = 300.0
_ATTEMPTS = 2
_UNKNOWN_EXIT = 255
_MIB = 1 << 20
_decode = msgspec.msgpack.Decoder(FromTemplate).decode
_encode = msgspec.msgpack.Encoder().encode
_log = structlog.get_logger()


class TemplateLost(Exception):
    """A template that cannot fork: it ended, hangs or says why not."""


class Child:
    """A process that the server has adopted; `wait` returns when it is gone."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._descriptor, self._reap)

    async def wait(self) -> int:
        """The exit code, or minus the signal that ended it."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """End it at once; harmless when it has ended."""
        if not self._ended.done():
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def _reap(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # somebody else has taken note of its end
            code = _UNKNOWN_EXIT
        if not self._ended.done():
            self._ended.set_result(code)


@dataclass(slots=True, eq=False)
class Template:
    """One template process. `private_bytes` is what it costs while no worker shares its memory."""

    engine: str
    process: Process
    control: socket.socket
    private_bytes: int = 0
    used: float = field(default_factory=time.monotonic)

    async def answer(self, seconds: float) -> FromTemplate:
        """Its next message. Raises TemplateLost."""
        try:
            async with asyncio.timeout(seconds):
                message = await asyncio.get_running_loop().sock_recv(self.control, MESSAGE_BYTES)
        except TimeoutError:
            raise TemplateLost(f"no answer within {seconds:.0f} s") from None
        except OSError as error:
            raise TemplateLost(str(error)) from error
        if not message:
            raise TemplateLost("it ended unexpectedly")
        answer: FromTemplate = _decode(message)
        return answer

    async def stop(self) -> None:
        """Kill it; the workers that were forked from it live on."""
        self.control.close()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


class Templates:
    """The templates of this machine: at most one per engine, together within `limit_bytes`.

    A template is started when its engine is first used, and by `warm_up` for those that were used in an earlier run.
    """

    def __init__(self, folder: Path, libraries: Mapping[str, tuple[str, ...]], limit_bytes: int) -> None:
        self._folder = folder
        self._libraries = libraries
        self._limit_bytes = limit_bytes
        self._running: dict[str, Template] = {}
        self._refused: dict[str, float] = {}
        self._locks = {engine: asyncio.Lock() for engine in libraries}

    @property
    def running(self) -> dict[str, Template]:
        """The templates that are there, by engine."""
        return dict(self._running)

    async def warm_up(self) -> None:
        """Start the templates of the engines that have been used with this folder before."""
        for engine, lock in self._locks.items():
            if self._log_path(engine).exists() and self._may_start(engine):
                async with lock:
                    await self._find(engine)

    async def fork(self, engine: str, wanted: Fork, end: socket.socket, log: int) -> Child | None:
        """A worker forked from the engine's template; None where there is none to be had."""
        if not self._may_start(engine):
            return None
        async with self._locks[engine]:
            for _ in range(_ATTEMPTS):
                template = await self._find(engine)
                if template is None:
                    return None
                try:
                    return await self._forked(template, wanted, end, log)
                except TemplateLost as error:
                    await self._lose(template, str(error))
        return None

    async def close(self) -> None:
        """End every template."""
        for template in list(self._running.values()):
            await self._stop(template)

    def _may_start(self, engine: str) -> bool:
        is_refused = self._refused.get(engine, 0.0) > time.monotonic()
        return engine in self._libraries and self._limit_bytes > 0 and not is_refused and is_possible()

    async def _forked(self, template: Template, wanted: Fork, end: socket.socket, log: int) -> Child:
        forking = asyncio.ensure_future(_fork(template, wanted, end, log))
        try:
            return await asyncio.shield(forking)
        except asyncio.CancelledError:
            await asyncio.wait({forking})  # nobody wants the worker: it ends when its wire closes
            if forking.exception() is not None:
                await self._lose(template, str(forking.exception()))
            raise

    async def _find(self, engine: str) -> Template | None:
        """The running template, or a new one; the caller holds the engine's lock."""
        template = self._running.get(engine)
        if template is not None and template.process.returncode is not None:
            await self._lose(template, "it ended unexpectedly")
            template = None
        if template is None:
            template = await self._start(engine)
        if template is not None:
            template.used = time.monotonic()
        return template

    async def _start(self, engine: str) -> Template | None:
        began = time.monotonic()
        try:
            template = await self._prepared(engine)
        except (TemplateLost, OSError) as error:
            self._refused[engine] = time.monotonic() + _REFUSED_SECONDS
            _log.warning("template_refused", engine=engine, reason=str(error))
            return None
        self._running[engine] = template
        seconds = round(time.monotonic() - began, 2)
        _log.info("template_ready", engine=engine, seconds=seconds, private_mib=template.private_bytes // _MIB)
        await self._keep_within_limit(template)
        return template

    async def _prepared(self, engine: str) -> Template:
        """A new template that is ready to fork. Raises TemplateLost and OSError."""
        template = await self._spawn(engine)
        try:
            message = await template.answer(_START_SECONDS)
            if not isinstance(message, Ready):
                raise TemplateLost(_reason(message))
            if message.private_bytes > self._limit_bytes:
                raise TemplateLost(f"it takes {message.private_bytes // _MIB} MiB, more than all may (setting serving.template_bytes)")
        except BaseException:
            await template.stop()
            raise
        template.private_bytes = message.private_bytes
        return template

    async def _spawn(self, engine: str) -> Template:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with theirs, self._log_path(engine).open("ab") as log:
            arguments = [str(theirs.fileno()), str(os.getpid()), *self._libraries[engine]]
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "yunmo.runtime.template",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd=self._folder,
                env=worker_environment(self._folder),
            )
        return Template(engine, process, ours)

    async def _keep_within_limit(self, newest: Template) -> None:
        while sum(each.private_bytes for each in self._running.values()) > self._limit_bytes:
            idle = [each for each in self._running.values() if each is not newest and not self._locks[each.engine].locked()]
            if not idle:
                return
            await self._stop(min(idle, key=lambda each: each.used))

    async def _lose(self, template: Template, reason: str) -> None:
        _log.warning("template_lost", engine=template.engine, reason=reason)
        await self._stop(template)

    async def _stop(self, template: Template) -> None:
        self._running.pop(template.engine, None)
        await template.stop()

    def _log_path(self, engine: str) -> Path:
        return self._folder / f"{engine}.log"


async def _fork(template: Template, wanted: Fork, end: socket.socket, log: int) -> Child:
    try:
        socket.send_fds(template.control, [_encode(wanted)], [end.fileno(), log])
    except OSError as error:
        raise TemplateLost(str(error)) from error
    message = await template.answer(_FORK_SECONDS)
    if not isinstance(message, Forked):
        raise TemplateLost(_reason(message))
    return Child(message.pid)


def _reason(message: FromTemplate) -> str:
    return message.reason if isinstance(message, Refused) else f"it answered {type(message).__name__}"


def is_possible() -> bool:
    """Whether workers can be forked here: this process must be able to adopt them (Linux 5.3 and later)."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
