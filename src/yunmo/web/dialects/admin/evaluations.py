"""Evaluations over HTTP: ordered here, and looked at as the jobs that they are."""

from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Evaluation
from yunmo.web.dialects.admin.jobs import JobView, job_view
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route


class EvaluationRoutes:
    """Order evaluations."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """The routes of this group."""
        return [Route("POST", "/admin/evaluations", self._submit, "infer", "Evaluate a model on rows", Evaluation, JobView)]

    async def _submit(self, request: Request) -> Response:
        evaluation = await request.struct(Evaluation)
        await self._cloud.inference.find(request.principal, evaluation.model)  # a name that leads nowhere is told at once
        key = request.headers.get("idempotency-key")
        return json_reply(job_view(await self._cloud.evaluations.submit(request.principal, evaluation, idempotency_key=key)), 201)
