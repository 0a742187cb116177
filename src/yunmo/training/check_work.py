"""The first half of a training: rows and base are found and checked, and one real step says what the rest will take."""

from collections.abc import Sequence

import msgspec

from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.core.rows import PROBLEMS_TOLD, Problem, rows_of
from yunmo.core.training import (
    TRAIN_FILE,
    VALIDATION_FILE,
    CheckTraining,
    TrainingEstimate,
    TrainingNote,
)
from yunmo.jobs.job import Job
from yunmo.jobs.work import News, Outcome, PutBack, Work
from yunmo.training.data import Written, hold_back
from yunmo.training.order import Order
from yunmo.training.site import Site, owner_of
from yunmo.training.state import CHECK_KIND, TRAIN_KIND, TrainingState
from yunmo.training.trainer import placed
from yunmo.training.trainings import order_of, revised

_HELD_BACK_SHARE = 0.1
_HELD_BACK_MOST = 1000
_HELD_BACK_FROM = 20
_WHOLE = frozenset({"supervised", "dpo"})
"""Methods that keep no rows back for validation unless they are told: so it is where their wire comes from."""

_NOT_LOADED = (".bin", ".pt", ".pth", ".onnx", ".onnx_data", ".gguf", ".h5", ".msgpack", ".ot", ".ckpt", ".tflite", ".pb")
_MIB = 1024 * 1024
_LEAST_BYTES = 1024 * _MIB
"""The libraries take half of it."""


class CheckWork:
    """The kind of job that a training is until it has been checked."""

    name = CHECK_KIND
    slots = 1

    def __init__(self, site: Site) -> None:
        self._site = site

    async def run(self, work: Work) -> Outcome:
        """Check everything, then queue the training itself. Raises InvalidRequest for rows, a base or a recipe that cannot be."""
        order = order_of(work.job)
        state = TrainingState() if work.checkpoint is None else msgspec.convert(work.checkpoint, TrainingState)
        if state.estimate is None:
            await self._site.workspaces.empty(work.job)
            await self._lay_rows(work, order, state)
            await self._lay_base(work.job, order, state)
            state.estimate = await self._try(work, order)
            await self._require(work, state.estimate)
            await work.save(msgspec.to_builtins(state))
        raise PutBack(kind=TRAIN_KIND)

    async def cancelled(self, work: Work) -> Outcome:
        """Nothing is left."""
        await self._site.workspaces.remove(work.job)
        return Outcome({})

    async def _lay_rows(self, work: Work, order: Order, state: TrainingState) -> None:
        root, data, owner = self._site.workspaces.of(work.job), self._site.data, owner_of(work.job)
        method, seed = order.recipe.method, order.recipe.seed
        kind = rows_of(method, order.recipe.pretraining.objective if order.recipe.pretraining else None)
        train, source = await data.write(owner, order.rows, kind, root / TRAIN_FILE)
        await _refuse_problems(work, train, "training")
        state.sources["train"] = source
        if order.validation is not None:
            validation, source = await data.write(owner, order.validation, kind, root / VALIDATION_FILE)
            await _refuse_problems(work, validation, "validation")
            state.sources["validation"] = source
            await work.tell_all(_repeated(train, validation))
            return
        share = order.validation_share
        if share is None:
            share = 0.0 if method in _WHOLE or train.count < _HELD_BACK_FROM else _HELD_BACK_SHARE
        most = _HELD_BACK_MOST if order.validation_share is None else train.count - 1
        count = hold_back(root / TRAIN_FILE, root / VALIDATION_FILE, share, most, seed)
        if count:
            state.sources["train"] = msgspec.structs.replace(source, kept_back=count)
            await work.tell(f"{count} of {train.count} rows are kept back for validation: no rows for it were named.")

    async def _lay_base(self, job: Job, order: Order, state: TrainingState) -> None:
        if not order.base:
            return
        models = self._site.hub.models
        ref = await models.find(owner_of(job), *revised(order.base))
        files = (await models.describe(ref)).files
        if not any(path.endswith(".safetensors") for path in files):
            raise InvalidRequest(
                f"{ref.repository} has no weights as safetensors, so it cannot be trained; 'yunmo convert {ref.repository}' makes them of a pickle.",
                param="model",
            )
        await models.lay_out(ref, [path for path in files if not path.endswith(_NOT_LOADED)], self._site.workspaces.base_of(job))
        state.base, state.base_commit = ref.repository, ref.commit

    async def _try(self, work: Work, order: Order) -> TrainingEstimate:
        await work.tell("The rows are in order; one step is tried.")
        total = self._site.room.total_bytes
        if total < _LEAST_BYTES:
            raise InvalidRequest(
                f"A training needs {_LEAST_BYTES // _MIB} MiB of memory at the least, and all models together may use {total // _MIB} MiB "
                "(setting serving.memory_bytes). Give Yunmo more memory."
            )
        limit = max(self._site.room.free_bytes, total // 2, _LEAST_BYTES)
        estimate: TrainingEstimate | None = None
        async with placed(self._site.placement, self._site.worker_spec(work.job, limit)) as trainer:
            async for news in trainer.ask(CheckTraining(recipe=order.recipe)):
                if isinstance(news, TrainingNote):
                    await work.tell(news.message, news.level)
                elif isinstance(news, TrainingEstimate):
                    estimate = news
        if estimate is None:
            raise EngineFailed("The trainer ended without an estimate.")
        return estimate

    async def _require(self, work: Work, estimate: TrainingEstimate) -> None:
        """Raise unless the machine can have it at all, and tell what it will take."""
        if estimate.memory_bytes > self._site.room.total_bytes:
            raise InvalidRequest(
                f"The training needs {estimate.memory_bytes // _MIB} MiB of memory, and all models together may use "
                f"{self._site.room.total_bytes // _MIB} MiB (setting serving.memory_bytes). Choose a smaller batch_size or max_tokens, or low-rank adapters."
            )
        await self._site.workspaces.require_space(estimate.disk_bytes)
        seconds = estimate.seconds
        took = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
        await work.tell(
            f"{estimate.rows} rows, {estimate.tokens} tokens, {estimate.steps} steps of {estimate.step_seconds:.2f} s: about {took}, "
            f"{estimate.memory_bytes // _MIB} MiB of memory and {estimate.disk_bytes // _MIB} MiB of disk; "
            f"{estimate.trained_parameters} of {estimate.parameters} parameters are trained in {estimate.recipe.precision}.",
            type_="estimate",
            data=msgspec.to_builtins(estimate),
        )


async def _refuse_problems(work: Work, written: Written, which: str) -> None:
    if written.problems:
        await work.tell_all([News(problem.text, "error") for problem in written.problems])
        raise InvalidRequest(_told(written.problems, which), param="rows" if which == "training" else "validation")
    if not written.count:
        raise InvalidRequest(f"There are no {which} rows: the file is empty.", param="rows" if which == "training" else "validation")


def _told(problems: Sequence[Problem], which: str) -> str:
    count = f"{len(problems)} problems (reading ended there)" if len(problems) >= PROBLEMS_TOLD else f"{len(problems)} problems"
    more = "" if len(problems) == 1 else f" ({count} in all; the events have each)"
    return f"The {which} rows cannot be learnt from. {problems[0].text}{more}"


def _repeated(train: Written, validation: Written) -> list[News]:
    known = set(train.digests)
    count = sum(digest in known for digest in validation.digests)
    if not count:
        return []
    return [
        News(f"{count} of {validation.count} validation rows are training rows, too: what they say of the model is too good.", "warning")
    ]
