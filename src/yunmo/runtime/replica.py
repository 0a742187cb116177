"""The worker's side of the wire: loads one engine, admits requests to it and sends back what it streams."""

import asyncio
import contextlib
import functools
import os
from pathlib import Path

import psutil
import structlog

import yunmo
from yunmo.core import plugins
from yunmo.core.engine import AdaptedKind, BatchEngine, DraftedKind, Engine
from yunmo.core.errors import EngineFailed, Unavailable, Unsupported, YunmoError
from yunmo.core.tasks import Chat, Generate, Request, task_name
from yunmo.core.usage import Usage
from yunmo.runtime.batching import Batched
from yunmo.runtime.wire import (
    PROTOCOL,
    Cancel,
    Chunk,
    Failed,
    Final,
    Hello,
    Load,
    LoadFailed,
    Loading,
    Ping,
    Pong,
    Ready,
    Submit,
    ToWorker,
    Wire,
)

_log = structlog.get_logger()


class Replica:
    """One engine behind one wire. `run` returns when the gateway has gone or loading failed."""

    def __init__(self) -> None:
        self.wire = Wire.of_worker(self._received, self._closed)
        self._loop = asyncio.get_running_loop()
        self._engine: Engine | Batched | None = None
        self._adapters: frozenset[str] = frozenset()
        self._working: dict[int, asyncio.Task[None]] = {}
        self._ended = asyncio.Event()
        self._process = psutil.Process()
        self._loading: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until the other end closes."""
        self.wire.send(Hello(PROTOCOL, yunmo.__version__, os.getpid()))
        await self._ended.wait()
        for task in list(self._working.values()):
            task.cancel()
        if self._loading is not None:
            self._loading.cancel()
        if self._engine is not None:
            await self._engine.close()

    def _closed(self, reason: str) -> None:
        _log.info("gateway_gone", reason=reason)
        self._ended.set()

    def _received(self, message: ToWorker) -> None:
        match message:
            case Submit(id=number, request=request, can_wait=can_wait):
                task = self._working[number] = self._loop.create_task(self._answer(number, request, can_wait))
                task.add_done_callback(functools.partial(self._answered, number))
            case Cancel(id=number):
                unwanted = self._working.get(number)
                if unwanted is not None:
                    unwanted.cancel()
            case Ping():
                self.wire.send(Pong(self._resident_bytes()))
            case Load():
                self._loading = self._loop.create_task(self._load(message))

    async def _load(self, load: Load) -> None:
        if load.protocol != PROTOCOL:
            self._refuse(
                Unavailable(f"This worker speaks protocol {PROTOCOL}, the gateway {load.protocol}: restart Yunmo after its upgrade.")
            )
            return
        try:
            loaded = await asyncio.to_thread(self._loaded, load)
            self._adapters = frozenset(adapter.name for adapter in load.adapters)
            self._engine = Batched(loaded, load.plan) if isinstance(loaded, BatchEngine) else loaded
        except YunmoError as error:
            self._refuse(error)
            return
        except Exception as error:  # boundary: worker loop, a model library may raise anything while loading
            _log.exception("load_failed", engine=load.engine)
            self._refuse(EngineFailed(f"The engine {load.engine} could not load the model: {type(error).__name__}: {error}"))
            return
        self.wire.send(Ready(tuple(self._engine.tasks), self._resident_bytes()))

    def _resident_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def _loaded(self, load: Load) -> Engine | BatchEngine:
        kind = plugins.engines()[load.engine]
        directory, derived = Path(load.directory), Path(load.derived)
        if load.draft is not None:
            if not isinstance(kind, DraftedKind):
                raise Unsupported(f"The engine {load.engine} takes no drafts.")
            return kind.load_drafted(directory, derived, load.plan, self._progress, load.draft, load.adapters)
        if not load.adapters:
            return kind.load(directory, derived, load.plan, self._progress)
        if not isinstance(kind, AdaptedKind):
            raise Unsupported(f"The engine {load.engine} takes no adapters.")
        return kind.load_adapted(directory, derived, load.plan, self._progress, load.adapters)

    def _progress(self, step: str, share: float) -> None:
        self._loop.call_soon_threadsafe(self.wire.send, Loading(step, share))

    def _refuse(self, error: YunmoError) -> None:
        self.wire.send(LoadFailed(error.code, error.message))
        self.wire.close()

    async def _answer(self, number: int, request: Request, can_wait: bool) -> None:
        usage = Usage()
        try:
            engine = self._engine
            if engine is None:
                raise EngineFailed("A request came before the model was loaded.")
            if task_name(request) not in engine.tasks:
                raise Unsupported(f"This model does not do '{task_name(request)}'; it does: {', '.join(engine.tasks)}.")
            if isinstance(request, Chat | Generate) and request.adapter is not None and request.adapter not in self._adapters:
                raise Unavailable("The adapter is not loaded beside its base any more; ask again.", retry_after_seconds=1)
            if isinstance(engine, Batched):
                await self._answer_whole(number, engine, request, can_wait)
                return
            async with contextlib.aclosing(engine.stream(request)) as stream:  # type: ignore[type-var]
                news: Usage | None = None
                async for item in stream:
                    if isinstance(item, Usage):
                        usage = news = item
                    else:
                        self.wire.send(Chunk(number, item, news))  # type: ignore[arg-type]
                        news = None
                        await self.wire.has_room()
            self.wire.send(Final(number, usage))
        except YunmoError as error:
            self.wire.send(Failed(number, error.code, error.message, error.param, usage))
        except asyncio.CancelledError:
            self.wire.send(Final(number, usage))
        except Exception as error:  # boundary: worker loop, a model library may raise anything
            _log.exception("request_failed", engine=type(engine).__name__)
            self.wire.send(
                Failed(number, EngineFailed.code, f"The model failed on this input: {type(error).__name__}: {error}", None, usage)
            )

    async def _answer_whole(self, number: int, engine: Batched, request: Request, can_wait: bool) -> None:
        items = engine.submit(request, can_wait=can_wait)
        try:
            output, usage = await engine.result(items)
        except asyncio.CancelledError:
            self.wire.send(Final(number, await engine.spent(items)))
            return
        self.wire.send(Final(number, usage, output))  # type: ignore[arg-type]

    def _answered(self, number: int, task: asyncio.Task[None]) -> None:
        """Every request ends with a word to the gateway: also one that was given up before its task had begun to run."""
        self._working.pop(number, None)
        if task.cancelled():
            self.wire.send(Final(number, Usage()))
