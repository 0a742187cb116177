"""Deployments over HTTP. A name with a slash is quoted: `/admin/deployments/acme%2Fsentiment`."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import CalibrationView, DeploymentSpec, DeploymentView, plot
from yunmo.core.errors import InvalidRequest, NotFound
from yunmo.core.identity import Principal
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_LOG_TAIL_BYTES = 64 * 1024


class CreateDeployment(msgspec.Struct, forbid_unknown_fields=True):
    """`model` is a repository (`ns/name`, a bare name, an alias) or `echo`; `name` defaults to it.

    What is not given is as it was of a deployment that is there (of `limits`: each one; null takes one away), and of a new one:
    the revision `main`, one replica, not pinned, no options, no limits.
    """

    model: str
    name: str | None = None
    revision: str | msgspec.UnsetType = msgspec.UNSET
    replicas: int | msgspec.UnsetType = msgspec.UNSET
    pinned: bool | msgspec.UnsetType = msgspec.UNSET
    options: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    limits: dict[str, int | None] = {}
    project: str | None = None


class ChangeDeployment(msgspec.Struct, forbid_unknown_fields=True):
    """Only the fields given are changed."""

    revision: str | msgspec.UnsetType = msgspec.UNSET
    replicas: int | msgspec.UnsetType = msgspec.UNSET
    pinned: bool | msgspec.UnsetType = msgspec.UNSET
    options: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    limits: dict[str, int | None] | msgspec.UnsetType = msgspec.UNSET


class Calibrate(msgspec.Struct, forbid_unknown_fields=True):
    """How long to measure at most (5 to 3600 s), and what for: `throughput` or `latency`."""

    seconds: float | None = None
    aim: str | None = None


class DeploymentList(msgspec.Struct):
    """All deployments that the caller may see; with their details those of its own project."""

    data: list[DeploymentView]


class Deleted(msgspec.Struct):
    """What is gone."""

    name: str
    deleted: bool = True


class Log(msgspec.Struct):
    """The end of the workers' output."""

    name: str
    log: str


class DeploymentRoutes:
    """Create, list, look at, change, delete; logs."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """The routes of this group."""
        one = "/admin/deployments/{name}"
        return [
            Route("POST", "/admin/deployments", self._create, "write", "Deploy a model", CreateDeployment, DeploymentView),
            Route("GET", "/admin/deployments", self._list, "read", "List deployments", None, DeploymentList),
            Route("GET", one, self._view, "read", "One deployment with its state", None, DeploymentView),
            Route("PATCH", one, self._change, "write", "Change a deployment", ChangeDeployment, DeploymentView),
            Route("DELETE", one, self._delete, "write", "Undeploy a model", None, Deleted),
            Route(
                "GET", one + "/calibration", self._calibration, "read", "What was measured of a deployment's plans", None, CalibrationView
            ),
            Route("POST", one + "/calibration", self._calibrate, "write", "Measure a deployment's plans", Calibrate, CalibrationView),
            Route("GET", one + "/calibration.svg", self._plot, "read", "The measurements as a picture"),
            Route("GET", one + "/logs", self._log, "write", "The end of a deployment's log", None, Log),
        ]

    async def _create(self, request: Request) -> Response:
        wanted = await request.struct(CreateDeployment)
        principal = request.principal
        revision = wanted.revision or "main"
        fields = {
            "project": wanted.project or msgspec.UNSET,
            "revision": wanted.revision,
            "branch": wanted.revision,
            "replicas": wanted.replicas,
            "is_pinned": wanted.pinned,
            "options": wanted.options,
        }
        spec = DeploymentSpec(
            name=wanted.name or wanted.model,
            project=await self._project(principal, wanted.project),
            repository=wanted.model,
            revision=revision,
            created=datetime.now(UTC),
            branch=revision,
            replicas=1 if wanted.replicas is msgspec.UNSET else wanted.replicas,
            is_pinned=wanted.pinned is True,
            options=wanted.options or {},
            limits=wanted.limits,
        )
        not_given = [name for name, value in fields.items() if value is msgspec.UNSET]
        view = await self._cloud.deployments.create(principal, spec, keeping=not_given)
        await self._audit(request, "deployment.created", view.name, {"model": wanted.model, "revision": view.revision})
        return json_reply(view, 201)

    async def _project(self, principal: Principal, wanted: str | None) -> str:
        """The deployment's project: the caller's own, or for an operator any that there is."""
        if wanted is None or not principal.is_admin:
            return wanted or principal.project
        return (await self._cloud.tenancy.projects.get(wanted)).name

    async def _list(self, request: Request) -> Response:
        return json_reply(DeploymentList(self._cloud.deployments.list(request.principal)))

    async def _view(self, request: Request) -> Response:
        return json_reply(self._cloud.deployments.view(request.principal, request.params["name"]))

    async def _change(self, request: Request) -> Response:
        wanted = await request.struct(ChangeDeployment)
        fields = {"replicas": wanted.replicas, "is_pinned": wanted.pinned, "options": wanted.options, "limits": wanted.limits}
        changes: dict[str, Any] = {name: value for name, value in fields.items() if value is not msgspec.UNSET}
        if wanted.revision is not msgspec.UNSET:
            changes |= {"branch": wanted.revision, "revision": wanted.revision}
        if not changes:
            raise InvalidRequest("Nothing to change: give at least one of revision, replicas, pinned, options, limits.")
        view = await self._cloud.deployments.change(request.principal, request.params["name"], changes)
        await self._audit(request, "deployment.changed", view.name, {name: str(value) for name, value in changes.items()})
        return json_reply(view)

    async def _delete(self, request: Request) -> Response:
        name = request.params["name"]
        await self._cloud.deployments.delete(request.principal, name)
        await self._audit(request, "deployment.deleted", name, {})
        return json_reply(Deleted(name))

    async def _calibration(self, request: Request) -> Response:
        return json_reply(self._cloud.deployments.calibration(request.principal, request.params["name"]))

    async def _calibrate(self, request: Request) -> Response:
        wanted = await request.struct(Calibrate)
        name = request.params["name"]
        view = await self._cloud.deployments.calibrate(request.principal, name, wanted.seconds, wanted.aim)
        await self._audit(request, "deployment.calibrated", name, {"seconds": wanted.seconds, "aim": wanted.aim})
        return json_reply(view, 202)

    async def _plot(self, request: Request) -> Response:
        view = self._cloud.deployments.calibration(request.principal, request.params["name"])
        if view.calibration is None:
            raise NotFound(f"'{view.name}' has not been calibrated. Have it measured with 'yunmo calibrate {view.name}'.")
        return Response(plot(view.calibration, view.chosen), media_type="image/svg+xml")

    async def _log(self, request: Request) -> Response:
        name = request.params["name"]
        return json_reply(Log(name, self._cloud.deployments.log(request.principal, name, _LOG_TAIL_BYTES)))

    async def _audit(self, request: Request, action: str, target: str, detail: dict[str, Any]) -> None:
        await self._cloud.tenancy.audit.record(request.principal, action, target, detail)
