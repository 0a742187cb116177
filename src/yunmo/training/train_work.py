"""The second half of a training: the steps themselves, told as they come; then the result is published and compared with how it is served."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec

from yunmo.core.errors import EngineFailed
from yunmo.core.training import (
    Train,
    TrainerOutput,
    TrainingCheckpoint,
    TrainingEstimate,
    TrainingEvaluation,
    TrainingNote,
    TrainingResult,
    TrainingStep,
)
from yunmo.jobs.work import News, Outcome, PutBack, Work
from yunmo.training.publication import Publication
from yunmo.training.site import Site
from yunmo.training.state import CHECK_KIND, TRAIN_KIND, Epoch, TrainingState
from yunmo.training.trainer import PlacedTrainer, placed

_LOOK_SECONDS = 0.3
_TELL_SECONDS = 1.0
_WAIT_SECONDS = 30.0
_GAVE_WAY_SECONDS = 60.0
_CLAIMED = 1.25
"""Of what one step took: evaluations and checkpoints need some more."""

_LIMITED = 1.5
"""Of the claim: what a trainer may take before it is told that there is no more."""

_SLACK_BYTES = 2 * 1024**3
"""The limit is on address space: stacks of threads and what allocators keep count, too."""
_EPOCHS_KEPT = 3


class TrainWork:
    """The kind of job that a training is once it has been checked."""

    name = TRAIN_KIND
    slots = 1

    def __init__(self, site: Site, publication: Publication) -> None:
        self._site = site
        self._publication = publication

    async def run(self, work: Work) -> Outcome:
        """Train from the last checkpoint on, publish, compare."""
        state = msgspec.convert(work.checkpoint or {}, TrainingState)
        if state.published is None:
            if state.estimate is None or not self._site.workspaces.of(work.job).is_dir():
                await work.tell("The training's workspace is not here: it begins anew.", "warning")
                await work.save(msgspec.to_builtins(TrainingState()))
                raise PutBack(kind=CHECK_KIND)
            result = await self._train(work, state, state.estimate)
            state.published = await self._publication.publish(work, state, result)
        trained = await self._publication.certify(work, state.published)
        await self._site.workspaces.remove(work.job)
        return Outcome(msgspec.to_builtins(trained))

    async def cancelled(self, work: Work) -> Outcome:
        """What was published stays; the rest goes."""
        state = msgspec.convert(work.checkpoint or {}, TrainingState)
        await self._site.workspaces.remove(work.job)
        return Outcome({} if state.published is None else msgspec.to_builtins(state.published))

    async def _train(self, work: Work, state: TrainingState, estimate: TrainingEstimate) -> TrainingResult:
        """Raises PutBack, at a checkpoint, when the job is to wait: for its owner, or for memory that a model needs."""
        claim = int(_CLAIMED * estimate.memory_bytes)
        async with self._memory(work, state, claim) as gave_way:
            spec = self._site.worker_spec(work.job, int(_LIMITED * claim) + _SLACK_BYTES)
            async with placed(self._site.placement, spec) as trainer:
                result = await self._follow(work, trainer, state, estimate, gave_way)
        if not result.is_stopped:
            return result
        await work.save(msgspec.to_builtins(state))  # raises Paused if its owner wants it to wait
        raise PutBack(wait_seconds=_GAVE_WAY_SECONDS)

    @contextlib.asynccontextmanager
    async def _memory(self, work: Work, state: TrainingState, size: int) -> AsyncIterator[asyncio.Event]:
        """Hold the memory; the event is set when somebody who serves needs it."""
        gave_way, released = asyncio.Event(), asyncio.Event()

        async def give_way() -> None:
            gave_way.set()
            await released.wait()

        release = await self._site.room.take(f"training/{work.job.id}", size, give_way)
        if release is None:
            if not state.has_waited:
                state.has_waited = True
                await work.tell(f"The training waits for {size >> 20} MiB of memory: models that are in use hold it.", "warning")
                await work.save(msgspec.to_builtins(state))
            raise PutBack(wait_seconds=_WAIT_SECONDS)
        try:
            yield gave_way
        finally:
            await asyncio.shield(release())
            released.set()

    async def _follow(
        self, work: Work, trainer: PlacedTrainer, state: TrainingState, estimate: TrainingEstimate, gave_way: asyncio.Event
    ) -> TrainingResult:
        told = _Told(work, state)
        base = f"{state.base}@{state.base_commit}" if state.base else ""
        stopping = asyncio.create_task(_stop_when_wanted(work, trainer, gave_way))
        try:
            async for news in trainer.ask(Train(recipe=estimate.recipe, base_name=base)):
                if isinstance(news, TrainingResult):
                    await told.flush()
                    if gave_way.is_set() and news.is_stopped:
                        await work.tell(
                            "A model that is asked for needs the memory: the training goes on from its checkpoint later.", "warning"
                        )
                    return news
                await told.hear(news)
        finally:
            stopping.cancel()
        raise EngineFailed("The trainer ended without a result.")


async def _stop_when_wanted(work: Work, trainer: PlacedTrainer, gave_way: asyncio.Event) -> None:
    while work.wanted != "pause" and not gave_way.is_set():  # noqa: ASYNC110 - the job's lease brings the wish, the event another
        await asyncio.sleep(_LOOK_SECONDS)
    await trainer.stop()


@dataclass(slots=True)
class _Told:
    """Writes news down: about once a second the last step's, at once what matters more."""

    work: Work
    state: TrainingState
    step: TrainingStep | None = None
    wrote_at: float = field(default_factory=time.monotonic)

    async def hear(self, news: TrainerOutput) -> None:
        match news:
            case TrainingStep():
                self.step = news
                self.work.advance(news.step, news.steps, "steps")
                if time.monotonic() - self.wrote_at >= _TELL_SECONDS:
                    await self.flush()
            case TrainingEvaluation():
                await self.flush()
                await self.work.tell(_evaluated(news), type_="metrics", data=_evaluation_data(news))
            case TrainingCheckpoint():
                await self.flush()
                if news.model:
                    epoch = Epoch(news.step, news.epoch, news.model, news.metrics)
                    self.state.epochs = [*(each for each in self.state.epochs if each.step != news.step), epoch][-_EPOCHS_KEPT:]
                await self.work.save(msgspec.to_builtins(self.state))
            case TrainingNote():
                await self.work.tell(news.message, news.level)

    async def flush(self) -> None:
        """Write the last step down."""
        self.wrote_at = time.monotonic()
        if self.step is not None:
            step, self.step = self.step, None
            await self.work.tell_all([News(f"Step {step.step}/{step.steps}: loss {step.loss:.4f}", type="metrics", data=step_data(step))])


def step_data(step: TrainingStep) -> dict[str, float]:
    """A step's figures by the names that clients know."""
    data = {
        "step": step.step,
        "steps": step.steps,
        "epoch": step.epoch,
        "train_loss": step.loss,
        "perplexity": math.exp(min(step.loss, 700.0)),
        "learning_rate": step.learning_rate,
        "gradient_norm": step.gradient_norm,
        "tokens_per_second": round(step.tokens / max(step.seconds, 1e-6), 1),
        "memory_bytes": step.memory_bytes,
    }
    if step.token_accuracy is not None:
        data["train_mean_token_accuracy"] = step.token_accuracy
    return data


def _evaluation_data(news: TrainingEvaluation) -> dict[str, float]:
    named = {"loss": ("valid_loss", "full_valid_loss"), "token_accuracy": ("valid_mean_token_accuracy", "full_valid_mean_token_accuracy")}
    data: dict[str, float] = {"step": news.step, "epoch": news.epoch}
    for name, value in news.metrics.items():
        data |= dict.fromkeys(named.get(name, (name,)), value)
    return data


def _evaluated(news: TrainingEvaluation) -> str:
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in news.metrics.items())
    return f"Epoch {news.epoch:g}, validation: {figures}"
