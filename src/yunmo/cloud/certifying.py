"""Train–serve parity: the answers of a trainer asked again of the model as it is served."""

import asyncio
from collections.abc import Sequence

import msgspec

from yunmo.core.engine import Plan
from yunmo.core.errors import NotFound, YunmoError
from yunmo.core.identity import Principal
from yunmo.core.tasks import Output
from yunmo.core.training import ParitySample
from yunmo.jobs.job import Job
from yunmo.serving.deployments import Deployments
from yunmo.serving.infer import Inference
from yunmo.training.parity import compare
from yunmo.training.state import Certificate

_AT_ONCE = 4
_SECONDS = 1800.0
"""How long one answer may take: the model is deployed for it, and live requests go first."""


class Certifying:
    """Asks a published revision what its trainer was asked, by the way that clients' requests go."""

    def __init__(self, inference: Inference, deployments: Deployments) -> None:
        self._inference = inference
        self._deployments = deployments

    async def __call__(self, job: Job, model: str, commit: str, samples: Sequence[ParitySample]) -> Certificate:
        """The certificate; one that is not passed says why, also where the model cannot be served at all."""
        owner = Principal(job.project, job.key_id, frozenset({"infer", "read"}))
        try:
            name = await self._name(owner, model, commit)
            turns = asyncio.Semaphore(_AT_ONCE)
            outputs = await asyncio.gather(*(self._ask(turns, owner, name, sample) for sample in samples))
        except YunmoError as error:
            return Certificate(samples=0, agreement=0.0, drift=0.0, is_passed=False, problem=f"It could not be asked: {error.message}")
        certificate = compare(samples, outputs)
        plan = self._plan(owner, name)
        return certificate if plan is None else msgspec.structs.replace(certificate, engine=plan.engine, precision=plan.precision)

    async def _name(self, owner: Principal, model: str, commit: str) -> str:
        """What to call: the model's own name where that means this revision, so that it is loaded once."""
        served = await self._inference.find(owner, model)
        return model if served.revision == commit else f"{model}@{commit}"

    async def _ask(self, turns: asyncio.Semaphore, owner: Principal, name: str, sample: ParitySample) -> Output:
        async with turns:
            answering = await self._inference.begin(owner, name, sample.request, deadline_seconds=_SECONDS, can_wait=True)
            return await answering.whole()

    def _plan(self, owner: Principal, name: str) -> Plan | None:
        """How it is run; None where it is not deployed by its own name."""
        try:
            plan = self._deployments.view(owner, name).plan
        except NotFound:
            return None
        return plan if isinstance(plan, Plan) else None
