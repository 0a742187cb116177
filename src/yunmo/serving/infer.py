"""Inference: from a model's name and a request to a stream of chunks, admitted, routed and metered."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Self

from yunmo.core.errors import (
    DeadlineExceeded,
    Gated,
    ModelNotFound,
    RepositoryNotFound,
    RevisionNotFound,
    Unavailable,
    Unsupported,
    YunmoError,
)
from yunmo.core.identity import Principal
from yunmo.core.tasks import AnyRequest, Output, Request, TextDelta, TranscriptSegment, fold, task_name
from yunmo.core.usage import Usage
from yunmo.serving.adapters import AdapterRunner
from yunmo.serving.background import Background
from yunmo.serving.deployments import Deployments
from yunmo.serving.router import Flight
from yunmo.serving.runner import Runner
from yunmo.serving.specification import Served, public_reason
from yunmo.tenancy.ledger import UsageEvent
from yunmo.tenancy.limits import Rates, Ticket
from yunmo.tenancy.tenancy import Tenancy

_ALIAS_SECONDS = 1.0
_NAMES_KEPT = 10_000
_NAME_CHARACTERS = 256
_TOKENS_PER_REQUEST = 1


class Answering:
    """One answer on its way. Iterate over it for chunks, or take it `whole`; close it when it is not wanted any more.

    Leaving early stops the engine. What was used is metered in every case, by the time the engine has ended.
    """

    def __init__(self, principal: Principal, runner: Runner, request: Request, ticket: Ticket, tenancy: Tenancy) -> None:
        self.served = served_of(runner)
        self.usage = Usage()
        self.rates: Rates | None = ticket.rates
        self.attempts = 1
        self._principal = principal
        self._runner = runner
        self._request = request
        self._ticket = ticket
        self._tenancy = tenancy
        self._chunks: deque[Output] = deque()
        self._wakeup: asyncio.Future[None] | None = None
        self._flight: Flight | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._has_ended = False
        self._is_closed = False
        self._error: YunmoError | None = None
        self._deltas = 0
        self._on_end: Callable[[], None] | None = None

    # ------------------------------------------------------------ for dialects

    @property
    def is_ready(self) -> bool:
        """Whether the first chunk is there, or will never be."""
        return bool(self._chunks) or self._has_ended

    @property
    def doing(self) -> str:
        """What goes on until the first chunk is there, such as "loading 40% exporting to ONNX"."""
        runner = self._runner
        if self._flight is not None and self._flight.seat is not None:
            return "working"
        if runner.state == "ready":
            return "waiting for a free replica"
        return f"{runner.state} {runner.progress:.0%} {public_reason(runner.reason)}".rstrip()

    async def ready(self) -> None:
        """Wait for the first chunk. Raises the answer's error if it comes first."""
        while not self.is_ready:
            await self._change()
        if not self._chunks and self._error is not None:
            raise self._error

    async def whole(self) -> Output:
        """The whole answer."""
        try:
            while not self._has_ended:
                await self._change()
        finally:
            await self.close()
        if self._error is not None:
            raise self._error
        if len(self._chunks) == 1 and not isinstance(self._chunks[0], TextDelta | TranscriptSegment):
            return self._chunks[0]
        return fold(self._request, self._chunks)

    async def close(self) -> None:
        """Give the answer up, or confirm that it has been taken; harmless the second time."""
        self._is_closed = True
        for timer in self._timers:
            timer.cancel()
        if not self._has_ended and self._flight is not None:
            self._flight.router.cancel(self._flight)

    async def __aiter__(self) -> AsyncIterator[Output]:
        try:
            while True:
                while self._chunks:
                    yield self._chunks.popleft()
                if self._has_ended:
                    break
                await self._change()
        finally:
            await self.close()
        if self._error is not None:
            raise self._error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ------------------------------------------------------------ for the router

    def start(self, deadline_seconds: float, cold_wait_seconds: float, on_end: Callable[[], None] | None = None) -> None:
        """Submit the request; one that can wait has an `on_end`, called once when it has ended. Raises Overloaded and PoisonRequest."""
        self._on_end = on_end
        self._flight = self._runner.router.submit(self._request, self, can_wait=on_end is not None)
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(deadline_seconds, self._expire, deadline_seconds))
        if self._flight.seat is None:
            self._timers.append(loop.call_later(cold_wait_seconds, self._expire_waiting, cold_wait_seconds))

    def deliver(self, chunk: Output) -> None:
        """A chunk has come."""
        if isinstance(chunk, TextDelta):
            self._deltas += 1
        self._chunks.append(chunk)
        self._wake()

    def end(self, usage: Usage, error: YunmoError | None) -> None:
        """The engine has ended, however it did; called exactly once."""
        if self._flight is not None:
            self.attempts = max(1, self._flight.attempts)
        self._error = self._error or error
        is_aborted = self._is_closed or self._error is not None
        if usage.output_tokens < self._deltas and (is_aborted or not usage.output_tokens):
            usage = replace_output_tokens(usage, self._deltas)
        self.usage = usage
        self._has_ended = True
        for timer in self._timers:
            timer.cancel()
        self._ticket.settle(usage.input_tokens + usage.output_tokens)
        self._meter(is_aborted=is_aborted)
        if self._on_end is not None:
            self._on_end()
        self._wake()

    # ------------------------------------------------------------ inside

    def _meter(self, *, is_aborted: bool) -> None:
        self._tenancy.ledger.record(
            UsageEvent(
                project=self._principal.project,
                key_id=self._principal.key_id,
                model=self.served.name,
                commit=self.served.revision,
                task=task_name(self._request),
                usage=self.usage,
                is_aborted=is_aborted,
            )
        )

    def _expire(self, seconds: float) -> None:
        self._give_up(DeadlineExceeded(f"'{self.served.name}' did not finish this request within {seconds:.0f} s."))

    def _expire_waiting(self, seconds: float) -> None:
        if self._flight is None or self._flight.seat is not None or self._flight.attempts > 0:
            return
        runner = self._runner
        doing = f"{runner.state}: {public_reason(runner.reason)} ({runner.progress:.0%})" if runner.state != "ready" else "busy"
        self._give_up(
            Unavailable(
                f"'{self.served.name}' had no replica free within {seconds:.0f} s; it is {doing}. Try again shortly.", retry_after_seconds=5
            )
        )

    def _give_up(self, error: YunmoError) -> None:
        if not self._has_ended and self._flight is not None:
            self._error = error
            self._flight.router.cancel(self._flight)
            self._has_ended = True
            self._wake()

    async def _change(self) -> None:
        if self._wakeup is None or self._wakeup.done():  # done: whoever waited for it before was cancelled
            self._wakeup = asyncio.get_running_loop().create_future()
        await self._wakeup

    def _wake(self) -> None:
        waiting, self._wakeup = self._wakeup, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a name meant to a project a moment ago, or why nothing; a refusal holds only until something is written."""

    answer: Runner | YunmoError
    until: float
    writes: int


class Inference:
    """What dialects ask for answers."""

    def __init__(self, deployments: Deployments, tenancy: Tenancy, request_seconds: float, cold_wait_seconds: float) -> None:
        self._deployments = deployments
        self._tenancy = tenancy
        self._request_seconds = request_seconds
        self._cold_wait_seconds = cold_wait_seconds
        self._known: dict[tuple[str, bool, str], _Known] = {}
        self._background = Background()

    async def find(self, principal: Principal, model: str) -> Served:
        """What answers to this name. Raises ModelNotFound, or the reason why the model cannot be served."""
        return served_of(await self._runner(principal, model))

    async def models(self, principal: Principal) -> list[Served]:
        """Every model that the caller may call by name: what is deployed, and what would be at its first call."""
        deployed = [served_of(runner) for runner in self._deployments.runners() if self._deployments.is_visible(principal, runner.spec)]
        pushed = await self._deployments.deployable(principal)
        return deployed + [Served(ref.repository, ref.repository, ref.commit, (), None, "idle", ref.created, ref.project) for ref in pushed]

    async def begin(
        self,
        principal: Principal,
        model: str,
        request: AnyRequest,
        *,
        deadline_seconds: float | None = None,
        can_wait: bool = False,
    ) -> Answering:
        """Admit the request and send it off; every refusal is raised here, before any work.

        One that `can_wait` is held back while others wait for this model.
        """
        principal.require("infer")
        runner = await self._runner(principal, model)
        offer = runner.offer
        if offer is not None and task_name(request) not in offer.tasks:
            raise Unsupported(f"'{model}' does not do '{task_name(request)}'; it does: {', '.join(offer.tasks)}.", param="model")
        answerer = runner.answerer(request)
        queue = answerer.router
        if not can_wait:
            self._background.note(queue)
            return self._start(principal, runner.limited, answerer, request, deadline_seconds)
        await self._background.turn(queue)
        try:
            answerer = runner.answerer(request)  # the plan may be another one by now
            return self._start(principal, runner.limited, answerer, request, deadline_seconds, lambda: self._background.leave(queue))
        except BaseException:
            self._background.leave(queue)
            raise

    def _start(
        self,
        principal: Principal,
        limited: Runner,
        answerer: Runner,
        request: Request,
        deadline_seconds: float | None,
        on_end: Callable[[], None] | None = None,
    ) -> Answering:
        ticket = self._tenancy.limiter.enter(principal, limited.spec.name, limited.ceilings, _TOKENS_PER_REQUEST)
        answering = Answering(principal, answerer, request, ticket, self._tenancy)
        try:
            answerer.wake()
            answering.start(deadline_seconds or self._request_seconds, self._cold_wait_seconds, on_end)
        except BaseException:
            ticket.settle(0)
            raise
        return answering

    async def _runner(self, principal: Principal, model: str) -> Runner:
        runner = await self._named(principal, model)
        if runner.offer is None:
            await self._deployments.look_at(runner)
        return runner

    async def _named(self, principal: Principal, model: str) -> Runner:
        runner = self._deployments.get(model)
        if runner is not None and not self._deployments.is_visible(principal, runner.spec):
            runner = None
        if runner is not None and not runner.spec.is_gated and not isinstance(runner, AdapterRunner):
            return runner
        name = (principal.project, principal.is_admin, model)
        known = self._recall(name)
        if known is not None and runner in {None, known} and self._deployments.is_visible(principal, known.spec):
            return known
        writes = self._deployments.writes
        try:
            found = await self._look_up(principal, model, runner)
        except (RepositoryNotFound, RevisionNotFound) as error:
            self._remember(name, _not_found(model), writes)
            raise _not_found(model) from error
        except Gated as error:
            self._remember(name, copy(error), writes)
            raise
        self._remember(name, found, writes)
        return found

    async def _look_up(self, principal: Principal, model: str, runner: Runner | None) -> Runner:
        reader = replace(principal, scopes=principal.scopes | {"read"}) if principal.may("infer") else principal
        found = runner or await self._deployments.find_or_deploy(reader, model)
        await self._deployments.check_access(reader, found)
        return found

    def _recall(self, name: tuple[str, bool, str]) -> Runner | None:
        """What the name led to a moment ago. Raises the refusal, if it was refused."""
        known = self._known.get(name)
        if known is None or known.until <= time.monotonic():
            return None
        if isinstance(known.answer, YunmoError):
            if known.writes == self._deployments.writes:
                raise copy(known.answer)
            return None
        return known.answer if self._deployments.get(known.answer.spec.name) is known.answer else None

    def _remember(self, name: tuple[str, bool, str], answer: Runner | YunmoError, writes: int) -> None:
        if len(name[2]) > _NAME_CHARACTERS:
            return
        if len(self._known) >= _NAMES_KEPT:
            self._known.clear()
        self._known[name] = _Known(answer, time.monotonic() + _ALIAS_SECONDS, writes)


def _not_found(model: str) -> ModelNotFound:
    return ModelNotFound(
        f"There is no model '{model}', or this key may not use it. GET /v1/models lists what there is; push one with 'yunmo push'.",
        param="model",
    )


def served_of(runner: Runner) -> Served:
    """The runner as dialects see it."""
    spec = runner.spec
    return Served(
        name=spec.name,
        repository=spec.repository,
        revision=spec.revision,
        tasks=runner.offer.tasks if runner.offer else (),
        pipeline_tag=runner.pipeline_tag,
        state=runner.state,
        created=int(spec.created.timestamp()),
        owner=spec.project,
    )


def replace_output_tokens(usage: Usage, tokens: int) -> Usage:
    """The usage of an answer that was cut off, by the pieces that came."""
    return Usage(usage.input_tokens, tokens, usage.cached_tokens, usage.characters, usage.seconds)
