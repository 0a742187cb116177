"""Our own dialect: deployments, keys, projects, aliases, usage, audit, health and metrics, as plain JSON."""

from collections.abc import Sequence
from typing import Protocol

from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import (
    Conflict,
    DeadlineExceeded,
    EngineFailed,
    EntryNotFound,
    Forbidden,
    Gated,
    InsufficientStorage,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PreconditionFailed,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    YunmoError,
)
from yunmo.web.dialects.admin.deployments import DeploymentRoutes
from yunmo.web.dialects.admin.evaluations import EvaluationRoutes
from yunmo.web.dialects.admin.jobs import JobRoutes
from yunmo.web.dialects.admin.promotions import PromotionRoutes
from yunmo.web.dialects.admin.tenancy import TenancyRoutes
from yunmo.web.dialects.admin.trainings import TrainingRoutes
from yunmo.web.metrics import Metrics, Moment
from yunmo.web.replies import json_reply
from yunmo.web.request import ClientGone, Request
from yunmo.web.routing import Route

STATUSES: dict[type[YunmoError], int] = {
    InvalidRequest: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    Gated: 403,
    NotFound: 404,
    EntryNotFound: 404,
    Conflict: 409,
    PreconditionFailed: 412,
    TooLarge: 413,
    RateLimited: 429,
    ClientGone: 499,
    EngineFailed: 500,
    InternalError: 500,
    Overloaded: 503,
    Unavailable: 503,
    DeadlineExceeded: 504,
    InsufficientStorage: 507,
}


class RouteGroup(Protocol):
    """Routes that belong together."""

    def routes(self) -> list[Route]: ...


class AdminDialect:
    """Yunmo's own HTTP."""

    name = "yunmo"

    def __init__(self, cloud: Cloud, metrics: Metrics, applications: Sequence[RouteGroup] = ()) -> None:
        self._cloud = cloud
        self._metrics = metrics
        self._groups: tuple[RouteGroup, ...] = (
            DeploymentRoutes(cloud),
            PromotionRoutes(cloud),
            JobRoutes(cloud),
            TrainingRoutes(cloud),
            EvaluationRoutes(cloud),
            TenancyRoutes(cloud),
            *applications,
        )

    def routes(self) -> Sequence[Route]:
        """Health and metrics, then every group."""
        own = [
            Route("GET", "/health", self._health, summary="200 once requests can be served"),
            Route("GET", "/metrics", self._render_metrics, scope="admin", summary="Prometheus metrics", is_documented=False),
            Route("GET", "/admin/system", self._system, scope="read", summary="Version, hardware, engines"),
        ]
        return own + [route for group in self._groups for route in group.routes()]

    def error(self, error: YunmoError, request: Request) -> Response:
        """`{"error": {"code", "message", "param", "request_id"}}` with a fitting status."""
        status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
        headers = {}
        if error.retry_after_seconds is not None:
            headers["retry-after"] = str(max(1, round(error.retry_after_seconds)))
        if status == 401:
            headers["www-authenticate"] = "Bearer"
        body = {"code": error.code, "message": error.message, "param": error.param, "request_id": request.id}
        return json_reply({"error": body}, status, headers)

    async def _health(self, _request: Request) -> Response:
        return json_reply({"status": "ok", "version": self._cloud.system.view().version})

    async def _render_metrics(self, request: Request) -> Response:
        system = self._cloud.system.view()
        moment = Moment(
            deployments=self._cloud.deployments.list(request.principal),
            memory_bytes=system.model_memory_bytes,
            claimed_bytes=system.model_memory_used_bytes,
            tokens=self._cloud.tenancy.ledger.token_totals(),
        )
        return Response(self._metrics.render(moment), media_type="text/plain; version=0.0.4")

    async def _system(self, _request: Request) -> Response:
        return json_reply(self._cloud.system.view())
