"""Trainings in OpenAI's words: the job, its events, its checkpoints."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from yunmo.cloud.values import Job, JobEvent, KeptModel, Order, Rows, Trained, TrainingState, order_of, phase
from yunmo.core.training import Recipe
from yunmo.web.dialects.openai.fine_tuning_request import AUTO, OPENAI_NAMES, param_of

JOB_PREFIX, EVENT_PREFIX, CHECKPOINT_PREFIX = "ftjob-", "ftevent-", "ftckpt-"

_STATUSES = {"validating": "validating_files"}
_METRICS = {"loss": ("valid_loss", "full_valid_loss"), "token_accuracy": ("valid_mean_token_accuracy", "full_valid_mean_token_accuracy")}
_LEVELS = {"warning": "warn"}
_COMMON = ("n_epochs", "batch_size", "learning_rate_multiplier")
_HIDDEN = frozenset({"method", "seed", "pretraining", "beta", "epochs", *_COMMON})


class JobError(msgspec.Struct):
    """Why a training failed."""

    code: str
    message: str
    param: str | None


class FineTuningJob(msgspec.Struct, kw_only=True):
    """A training as clients know it. Hyperparameters are what was asked for, and once the training is checked, what was chosen."""

    id: str
    object: str = "fine_tuning.job"
    created_at: int
    error: JobError | None = None
    estimated_finish: int | None = None
    fine_tuned_model: str | None = None
    finished_at: int | None = None
    hyperparameters: dict[str, Any]
    integrations: list[Any] = []
    metadata: dict[str, str] | None = None
    method: dict[str, Any]
    model: str
    organization_id: str
    result_files: list[str]
    seed: int
    status: str
    trained_tokens: int | None = None
    training_file: str
    validation_file: str | None = None


class FineTuningEvent(msgspec.Struct, kw_only=True):
    """Something that happened to a training."""

    id: str
    object: str = "fine_tuning.job.event"
    created_at: int
    level: str
    message: str
    type: str
    data: Mapping[str, Any]


class FineTuningCheckpoint(msgspec.Struct, kw_only=True):
    """The model at the end of an epoch; it can be called by its name."""

    id: str
    object: str = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    metrics: dict[str, float]
    step_number: int


def job_object(job: Job) -> FineTuningJob:
    """The training in this vendor's words."""
    order = order_of(job)
    state = msgspec.convert(job.checkpoint or {}, TrainingState)
    trained = _trained(job)
    chosen = None if state.estimate is None else state.estimate.recipe
    eta = job.progress.eta if job.progress is not None and job.state == "running" else None
    method = order.recipe.method
    block: dict[str, Any] = {"hyperparameters": _block(order, chosen)}
    if order.recipe.pretraining is not None:
        block["pretraining"] = msgspec.to_builtins(order.recipe.pretraining)
    return FineTuningJob(
        id=JOB_PREFIX + job.id,
        created_at=_unix(job.created_at) or 0,
        error=_error(job),
        estimated_finish=_unix(eta),
        fine_tuned_model=None if trained is None else trained.model,
        finished_at=_unix(job.finished_at),
        hyperparameters=_shown(order, chosen, _COMMON),
        metadata=order.metadata or None,
        method={"type": method, method: block},
        model=order.base,
        organization_id=job.project,
        result_files=[trained.result_file] if trained is not None and trained.result_file else [],
        seed=order.recipe.seed,
        status=_status(job),
        trained_tokens=None if trained is None else trained.trained_tokens,
        training_file=_source(order.rows),
        validation_file=None if order.validation is None else _source(order.validation),
    )


def event_object(event: JobEvent) -> FineTuningEvent:
    """The event in this vendor's words, which has two types of them."""
    return FineTuningEvent(
        id=f"{EVENT_PREFIX}{event.id}",
        created_at=_unix(event.at) or 0,
        level=_LEVELS.get(event.level, event.level),
        message=event.message,
        type="metrics" if event.type == "metrics" else "message",
        data=event.data,
    )


def checkpoint_object(job: Job, kept: KeptModel) -> FineTuningCheckpoint:
    """The model of an epoch in this vendor's words; metrics of the task keep their names."""
    metrics = {"step": float(kept.step)}
    for name, value in kept.metrics.items():
        metrics |= dict.fromkeys(_METRICS.get(name, (name,)), value)
    return FineTuningCheckpoint(
        id=f"{CHECKPOINT_PREFIX}{job.id}-{kept.step}",
        created_at=_unix(job.finished_at or job.started_at or job.created_at) or 0,
        fine_tuned_model_checkpoint=kept.model,
        fine_tuning_job_id=JOB_PREFIX + job.id,
        metrics=metrics,
        step_number=kept.step,
    )


def newest_first(job: Job) -> list[KeptModel]:
    """The models of the training's epochs that can be called; the last one is the result itself."""
    state = msgspec.convert(job.checkpoint or {}, TrainingState)
    trained = _trained(job) or state.published
    if trained is None:
        return []
    earlier = sorted((kept for kept in trained.checkpoints if kept.step < trained.step), key=lambda kept: -kept.step)
    return [KeptModel(trained.model, trained.step, 0.0, trained.metrics), *earlier]


def _trained(job: Job) -> Trained | None:
    return msgspec.convert(job.result, Trained) if job.result else None


def _status(job: Job) -> str:
    at = phase(job)
    if at == "paused":  # this vendor has no word for it
        return job.state
    return _STATUSES.get(at, at)


def _error(job: Job) -> JobError | None:
    if job.state != "failed" or job.error is None:
        return None
    return JobError(job.error.code, job.error.message, param_of(job.error.param))


def _block(order: Order, chosen: Recipe | None) -> dict[str, Any]:
    """The hyperparameters of the method: the vendor's, then ours that were asked for or chosen."""
    names = (*_COMMON, "beta") if order.recipe.method == "dpo" else _COMMON
    ours = {name: value for name, value in _asked(order).items() if OPENAI_NAMES.get(name, name) not in _HIDDEN}
    if chosen is not None:
        ours = {name: value for name, value in msgspec.to_builtins(chosen).items() if name not in _HIDDEN and value is not None}
    return {**_shown(order, chosen, names), **ours}


def _shown(order: Order, chosen: Recipe | None, names: tuple[str, ...]) -> dict[str, Any]:
    asked = _asked(order)
    if chosen is not None:
        return {name: getattr(chosen, OPENAI_NAMES.get(name, name)) for name in names}
    given = {OPENAI_NAMES.get(name, name): value for name, value in asked.items() if value is not None}
    return {name: given.get(OPENAI_NAMES.get(name, name), AUTO) for name in names}


def _asked(order: Order) -> Mapping[str, Any]:
    """What was asked for by name. An order that came through another door has its recipe alone."""
    asked = order.extra.get("hyperparameters")
    if isinstance(asked, dict):
        return asked
    return {name: value for name, value in msgspec.to_builtins(order.recipe).items() if value != _DEFAULTS[name]}


def _source(rows: Rows) -> str:
    return rows.file or rows.repository or ""


def _unix(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


_DEFAULTS = msgspec.to_builtins(Recipe(method="supervised"))
