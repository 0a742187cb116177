"""The gateway's side of the wire: a worker that requests can be given to."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from yunmo.core.engine import Adapter, Draft, Plan
from yunmo.core.errors import EngineFailed, YunmoError, error_of
from yunmo.core.tasks import Output, Request
from yunmo.core.usage import Usage
from yunmo.runtime.wire import (
    PROTOCOL,
    Cancel,
    Chunk,
    Failed,
    Final,
    FromWorker,
    Hello,
    Load,
    LoadFailed,
    Loading,
    Ping,
    Pong,
    Ready,
    Submit,
    Wire,
)


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker is to run, and within what."""

    name: str
    engine: str
    directory: Path
    derived: Path
    plan: Plan
    log: Path
    memory_limit_bytes: int | None = None
    adapters: tuple[Adapter, ...] = ()
    draft: Draft | None = None


class Receiver(Protocol):
    """Who waits for an answer. Exactly one of `finished`, `failed` and `lost` is called, last."""

    def chunk(self, output: Output) -> None: ...

    def spent(self, usage: Usage) -> None:
        """The price until now, before the chunk that it came with."""
        ...

    def finished(self, usage: Usage) -> None: ...

    def failed(self, error: YunmoError, usage: Usage) -> None: ...

    def lost(self) -> None:
        """The worker died."""
        ...


class Worker:
    """One worker over its wire: loading, requests, heartbeat. `gone` is done, with the reason, when the wire has closed."""

    def __init__(self, on_progress: Callable[[str, float], None]) -> None:
        self.wire = Wire.of_gateway(self._received, self._closed)
        self.pid = 0
        self.tasks: tuple[str, ...] = ()
        self.resident_bytes = 0
        loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[str] = loop.create_future()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._on_progress = on_progress
        self._receivers: dict[int, Receiver] = {}
        self._next_id = 0
        self._pong = asyncio.Event()

    async def load(self, spec: WorkerSpec) -> None:
        """Have the model loaded. Raises the worker's own error, or EngineFailed when it died."""
        self.wire.send(Load(PROTOCOL, spec.engine, str(spec.directory), str(spec.derived), spec.plan, spec.adapters, spec.draft))
        either: set[asyncio.Future[None] | asyncio.Future[str]] = {self._ready, self.gone}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            self._ready.cancel()
            raise EngineFailed("The worker ended while it loaded the model.")
        self._ready.result()

    def submit(self, request: Request, receiver: Receiver, *, can_wait: bool = False) -> int:
        """Hand the request over; the receiver hears of it from now on. Returns the id that `cancel` takes."""
        self._next_id += 1
        number = self._next_id
        self.wire.send(Submit(number, request, can_wait))  # type: ignore[arg-type]
        self._receivers[number] = receiver
        return number

    def cancel(self, number: int) -> None:
        """Stop the work; its receiver still hears `finished` with what was used."""
        if number in self._receivers:
            self.wire.send(Cancel(number))

    async def watch(self, hang_seconds: float) -> None:
        """Ask for a sign of life for ever; returns when none came for `hang_seconds`."""
        while await self.look(hang_seconds):  # noqa: ASYNC110 - a heartbeat
            await asyncio.sleep(hang_seconds / 4)

    async def look(self, seconds: float) -> bool:
        """Ask for a sign of life, which brings `resident_bytes` up to date; whether it came in time."""
        self._pong.clear()
        self.wire.send(Ping())
        try:
            async with asyncio.timeout(seconds):
                await self._pong.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Close the wire; the worker ends by itself."""
        self.wire.close()

    def _received(self, message: FromWorker) -> None:
        match message:
            case Chunk(id=number, output=output, spent=spent):
                receiver = self._receivers.get(number)
                if receiver is not None:
                    if spent is not None:
                        receiver.spent(spent)
                    receiver.chunk(output)
            case Final(id=number, usage=usage, output=last):
                receiver = self._receivers.pop(number, None)
                if receiver is not None:
                    if last is not None:
                        receiver.chunk(last)
                    receiver.finished(usage)
            case Failed():
                receiver = self._receivers.pop(message.id, None)
                if receiver is not None:
                    receiver.failed(error_of(message.code, message.message, param=message.param), message.usage)
            case Pong(resident_bytes=resident_bytes):
                self.resident_bytes = resident_bytes
                self._pong.set()
            case _:
                self._received_while_loading(message)

    def _received_while_loading(self, message: FromWorker) -> None:
        match message:
            case Hello(pid=pid):
                self.pid = pid
            case Loading(step=step, share=share):
                self._on_progress(step, share)
            case Ready(tasks=tasks, resident_bytes=resident_bytes):
                self.tasks = tasks
                self.resident_bytes = resident_bytes
                if not self._ready.done():
                    self._ready.set_result(None)
            case LoadFailed(code=code, message=text):
                if not self._ready.done():
                    self._ready.set_exception(error_of(code, text))

    def _closed(self, reason: str) -> None:
        receivers = list(self._receivers.values())
        self._receivers.clear()
        if not self.gone.done():
            self.gone.set_result(reason)
        for receiver in receivers:
            receiver.lost()
