"""Evaluations: how well a model that is served answers rows whose right answers are known."""

from typing import Any

import msgspec

from yunmo.core.errors import InvalidRequest
from yunmo.core.identity import Principal
from yunmo.core.training import Method
from yunmo.jobs.job import Job
from yunmo.jobs.queue import Jobs
from yunmo.training.data import TrainingData
from yunmo.training.examination import EXAMINATIONS
from yunmo.training.order import Rows
from yunmo.training.state import EVALUATE_KIND


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An evaluation as it was asked for. `model` is what clients call; `method` says what the rows are, as in a training."""

    model: str
    method: Method
    rows: Rows
    metadata: dict[str, str] = {}

    def check(self) -> None:
        """Raise InvalidRequest, with the field, for an evaluation that cannot be."""
        self.rows.check("rows")
        if not self.model:
            raise InvalidRequest("Name the model that is to be evaluated.", param="model")
        if self.method not in EXAMINATIONS:
            raise InvalidRequest(
                f"Rows of '{self.method}' have no answers to compare; known are: {', '.join(EXAMINATIONS)}.", param="method"
            )
        EXAMINATIONS[self.method].check()


class EvaluationState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The job's checkpoint. The answers lie in its workspace; `commit` is the revision that has given them."""

    rows: int = 0
    source: dict[str, Any] = {}
    commit: str = ""
    done: int = 0


class Evaluated(msgspec.Struct, kw_only=True):
    """The job's result. Rows that the model could not be asked (`failed`) count as answered wrongly; `wrong_file` has some of those that were."""

    model: str
    commit: str
    method: Method
    rows: int
    failed: int
    metrics: dict[str, float]
    source: dict[str, Any]
    wrong_file: str | None = None


class Evaluations:
    """Takes evaluations; everything else that can be done to their jobs is the queue's."""

    def __init__(self, jobs: Jobs, data: TrainingData) -> None:
        self._jobs = jobs
        self._data = data

    async def submit(self, principal: Principal, evaluation: Evaluation, *, idempotency_key: str | None = None) -> Job:
        """Queue an evaluation. Raises InvalidRequest, and NotFound for rows that are not there."""
        principal.require("infer")
        evaluation.check()
        await self._data.look_up(principal, evaluation.rows)
        return await self._jobs.submit(principal, EVALUATE_KIND, msgspec.to_builtins(evaluation), idempotency_key=idempotency_key)
