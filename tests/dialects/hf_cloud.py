"""A small cloud with the inference contract: it answers with what it was given, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from yunmo.core.errors import ModelNotFound, Unauthenticated, YunmoError
from yunmo.core.identity import Principal
from yunmo.core.tasks import TASKS, Output, Request, fold
from yunmo.core.usage import Usage

KEY = "ym_test"
CALLER = Principal(project="acme", key_id="k1", scopes=frozenset({"infer"}))
ALL_TASKS = tuple(TASKS)


@dataclass
class Answering:
    request: Request
    chunks: list[Output | YunmoError]
    rates: Any
    usage: Usage = field(default_factory=Usage)
    attempts: int = 1
    is_closed: bool = False
    waits: asyncio.Event | None = None
    looks: int = 0

    @property
    def is_ready(self) -> bool:
        return self.waits is None or self.waits.is_set()

    @property
    def doing(self) -> str:
        """Loads a model while somebody watches; it is ready after the second look."""
        self.looks += 1
        if self.waits is not None and self.looks == 2:
            self.waits.set()
        return f"loading {self.looks}0%"

    async def ready(self) -> None:
        if self.waits is not None:
            await self.waits.wait()
        if isinstance(self.chunks[0], YunmoError):
            raise self.chunks[0]

    async def __aiter__(self) -> AsyncIterator[Output]:
        for chunk in self.chunks:
            if isinstance(chunk, YunmoError):
                raise chunk
            yield chunk
            if self.waits is not None:
                await self.waits.wait()
        self.usage = Usage(input_tokens=4, output_tokens=len(self.chunks))

    async def whole(self) -> Output:
        if self.waits is not None:
            await self.waits.wait()
        return fold(self.request, [chunk async for chunk in self])

    async def close(self) -> None:
        self.is_closed = True


class Inference:
    def __init__(self) -> None:
        self.models: dict[str, Any] = {}
        self.answers: dict[str, list[Output | YunmoError]] = {}
        self.refusal: YunmoError | None = None
        self.rates: Any = None
        self.waits: asyncio.Event | None = None
        self.asked: list[tuple[str, Request]] = []
        self.begun: list[Answering] = []
        self.has_begun = asyncio.Event()

    def serve(self, name: str, *tasks: str, tag: str | None = None, state: str = "ready") -> None:
        self.models[name] = SimpleNamespace(
            name=name, repository=name, revision="c0ffee", tasks=tasks, pipeline_tag=tag, state=state, created=1, owner="acme"
        )

    async def find(self, principal: Principal, model: str) -> Any:
        found = self.models.get(model.partition("@")[0])
        if found is None:
            raise ModelNotFound(f"There is no model '{model}'.", param="model")
        return found

    async def begin(self, principal: Principal, model: str, request: Request, **_: Any) -> Answering:
        self.asked.append((model, request))
        if self.refusal is not None:
            raise self.refusal
        answering = Answering(request, self.answers[type(request).__name__], self.rates, waits=self.waits)
        self.begun.append(answering)
        self.has_begun.set()
        return answering


class Keys:
    async def identify(self, token: str) -> Principal:
        if token != KEY:
            raise Unauthenticated("This key is not known.")
        return CALLER


def make_cloud() -> Any:
    return SimpleNamespace(inference=Inference(), tenancy=SimpleNamespace(keys=Keys()))
