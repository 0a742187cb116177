"""Calibration: every plan that could serve a model is run beside the others, on the same inputs, in workers of its own.

A plan that crashes, drifts or takes too long is noted and ends; no serving replica is touched.
"""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from yunmo.core.drift import Drift, drift
from yunmo.core.engine import ModelDescription, Offer
from yunmo.core.errors import Unavailable, YunmoError
from yunmo.core.tasks import Output, Request
from yunmo.runtime.link import Worker, WorkerSpec
from yunmo.runtime.placement.placement import Placement
from yunmo.serving.calibration.budgets import budget_of
from yunmo.serving.calibration.report import Calibration, Pace, Trial, Verdict
from yunmo.serving.calibration.runs import answers, milliseconds_alone, per_second, unit_of
from yunmo.serving.calibration.samples import has_samples, samples
from yunmo.serving.memory import Claim, MemoryBudget
from yunmo.serving.use import Use

_ROUNDS = 3
_SHARE_TO_LOAD = 0.7
"""Of the time in all, loading and comparing may take this much; the rest is for measuring what is there by then."""
_LONGEST_MEASURE_SECONDS = 2.0
_SHORTEST_MEASURE_SECONDS = 0.2
_ALONE_SHARE = 0.4
_LOOK_SECONDS = 5.0
_log = structlog.get_logger()

Tell = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is calibrated: a model's plans (the first is the reference), and how a worker for each is started."""

    name: str
    description: ModelDescription
    offers: Sequence[Offer]
    fingerprint: str
    worker_of: Callable[[Offer], WorkerSpec]

    @property
    def task(self) -> str:
        return self.offers[0].tasks[0]


@dataclass(slots=True)
class _Tried:
    offer: Offer
    worker: Worker | None = None
    verdict: Verdict = "untried"
    reason: str = ""
    load_seconds: float = 0.0
    resident_bytes: int = 0
    working_bytes: int = 0
    answers: list[Output] = field(default_factory=list)
    drift: Drift | None = None
    speeds: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def trial(self) -> Trial:
        pace = (
            Pace(round(statistics.median(self.speeds), 2), round(statistics.median(self.times), 3)) if self.speeds and self.times else None
        )
        return Trial(
            plan=self.offer.plan,
            verdict=self.verdict,
            reason=self.reason,
            memory_bytes=self.offer.memory_bytes,
            predicted_bytes=self.offer.predicted_bytes,
            resident_bytes=self.resident_bytes,
            working_bytes=self.working_bytes,
            load_seconds=round(self.load_seconds, 2),
            pace=pace,
            drift=self.drift,
        )


def can_be_calibrated(offers: Sequence[Offer]) -> bool:
    """Whether there is a choice at all, and inputs to make it with."""
    return len(offers) > 1 and has_samples(offers[0].tasks[0])


async def calibrate(subject: Subject, placement: Placement, memory: MemoryBudget, limit_seconds: float, tell: Tell) -> Calibration:
    """Try the subject's plans within about `limit_seconds`. Raises Unavailable if not even the reference can be run."""
    began = time.monotonic()
    requests = await asyncio.to_thread(samples, subject.task, subject.description)
    tried = [_Tried(offer) for offer in subject.offers]
    async with contextlib.AsyncExitStack() as stack:
        for number, each in enumerate(tried):
            tell(f"trying {_words(each.offer)}", number / (2 * len(tried)))
            left = _SHARE_TO_LOAD * limit_seconds - (time.monotonic() - began) if number else limit_seconds
            await _compare(stack, subject, each, tried[0], requests, placement, memory, left)
            if tried[0].verdict != "fit":
                raise Unavailable(f"'{subject.name}' could not be calibrated: {tried[0].reason}")
        await _measure([each for each in tried if each.worker is not None], requests, began + limit_seconds, tell)
    return Calibration(
        repository=subject.description.repository,
        revision=subject.description.revision,
        task=subject.task,
        unit=unit_of(subject.task),
        trials=tuple(each.trial() for each in tried),
        fingerprint=subject.fingerprint,
        at=datetime.now(UTC),
        took_seconds=round(time.monotonic() - began, 1),
        is_complete=all(each.verdict != "untried" for each in tried),
    )


