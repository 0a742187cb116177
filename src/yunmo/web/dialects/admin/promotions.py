"""Promotions over HTTP: a deployment's name moves to another revision, and back."""

import msgspec
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Certificate, Promotion
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route


class Promote(msgspec.Struct, forbid_unknown_fields=True):
    """`model` is `ns/name` or `ns/name@revision`. `force` promotes what has failed its certificate."""

    model: str
    force: bool = False


class PromotionView(msgspec.Struct, frozen=True):
    """What the name stands for and stood for before, and how the trained model compares with how it is served, if that is known."""

    name: str
    model: str
    commit: str
    previous: str | None
    certificate: Certificate | None


class PromotionRoutes:
    """Promote, go back, look."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """The routes of this group."""
        one = "/admin/deployments/{name}"
        return [
            Route("GET", one + "/promotion", self._view, "read", "What a deployment stands for, and stood for before", None, PromotionView),
            Route("POST", one + "/promote", self._promote, "write", "Move a deployment to another revision", Promote, PromotionView),
            Route("POST", one + "/promote-back", self._back, "write", "Move a deployment back to what it was", None, PromotionView),
        ]

    async def _view(self, request: Request) -> Response:
        return await self._reply(await self._cloud.promotions.view(request.principal, request.params["name"]))

    async def _promote(self, request: Request) -> Response:
        wanted = await request.struct(Promote)
        moved = await self._cloud.promotions.promote(request.principal, request.params["name"], wanted.model, force=wanted.force)
        detail = {"model": moved.model, "previous": moved.previous, "forced": wanted.force, "overridden": moved.overridden}
        await self._cloud.tenancy.audit.record(request.principal, "deployment.promoted", moved.name, detail)
        return await self._reply(moved)

    async def _back(self, request: Request) -> Response:
        moved = await self._cloud.promotions.back(request.principal, request.params["name"])
        detail = {"model": moved.model, "previous": moved.previous}
        await self._cloud.tenancy.audit.record(request.principal, "deployment.promoted_back", moved.name, detail)
        return await self._reply(moved)

    async def _reply(self, moved: Promotion) -> Response:
        certificate = await self._cloud.certificates.find(moved.commit)
        return json_reply(PromotionView(moved.name, moved.model, moved.commit, moved.previous, certificate))
