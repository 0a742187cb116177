"""Train–serve parity: the answers of a trainer asked again of the model as it is served."""

from collections.abc import Sequence

from yunmo.core.engine import Plan
from yunmo.core.errors import NotFound, YunmoError
from yunmo.core.identity import Principal
from yunmo.core.tasks import AnyRequest, Output
from yunmo.core.training import ParitySample
from yunmo.jobs.job import Job
from yunmo.serving.deployments import Deployments
from yunmo.serving.infer import Inference
from yunmo.training.parity import ServedBy, certify, unasked
from yunmo.training.state import Certificate
from yunmo.training.store import CertificateStore

_SECONDS = 1800.0
"""How long one answer may take: the model is deployed for it, and live requests go first."""


class Certifying:
    """Asks a published revision what its trainer was asked, by the way that clients' requests go."""

    def __init__(self, inference: Inference, deployments: Deployments, certificates: CertificateStore) -> None:
        self._inference = inference
        self._deployments = deployments
        self._certificates = certificates

    async def __call__(self, job: Job, model: str, commit: str, samples: Sequence[ParitySample]) -> Certificate:
        """The revision's certificate, which is kept; one that is not passed says why, also where the model cannot be served at all."""
        certificate = await self._certified(job, model, commit, samples)
        await self._certificates.save(model, commit, certificate)
        return certificate

    async def _certified(self, job: Job, model: str, commit: str, samples: Sequence[ParitySample]) -> Certificate:
        owner = job.principal("infer", "read")

        async def ask(name: str, request: AnyRequest) -> tuple[Output, ServedBy]:
            answering = await self._inference.begin(owner, name, request, deadline_seconds=_SECONDS, can_wait=True)
            return await answering.whole(), self._served_by(owner, name)

        try:
            name = await self._name(owner, model, commit)
        except YunmoError as error:
            return unasked(model, samples, error)
        return await certify(ask, name, samples)

    async def _name(self, owner: Principal, model: str, commit: str) -> str:
        """What to call: the model's own name where that means this revision, so that it is loaded once."""
        served = await self._inference.find(owner, model)
        return model if served.revision == commit else f"{model}@{commit}"

    def _served_by(self, owner: Principal, name: str) -> ServedBy:
        """How it is run; unknown where it is not deployed by its own name."""
        try:
            plan = self._deployments.view(owner, name).plan
        except NotFound:
            return ServedBy()
        return ServedBy(plan.engine, plan.precision) if isinstance(plan, Plan) else ServedBy()