async def _compare(  # noqa: PLR0913 - one step of one procedure
    stack: contextlib.AsyncExitStack,
    subject: Subject,
    each: _Tried,
    reference: _Tried,
    requests: list[Request],
    placement: Placement,
    memory: MemoryBudget,
    seconds: float,
) -> None:
    """Load the plan and hold its answers against the reference's; what goes wrong is noted, never raised."""
    began = time.monotonic()
    if seconds <= 0:
        each.reason = "no time was left to try it; calibrate again with more"
        return
    try:
        async with asyncio.timeout(seconds):
            worker = await stack.enter_async_context(_worker(subject, each.offer, placement, memory))
            each.load_seconds, each.resident_bytes = time.monotonic() - began, worker.resident_bytes
            each.answers = await answers(worker, requests, each.offer.plan.slots)
    except TimeoutError:
        each.reason = f"it was not loaded and compared within {seconds:.0f} s; calibrate again with more time"
        return
    except YunmoError as error:
        each.verdict, each.reason = "failed", error.message
        return
    each.worker, each.verdict = worker, "fit"
    if each is not reference:
        each.drift = drift(reference.answers, each.answers)
        each.reason = budget_of(reference.answers[0]).problem(each.drift)
        each.verdict = "drifted" if each.reason else "fit"


@contextlib.asynccontextmanager
async def _worker(subject: Subject, offer: Offer, placement: Placement, memory: MemoryBudget) -> AsyncIterator[Worker]:
    """A loaded worker of its own, in memory that nobody else wants at the moment."""
    claim = Claim(f"calibration of {subject.name}", offer.memory_bytes, Use(), lambda: False, _stay)
    if not memory.take_free(claim):
        raise Unavailable(f"There is no free memory for it: {offer.memory_bytes >> 20} MiB are needed.")
    try:
        spec = subject.worker_of(offer)
        placed = await placement.start(spec, lambda _step, _share: None)
        try:
            await placed.worker.load(spec)
            yield placed.worker
        finally:
            await placed.stop(1)
    finally:
        await memory.release(claim)


async def _stay() -> None:
    """A calibration ends by itself soon."""


async def _measure(tried: list[_Tried], requests: list[Request], ends: float, tell: Tell) -> None:
    """Measure all plans in turn, several rounds: what the machine's neighbours do falls on all of them alike."""
    for round_number in range(_ROUNDS):
        if round_number and time.monotonic() > ends:
            return  # one recording or prompt takes longer than a round's share: what is measured must do
        paced = [each for each in tried if each.verdict == "fit" or (each.verdict == "drifted" and round_number == 0)]
        for number, each in enumerate(paced):
            tell(f"measuring {_words(each.offer)}", 0.5 + 0.5 * (round_number + number / len(paced)) / _ROUNDS)
            share = (ends - time.monotonic()) / ((_ROUNDS - round_number) * len(paced) - number)
            seconds = min(_LONGEST_MEASURE_SECONDS, max(_SHORTEST_MEASURE_SECONDS, share))
            assert each.worker is not None
            try:
                each.times.append(await milliseconds_alone(each.worker, requests, _ALONE_SHARE * seconds))
                speed = await per_second(each.worker, requests, each.offer.plan.slots, (1 - _ALONE_SHARE) * seconds)
                each.speeds.append(speed)
                if await each.worker.look(_LOOK_SECONDS):
                    each.working_bytes = max(each.working_bytes, each.worker.resident_bytes)
            except YunmoError as error:
                each.verdict, each.reason = "failed", error.message


def _words(offer: Offer) -> str:
    plan = offer.plan
    layout = f"{plan.streams}x{plan.threads}"
    return " ".join(part for part in (plan.engine, plan.format if plan.format != plan.engine else "", plan.precision, layout) if part)
