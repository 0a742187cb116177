"""Jobs that ask models as they are served: in the name of their project, by the way that clients' requests go, behind who waits."""

from yunmo.core.identity import Principal
from yunmo.core.tasks import AnyRequest, Output
from yunmo.jobs.job import Job
from yunmo.serving.infer import Inference
from yunmo.training.evaluate_work import Served

_SECONDS = 1800.0
"""How long one answer may take: live requests go first."""


class Answering:
    """Implements `training.evaluate_work.Answerer` by this server's own inference."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def look(self, job: Job, model: str) -> Served:
        """What answers to this name now. Raises ModelNotFound, or why it cannot be served."""
        found = await self._inference.find(_owner(job), model)
        return Served(found.revision, found.tasks)

    async def ask(self, job: Job, model: str, request: AnyRequest) -> Output:
        """The whole answer."""
        answering = await self._inference.begin(_owner(job), model, request, deadline_seconds=_SECONDS, can_wait=True)
        return await answering.whole()


def _owner(job: Job) -> Principal:
    return job.principal("infer", "read")
