"""What a training leaves behind for good: revisions of a repository, a table of its figures, and how it is served."""

import csv
import io
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from yunmo.core.training import HISTORY_FILE, PARITY_FILE, RESULT_FOLDER, ParitySample, TrainingResult
from yunmo.hub.publishing import Prepared
from yunmo.jobs.job import Job
from yunmo.jobs.work import Work
from yunmo.training.description import describe
from yunmo.training.order import Order
from yunmo.training.site import Site, owner_of
from yunmo.training.state import Certificate, Epoch, KeptModel, Trained, TrainingState
from yunmo.training.trainings import order_of

_RESULTS_PURPOSE = "fine-tune-results"
_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_SHORT = 8
_NAME_CHARACTERS = 60


class Certifier(Protocol):
    """Compares what a model answered in its trainer with what it answers where it is served."""

    async def __call__(self, job: Job, model: str, commit: str, samples: Sequence[ParitySample]) -> Certificate: ...


class Publication:
    """Publishes results, each once: a lost lease publishes nothing."""

    def __init__(self, site: Site, certify: Certifier) -> None:
        self._site = site
        self._certify = certify

    async def publish(self, work: Work, state: TrainingState, result: TrainingResult) -> Trained:
        """Make the epochs' models and the result revisions of the order's repository, oldest first, and the history a file."""
        job, order, root = work.job, order_of(work.job), self._site.workspaces.of(work.job)
        name = repository_of(job, order)
        history = _history(root)
        await describe(self._site, job, name, state, result)
        await work.tell(f"The result is published as {name}.")
        kept = [
            (epoch, await self._site.hub.publishing.prepare(owner_of(job), name, root / epoch.folder, f"{job.id}/{epoch.step}"))
            for epoch in state.epochs
        ]
        final = await self._site.hub.publishing.prepare(owner_of(job), name, root / RESULT_FOLDER, job.id)
        file = await self._site.files.prepare(job.project, f"step_metrics-{job.id}.csv", _RESULTS_PURPOSE, _one(_table(history)))

        def publish(connection: sa.Connection) -> dict[str, Any]:
            checkpoints = [_kept(epoch, name, self._commit(connection, prepared, job, epoch.step)) for epoch, prepared in kept]
            commit = self._commit(connection, final, job, result.step)
            self._site.files.insert(connection, file)
            state.published = Trained(
                model=name,
                repository=name,
                commit=commit,
                step=result.step,
                trained_tokens=result.tokens,
                seconds=result.seconds,
                metrics=result.metrics,
                checkpoints=checkpoints,
                result_file=file.id,
            )
            return _builtins(state)

        work.advance(result.step, result.step, "steps")
        await work.save(publish)
        return msgspec.convert(work.checkpoint, TrainingState).published or state.published  # type: ignore[return-value]

    async def certify(self, work: Work, trained: Trained) -> Trained:
        """Have the serving engine answer what the trainer answered, and tell how far apart they are."""
        samples = _samples(self._site.workspaces.of(work.job))
        await work.tell(f"{len(samples)} answers of the trainer are asked of {trained.model} as it is served.")
        certificate = await self._certify(work.job, trained.model, trained.commit, samples)
        verdict = "is served as it was trained" if certificate.is_passed else "is not served as it was trained"
        await work.tell(
            f"{trained.model} {verdict}: agreement {certificate.agreement:.4f}, drift {certificate.drift:.4f}. {certificate.problem}".strip(),
            "info" if certificate.is_passed else "warning",
            "certificate",
            _builtins(certificate),
        )
        return msgspec.structs.replace(trained, certificate=certificate)

    def _commit(self, connection: sa.Connection, prepared: Prepared, job: Job, step: int) -> str:
        return self._site.hub.publishing.commit_in(connection, prepared, f"Step {step} of training {job.id}")


def repository_of(job: Job, order: Order) -> str:
    """Where the result goes: where the order says, or a name of the project's made of the suffix or the base and of the job."""
    if order.repository is not None:
        return order.repository
    stem = order.suffix or order.base.partition("@")[0].rpartition("/")[2] or order.recipe.method
    return f"{job.project}/{_NAME.sub('-', stem).strip('-.')[:_NAME_CHARACTERS] or 'model'}-{job.id[:_SHORT]}"


def _samples(root: Path) -> list[ParitySample]:
    path = root / PARITY_FILE
    return [msgspec.json.decode(line, type=ParitySample) for line in path.read_bytes().splitlines()] if path.exists() else []


def _kept(epoch: Epoch, name: str, commit: str) -> KeptModel:
    return KeptModel(f"{name}@{commit}", epoch.step, epoch.epoch, epoch.metrics)


def _history(root: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (root / HISTORY_FILE).read_bytes().splitlines()]


def _table(history: Sequence[dict[str, Any]]) -> bytes:
    """The history as CSV: OpenAI's columns first, then what else was told."""
    evaluated = {entry["step"]: entry["evaluation"] for entry in history if "evaluation" in entry}
    metrics = sorted({name for each in evaluated.values() for name in each} - {"loss", "token_accuracy"})
    own = ["learning_rate", "grad_norm", "tokens", "seconds", "memory"]
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy", *own, *metrics])
    for entry in history:
        if "loss" in entry:
            found = evaluated.get(entry["step"], {})
            figures = [entry["loss"], entry.get("token_accuracy"), found.get("loss"), found.get("token_accuracy")]
            row = [entry["step"], *figures, *(entry.get(name) for name in own), *(found.get(name) for name in metrics)]
            out.writerow(["" if value is None else value for value in row])
    return text.getvalue().encode()


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _builtins(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain
